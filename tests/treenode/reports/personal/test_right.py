"""Who sees personal columns: whom a rule lets, in every report, and nobody else, by either server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from fasttree.v1 import report_pb2, types_pb2
from services.shared.rules import DeclaredColumn
from services.treenode.reports import ReportServicer
from services.treenode.reports.copy.extents import catalogue_of
from services.treenode.tree import Tree
from tests.treenode.reports.conftest import SMALL_LIMITS, SteeredNode
from tests.treenode.reports.genealogies import config
from tests.treenode.reports.scope.world import Served, arrow_of

PHONE, SHIRT = "+46 70 123", "XL"
Options = report_pb2.ReportOptions
ALL = Options(columns=["*"])
NAMED = Options(columns=["member_id", "phone"])
#: Every report whose rows are members, of a request with these options.
REPORTS: dict[str, Any] = {
    "GetMember": lambda options: report_pb2.GetMemberRequest(member_id="a", options=options),
    "BatchGetMembers": lambda options: report_pb2.BatchGetMembersRequest(member_ids=["a"], options=options),
    "ListUpline": lambda options: report_pb2.ListUplineRequest(member_id="b", options=options),
    "ListFrontLine": lambda options: report_pb2.ListFrontLineRequest(options=options),
    "ListDownline": lambda options: report_pb2.ListDownlineRequest(options=options),
    "StreamDownline": lambda options: report_pb2.StreamDownlineRequest(options=options),
    "SearchMembers": lambda options: report_pb2.SearchMembersRequest(prefix="a", options=options),
    "ListHoldingTank": lambda options: report_pb2.ListHoldingTankRequest(options=options),
}


def enrolled(member_id: str, sponsor_id: str = "", **columns: str) -> types_pb2.Update:
    change = types_pb2.MemberEnrolled(member_id=member_id, sponsor_id=sponsor_id, columns=columns)
    return types_pb2.Update(update_id=f"enrol-{member_id}", member_enrolled=change)


def declared(name: str, *, personal: bool) -> types_pb2.Update:
    change = types_pb2.ColumnDeclared(name=name, type="text", personal=personal)
    return types_pb2.Update(update_id=f"declare-{name}-{personal}", column_declared=change)


def members_tree() -> Tree:
    tree = Tree.empty(config())
    columns = {"phone": PHONE, "shirt": SHIRT}
    updates = [declared("phone", personal=True), declared("shirt", personal=False)]
    tree.apply(1, [*updates, enrolled("a", **columns), enrolled("b", "a", **columns)])
    assert tree.rules.columns == (DeclaredColumn("phone", "text", True), DeclaredColumn("shirt", "text"))
    return tree


@pytest.fixture(params=["nghttp2", "grpcio"])
async def served(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """A node where one role has the right."""
    rules = [
        {"name": "reports", "source": {"principals": ["*"]}, "request": {"paths": ["/fasttree*"]}},
        {
            "name": "personal",
            "source": {"principals": ["token://personal-reporter/*"]},
            "request": {"paths": ["/personal-columns"]},
        },
    ]
    async with Served(members_tree(), tmp_path, request.param, SMALL_LIMITS, rules=rules) as running:
        yield running


async def ask(served: Served, role: str, call: str, request: Message) -> list[Any]:
    metadata = (("authorization", served.issuer.bearer(role=role, member_id="a")),)
    made = getattr(served.stub, call)(request, metadata=metadata)
    return [await made] if isinstance(made, grpc.aio.UnaryUnaryCall) else [each async for each in made]


def columns_of(answers: list[Any]) -> list[dict[str, str]]:
    """Further columns of every member in some answers."""
    found = []
    for answer in answers:
        members = [answer.member] if hasattr(answer, "member") else answer.members
        found += [dict(each.columns) for each in getattr(members, "members", members)]
    return found


@pytest.mark.parametrize("call", sorted(REPORTS))
async def test_a_report_has_a_personal_column_only_for_whom_a_rule_lets(served: Served, call: str) -> None:
    both = columns_of(await ask(served, "personal-reporter", call, REPORTS[call](ALL)))
    assert both
    assert all(each == {"phone": PHONE, "shirt": SHIRT} for each in both)
    for role in ("reporter", "leader"):
        without = columns_of(await ask(served, role, call, REPORTS[call](ALL)))
        assert without
        assert all(each == {"shirt": SHIRT} for each in without)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(served, role, call, REPORTS[call](NAMED))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert '"phone" is a personal column, and no rule lets you see those' in (refused.value.details() or "")
    named = columns_of(await ask(served, "personal-reporter", call, REPORTS[call](NAMED)))
    assert named == [{"phone": PHONE}] * len(both)


async def test_arrow_has_it_for_the_same_ones(served: Served) -> None:
    request = report_pb2.StreamDownlineRequest(options=ALL, format=report_pb2.ROW_FORMAT_ARROW)
    rows, _ = arrow_of(await ask(served, "personal-reporter", "StreamDownline", request))
    assert [row["phone"] for row in rows] == [PHONE, PHONE]
    rows, _ = arrow_of(await ask(served, "reporter", "StreamDownline", request))
    assert [(set(row) & {"phone", "shirt"}, row["shirt"]) for row in rows] == [({"shirt"}, SHIRT)] * 2


async def test_nobody_sorts_or_filters_by_it(served: Served) -> None:
    sort = report_pb2.SortKey(column="phone")
    ranged = report_pb2.DownlineFilter(ranges=[report_pb2.ColumnRange(column="phone", any_of=[PHONE])])
    for request in (report_pb2.ListDownlineRequest(sort=sort), report_pb2.ListDownlineRequest(filter=ranged)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(served, "personal-reporter", "ListDownline", request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "a report can show it, and not go by it" in (refused.value.details() or "")


async def test_everybody_is_told_that_it_is_there_and_whether_he_may_see_it(served: Served) -> None:
    for role, is_hidden in (("reporter", True), ("personal-reporter", False)):
        (answer,) = await ask(served, role, "DescribeTree", report_pb2.DescribeTreeRequest())
        told = {each.name: (each.personal, each.hidden) for each in answer.columns}
        assert told == {"phone": (True, is_hidden), "shirt": (False, False)}


async def test_a_column_that_becomes_personal_is_so_in_every_state(served: Served) -> None:
    """A closed period's too, whose own rules are from before."""
    before = Tree.empty(config())
    before.apply(1, [declared("shirt", personal=False), enrolled("a", shirt=SHIRT)])
    closed = ReportServicer(SteeredNode(before), like=served.servicer)
    reader = closed._reader
    assert reader.catalogue(before).personal == frozenset()
    await served.node.apply([declared("shirt", personal=True)])
    assert reader.catalogue(before).personal == {"shirt"}


def test_a_file_s_column_of_the_same_meaning_is_personal() -> None:
    tree = Tree.empty(config())
    tree.apply(1, [declared("STRASSE", personal=False), declared("shirt", personal=False), enrolled("a")])
    assert catalogue_of(tree, frozenset({"Straße"})).personal == {"STRASSE"}
