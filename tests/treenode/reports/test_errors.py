"""Every way to ask for what can't be: the status, and details that name field and value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from fasttree.client.errors import call_error, member_unknown
from fasttree.v1 import report_pb2
from services.treenode.reports import ReportLimits
from services.treenode.tree import Tree
from tests.treenode.reports.conftest import Services
from tests.treenode.reports.genealogies import config, random_tree

ROOT = Path(__file__).parents[3]
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
Options, Filter, Range, Sort = (
    report_pb2.ReportOptions,
    report_pb2.DownlineFilter,
    report_pb2.ColumnRange,
    report_pb2.SortKey,
)


def ranged(**fields: Any) -> report_pb2.ListDownlineRequest:
    return report_pb2.ListDownlineRequest(filter=Filter(ranges=[Range(**fields)]))


#: Call, request, status, reason, field, value.
CASES: list[tuple[str, Any, grpc.StatusCode, str, str, str]] = [
    *(
        (call, request(member_id="nobody"), NOT_FOUND, "MEMBER_UNKNOWN", "member_id", "nobody")
        for call, request in (
            ("GetMember", report_pb2.GetMemberRequest),
            ("ListUpline", report_pb2.ListUplineRequest),
            ("ListFrontLine", report_pb2.ListFrontLineRequest),
            ("SummarizeDownline", report_pb2.SummarizeDownlineRequest),
            ("ListDownline", report_pb2.ListDownlineRequest),
            ("StreamDownline", report_pb2.StreamDownlineRequest),
            ("ListHoldingTank", report_pb2.ListHoldingTankRequest),
        )
    ),
    *(
        (call, request(options=Options(**wrong)), INVALID, reason, f"options.{field}", value)
        for call, request in (
            ("GetMember", report_pb2.GetMemberRequest),
            ("BatchGetMembers", report_pb2.BatchGetMembersRequest),
            ("ListFrontLine", report_pb2.ListFrontLineRequest),
            ("SummarizeDownline", report_pb2.SummarizeDownlineRequest),
            ("ListDownline", report_pb2.ListDownlineRequest),
            ("StreamDownline", report_pb2.StreamDownlineRequest),
            ("ListHoldingTank", report_pb2.ListHoldingTankRequest),
        )
        for wrong, reason, field, value in (
            ({"tree": 9}, "TREE_UNKNOWN", "tree", "9"),
            ({"volume_type": "XV"}, "VOLUME_TYPE_UNKNOWN", "volume_type", "XV"),
            ({"period": "1999-01"}, "PERIOD_UNKNOWN", "period", "1999-01"),
            ({"columns": ["pv", "shoe size"]}, "COLUMN_UNKNOWN", "columns", "shoe size"),
        )
    ),
    ("GetMember", report_pb2.GetMemberRequest(), INVALID, "MEMBER_ID_INVALID", "member_id", ""),
    ("GetMember", report_pb2.GetMemberRequest(member_id="ö"), INVALID, "MEMBER_ID_INVALID", "member_id", "ö"),
    ("GetMember", report_pb2.GetMemberRequest(member_id="x" * 33), INVALID, "MEMBER_ID_INVALID", "member_id", "x" * 33),
    (
        "BatchGetMembers",
        report_pb2.BatchGetMembersRequest(member_ids=["a", "", "b"]),
        *(INVALID, "MEMBER_ID_INVALID", "member_ids[1]", ""),
    ),
    (
        "BatchGetMembers",
        report_pb2.BatchGetMembersRequest(member_ids=["a"] * 10_001),
        *(INVALID, "TOO_MANY_MEMBER_IDS", "member_ids", "10001"),
    ),
    (
        "ListFrontLine",
        report_pb2.ListFrontLineRequest(sort=Sort(column="x")),
        INVALID,
        "COLUMN_UNKNOWN",
        "sort.column",
        "x",
    ),
    (
        "ListDownline",
        report_pb2.ListDownlineRequest(sort=Sort(column="volumes")),
        *(INVALID, "COLUMN_UNKNOWN", "sort.column", "volumes"),
    ),
    ("ListDownline", report_pb2.ListDownlineRequest(page_size=10_001), INVALID, "PAGE_TOO_LARGE", "page_size", "10001"),
    (
        "SearchMembers",
        report_pb2.SearchMembersRequest(prefix="A", limit=1001),
        INVALID,
        "PAGE_TOO_LARGE",
        "limit",
        "1001",
    ),
    ("SearchMembers", report_pb2.SearchMembersRequest(), INVALID, "MEMBER_ID_INVALID", "prefix", ""),
    *(
        (call, request, INVALID, "MEMBER_ID_INVALID", field, value)
        for value in (" 1", "1 ", " ")
        for call, request, field in (
            ("GetMember", report_pb2.GetMemberRequest(member_id=value), "member_id"),
            ("BatchGetMembers", report_pb2.BatchGetMembersRequest(member_ids=["1", value]), "member_ids[1]"),
            ("ListUpline", report_pb2.ListUplineRequest(member_id=value), "member_id"),
            ("StreamDownline", report_pb2.StreamDownlineRequest(member_id=value), "member_id"),
            ("ListHeldUpdates", report_pb2.ListHeldUpdatesRequest(member_id=value), "member_id"),
        )
    ),
    ("SearchMembers", report_pb2.SearchMembersRequest(prefix=" 1"), INVALID, "MEMBER_ID_INVALID", "prefix", " 1"),
    ("ListHeldUpdates", report_pb2.ListHeldUpdatesRequest(limit=10_001), INVALID, "PAGE_TOO_LARGE", "limit", "10001"),
    (
        "ListHeldUpdates",
        report_pb2.ListHeldUpdatesRequest(member_id="é"),
        INVALID,
        "MEMBER_ID_INVALID",
        "member_id",
        "é",
    ),
    (
        "ListHeldUpdates",
        report_pb2.ListHeldUpdatesRequest(page_token="x"),
        INVALID,
        "PAGE_TOKEN_INVALID",
        "page_token",
        "x",
    ),
    (
        *("ListHeldUpdates", report_pb2.ListHeldUpdatesRequest(update_id_prefix="x" * 65)),
        *(INVALID, "UPDATE_ID_PREFIX_INVALID", "update_id_prefix", "x" * 65),
    ),
    (
        *("ListRejectedUpdates", report_pb2.ListRejectedUpdatesRequest(update_id_prefix="\x1b")),
        *(INVALID, "UPDATE_ID_PREFIX_INVALID", "update_id_prefix", "\x1b"),
    ),
    (
        *("ListRejectedUpdates", report_pb2.ListRejectedUpdatesRequest(page_token="x")),
        *(INVALID, "PAGE_TOKEN_INVALID", "page_token", "x"),
    ),
    ("ListUpline", report_pb2.ListUplineRequest(page_size=10_001), INVALID, "PAGE_TOO_LARGE", "page_size", "10001"),
    ("ListUpline", report_pb2.ListUplineRequest(page_token="x"), INVALID, "PAGE_TOKEN_INVALID", "page_token", "x"),
    ("ListDownline", report_pb2.ListDownlineRequest(page_token="x"), INVALID, "PAGE_TOKEN_INVALID", "page_token", "x"),
    (
        "ListFrontLine",
        report_pb2.ListFrontLineRequest(page_token="x"),
        INVALID,
        "PAGE_TOKEN_INVALID",
        "page_token",
        "x",
    ),
    (
        "ListHoldingTank",
        report_pb2.ListHoldingTankRequest(page_token="x"),
        INVALID,
        "PAGE_TOKEN_INVALID",
        "page_token",
        "x",
    ),
    (
        "SummarizeDownline",
        report_pb2.SummarizeDownlineRequest(dimensions=[7]),  # type: ignore[list-item]
        INVALID,
        "DIMENSION_UNKNOWN",
        "dimensions",
        "7",
    ),  # type: ignore[list-item]
    (
        "SummarizeDownline",
        report_pb2.SummarizeDownlineRequest(dimensions=[1] * 101),  # type: ignore[list-item]
        *(INVALID, "DIMENSION_UNKNOWN", "dimensions", "101"),
    ),
    ("StreamDownline", report_pb2.StreamDownlineRequest(format=9), INVALID, "FORMAT_UNKNOWN", "format", "9"),  # type: ignore[arg-type]
    (
        "ListDownline",
        report_pb2.ListDownlineRequest(filter=Filter(kinds=[7])),  # type: ignore[list-item]
        *(INVALID, "KIND_UNKNOWN", "filter.kinds", "7"),
    ),
    *(
        (
            "StreamDownline",
            report_pb2.StreamDownlineRequest(filter=Filter(**cast(Any, {field: value}))),
            *(INVALID, "DAY_INVALID", f"filter.{field}", value),
        )
        for field, value in (("joined_from", "2026-13-01"), ("joined_to", "yesterday"), ("joined_to", "20261120"))
    ),
    ("ListDownline", ranged(column="rank", min="1"), INVALID, "COLUMN_UNKNOWN", "filter.ranges[0].column", "rank"),
    ("ListDownline", ranged(column="pv", min="much"), INVALID, "NUMBER_INVALID", "filter.ranges[0].min", "much"),
    *(
        ("ListDownline", ranged(column="pv", max=text), INVALID, "NUMBER_INVALID", "filter.ranges[0].max", text)
        for text in ("1_0", "1e2", "1E2", " 1", "1 ", "٣", "１", ".5", "1.", "Infinity", "9" * 41, "+", "--1")
    ),
    (
        "ListDownline",
        report_pb2.ListDownlineRequest(filter=Filter(kinds=[0, 7])),  # type: ignore[list-item]
        *(INVALID, "KIND_UNKNOWN", "filter.kinds", "7"),
    ),
    ("ListDownline", ranged(column="pv", max="nan"), INVALID, "NUMBER_INVALID", "filter.ranges[0].max", "nan"),
    (
        "ListDownline",
        ranged(column="gv", max="1e999999999"),
        INVALID,
        "NUMBER_INVALID",
        "filter.ranges[0].max",
        "1e999999999",
    ),
    (
        "ListDownline",
        ranged(column="score", any_of=["1", "?"]),
        INVALID,
        "NUMBER_INVALID",
        "filter.ranges[0].any_of",
        "?",
    ),
    ("ListDownline", ranged(column="renewed", min="7"), INVALID, "DAY_INVALID", "filter.ranges[0].min", "7"),
    (
        "ListDownline",
        ranged(column="region", any_of=["x"] * 10_001),
        *(INVALID, "TOO_MANY_VALUES", "filter", "10001 values"),
    ),
    (
        "StreamDownline",
        report_pb2.StreamDownlineRequest(filter=Filter(ranges=[Range(column="region", any_of=["x"] * 101)] * 100)),
        *(INVALID, "TOO_MANY_VALUES", "filter", "10100 values"),
    ),
    (
        "ListDownline",
        report_pb2.ListDownlineRequest(filter=Filter(ranges=[Range(column="region", min="x")] * 101)),
        *(INVALID, "TOO_MANY_RANGES", "filter.ranges", "101 ranges"),
    ),
    (
        "ListDownline",
        report_pb2.ListDownlineRequest(options=Options(columns=["region"] * 257)),
        *(INVALID, "TOO_MANY_COLUMNS", "options.columns", "257"),
    ),
]


async def ask(stub: Any, call: str, request: Any) -> grpc.aio.AioRpcError:
    """The error of a call."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if call == "StreamDownline":
            await anext(aiter(stub.StreamDownline(request)))
        else:
            await getattr(stub, call)(request)
    return caught.value


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The error's details by their type."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found = {}
    for detail in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.ResourceInfo):
            if detail.Is(kind.DESCRIPTOR):
                message = kind()
                detail.Unpack(message)
                found[kind.__name__] = message
    return found


@pytest.fixture(scope="module")
def tree() -> Tree:
    return random_tree(8, 40, 20)


async def test_each_error_names_field_and_value(services: Services, tree: Tree) -> None:
    served = await services.start(tree)
    for call, request, code, reason, field, value in CASES:
        error = await ask(served.stub, call, request)
        assert (error.code(), call) == (code, call)
        details = details_of(error)
        info = details["ErrorInfo"]
        assert (info.reason, info.domain) == (reason, "fasttree")
        assert dict(info.metadata) == {name: text for name, text in (("field", field), ("value", value)) if text}
        if code is INVALID:
            assert details["BadRequest"].field_violations[0].field == field
        else:
            assert details["ResourceInfo"].resource_name == value
        assert "\n" not in (error.details() or "")


@pytest.mark.parametrize("member_id", ["nobody", 'no "body"', "no\\body", "n" * 32])
async def test_the_client_says_of_an_unknown_member_of_a_batch_what_the_node_says_of_one(
    services: Services, tree: Tree, member_id: str
) -> None:
    served = await services.start(tree)
    said = call_error(await ask(served.stub, "GetMember", report_pb2.GetMemberRequest(member_id=member_id)), "", "")
    assert (type(member_unknown(member_id)), vars(member_unknown(member_id))) == (type(said), vars(said))


async def test_an_end_of_an_upline_that_is_not_above(services: Services, tree: Tree) -> None:
    served = await services.start(tree)
    roots = [m.member_id for m in (await served.stub.ListFrontLine(report_pb2.ListFrontLineRequest())).members]
    request = report_pb2.ListUplineRequest(member_id=roots[0], to_member_id=roots[1])
    error = await ask(served.stub, "ListUpline", request)
    assert error.code() is INVALID
    assert details_of(error)["ErrorInfo"].reason == "NOT_IN_UPLINE"
    request.to_member_id = "nobody"
    assert (await ask(served.stub, "ListUpline", request)).code() is NOT_FOUND


async def test_a_page_token_of_another_request(services: Services, tree: Tree) -> None:
    served = await services.start(tree)
    first = await served.stub.ListDownline(report_pb2.ListDownlineRequest(page_size=3))
    for other in (
        report_pb2.ListDownlineRequest(sort=Sort(column="pv")),
        report_pb2.ListDownlineRequest(filter=Filter(min_level=1)),
        report_pb2.ListDownlineRequest(options=Options(columns=["pv"])),
    ):
        other.page_token = first.next_page_token
        error = await ask(served.stub, "ListDownline", other)
        assert details_of(error)["ErrorInfo"].reason == "PAGE_TOKEN_INVALID"


async def test_no_tree_yet(services: Services) -> None:
    served = await services.start(None)
    for call, request in (
        ("GetMember", report_pb2.GetMemberRequest(member_id="A")),
        ("StreamDownline", report_pb2.StreamDownlineRequest()),
        ("DescribeTree", report_pb2.DescribeTreeRequest()),
    ):
        error = await ask(served.stub, call, request)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(error)["ErrorInfo"].reason == "NO_TREE"


@pytest.mark.parametrize("rows_max", [0, 1000])
async def test_an_empty_tree_answers(services: Services, rows_max: int) -> None:
    limits = ReportLimits(loop_copy_rows_max=rows_max, loop_sum_rows_max=rows_max)
    stub = (await services.start(Tree.empty(config()), limits)).stub
    assert (await stub.SummarizeDownline(report_pb2.SummarizeDownlineRequest())).total.members == 0
    assert not (await stub.ListDownline(report_pb2.ListDownlineRequest())).members
    assert not (await stub.ListFrontLine(report_pb2.ListFrontLineRequest())).members
    assert not (await stub.ListHoldingTank(report_pb2.ListHoldingTankRequest())).members
    assert not (await stub.SearchMembers(report_pb2.SearchMembersRequest(prefix="A"))).members
    for form in (report_pb2.ROW_FORMAT_MEMBERS, report_pb2.ROW_FORMAT_ARROW):
        messages = [m async for m in stub.StreamDownline(report_pb2.StreamDownlineRequest(format=form))]
        assert messages[0].HasField("as_of")
        assert not any(message.members for message in messages)


def test_the_errors_page_has_every_reason() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "services" / "treenode" / "reports").rglob("*.py"))
    reasons = set(re.findall(r'reason="([A-Z_]+)"|"([A-Z_]+_(?:UNKNOWN|VALUES|INVALID))"', sources))
    found = {one or other for one, other in reasons}
    assert len(found) > 15
    assert [reason for reason in sorted(found) if reason not in page] == []
