"""Every call's answer against the oracle, on random trees after random updates, in both trees."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest

from fasttree.v1 import report_pb2, types_pb2
from services.treenode.tree import Tree
from tests.treenode.reports.conftest import SMALL_LIMITS, Served, Services
from tests.treenode.reports.genealogies import PERIODS, VOLUME_TYPES, random_tree
from tests.treenode.reports.naive import PLACEMENT, SPONSOR, NaiveTree, members_of

SLOT = ("CV", "2026-10")
TREES = pytest.mark.parametrize("which", [SPONSOR, PLACEMENT], ids=["sponsor", "placement"])


def options(which: int, **further: object) -> report_pb2.ReportOptions:
    """Every column, of the tree and volume."""
    return report_pb2.ReportOptions(
        **{"tree": which, "volume_type": SLOT[0], "period": SLOT[1], "columns": ["*"], **further}  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module", params=[1, 2])
def tree(request: pytest.FixtureRequest) -> Tree:
    return random_tree(request.param)


@pytest.fixture(scope="module")
def naive(tree: Tree) -> NaiveTree:
    """The same, naively."""
    return NaiveTree(tree)


@pytest.fixture(params=["on the loop", "in threads"])
async def served(tree: Tree, services: Services, request: pytest.FixtureRequest) -> Served:
    """The tree, served both ways."""
    return await services.start(tree, SMALL_LIMITS if request.param == "in threads" else None)


def some_starts(naive: NaiveTree, which: int) -> list[str]:
    """A few members with many and few below, and everybody."""
    sizes = sorted((len(naive.walk(which, member_id)), member_id) for member_id in members_of(naive))
    return ["", *(sizes[place][1] for place in (-1, -2, -10, len(sizes) // 2, 0))]


@TREES
async def test_get_and_batch(served: Served, naive: NaiveTree, which: int) -> None:
    ids = members_of(naive)
    expected = [naive.message(which, SLOT, naive.people[member_id], naive.level(which, member_id)) for member_id in ids]
    for member in expected[::9]:
        request = report_pb2.GetMemberRequest(member_id=member.member_id, options=options(which))
        answer = await served.stub.GetMember(request)
        assert answer.member == member
        assert answer.as_of == served.node.as_of()
    empty = [person.member_id for person in naive.people.values() if not person.kind]
    asked = [*ids, "nobody", *empty]
    random.Random(5).shuffle(asked)
    batch = await served.stub.BatchGetMembers(
        report_pb2.BatchGetMembersRequest(member_ids=asked, options=options(which))
    )
    by_id = {member.member_id: member for member in expected}
    assert list(batch.members) == [by_id[member_id] for member_id in asked if member_id in by_id]
    assert list(batch.unknown_member_ids) == [member_id for member_id in asked if member_id not in by_id]
    assert batch.as_of == served.node.as_of()
    nothing = await served.stub.BatchGetMembers(report_pb2.BatchGetMembersRequest())
    assert (list(nothing.members), list(nothing.unknown_member_ids)) == ([], [])


@TREES
async def test_upline(served: Served, naive: NaiveTree, which: int) -> None:
    deepest = sorted(members_of(naive), key=lambda member_id: naive.level(which, member_id))[-3:]
    for member_id in deepest:
        above = naive.upline(which, member_id)
        expected = [naive.message(which, SLOT, person, level) for level, person in enumerate(above, 1) if person.kind]
        request = report_pb2.ListUplineRequest(member_id=member_id, options=options(which), page_size=2)
        assert await pages_of_upline(served, request, len(expected)) == expected
        middle = expected[len(expected) // 2]
        request.to_member_id = middle.member_id
        until = expected[: expected.index(middle) + 1]
        assert await pages_of_upline(served, request, len(until)) == until


async def pages_of_upline(served: Served, request: report_pb2.ListUplineRequest, count: int) -> list[types_pb2.Member]:
    """All pages; the request is as it was afterwards."""
    found: list[types_pb2.Member] = []
    while request.page_token or not found:
        answer = await served.stub.ListUpline(request)
        assert (answer.total_count, len(answer.members)) == (count, min(request.page_size, count - len(found)))
        found += answer.members
        request.page_token = answer.next_page_token
    return found


@TREES
async def test_front_line(served: Served, naive: NaiveTree, which: int) -> None:
    for start in some_starts(naive, which):
        children = naive.people[start].children[which] if start else naive.roots(which)
        members = [naive.message(which, SLOT, child, 1 if start else 0) for child in children if child.kind]
        members.sort(key=lambda member: member.member_id)
        members.sort(key=lambda member: member.gv_hundredths, reverse=True)
        request = report_pb2.ListFrontLineRequest(
            member_id=start,
            options=options(which),
            sort=report_pb2.SortKey(column="gv", descending=True),
            page_size=7,
        )
        found: list[types_pb2.Member] = []
        while True:
            answer = await served.stub.ListFrontLine(request)
            assert answer.total_count == len(members)
            found += answer.members
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                break
        assert found == members


def column_of(member: types_pb2.Member, column: str) -> object:
    """A member's value of a sort column, empty cells first."""
    if column in ("region", "renewed"):
        return member.columns.get(column, "")
    if column in ("points", "score"):
        return float(member.columns[column]) if column in member.columns else float("-inf")
    names = {"pv": "pv_hundredths", "gv": "gv_hundredths"}
    return getattr(member, names.get(column, column))


SORTS = [
    *("", "member_id", "sponsor_id", "placement_id", "placement_leg", "kind", "status", "rank", "joined_on", "level"),
    *("pv", "gv", "downline_count", "region", "points", "score", "renewed"),
]


@TREES
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_in_every_order(served: Served, naive: NaiveTree, which: int, descending: bool) -> None:
    members = naive.downline(which, SLOT, "")
    for column in SORTS:
        expected = sorted(
            members,
            key=lambda member: column_of(member, column or "member_id"),  # type: ignore[arg-type,return-value]
            reverse=descending,
        )
        request = report_pb2.ListDownlineRequest(
            options=options(which),
            sort=report_pb2.SortKey(column=column, descending=descending),
            page_size=random.Random(column).choice([50, 77]),
        )
        found: list[types_pb2.Member] = []
        while True:
            answer = await served.stub.ListDownline(request)
            assert answer.total_count == len(expected)
            assert answer.as_of == served.node.as_of()
            found += answer.members
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                break
        assert [member.member_id for member in found] == [member.member_id for member in expected], column
        assert found == expected


Filter = report_pb2.DownlineFilter
Range = report_pb2.ColumnRange
FILTERS: list[tuple[Filter, Callable[[types_pb2.Member], bool]]] = [
    (Filter(min_level=2), lambda member: member.level >= 2),
    (Filter(max_level=1), lambda member: member.level <= 1),
    (Filter(min_level=1, max_level=9), lambda member: 1 <= member.level <= 9),
    (Filter(kinds=[types_pb2.MEMBER_KIND_CUSTOMER]), lambda member: member.kind == types_pb2.MEMBER_KIND_CUSTOMER),
    (Filter(kinds=[types_pb2.MEMBER_KIND_UNSPECIFIED]), lambda member: True),
    (Filter(statuses=["A", "no such status"]), lambda member: member.status == "A"),
    (Filter(min_rank=1), lambda member: member.rank >= 1),
    (Filter(max_rank=0), lambda member: member.rank == 0),
    (Filter(min_rank=-5, max_rank=100_000), lambda member: True),
    (Filter(joined_from="2022-01-08"), lambda member: member.joined_on >= "2022-01-08"),
    (Filter(joined_to="2022-01-08"), lambda member: "" < member.joined_on <= "2022-01-08"),
    (Filter(ranges=[Range(column="pv", min="0", max="999.5")]), lambda member: 0 <= member.pv_hundredths <= 999),
    (Filter(ranges=[Range(column="gv", min="5000")]), lambda member: member.gv_hundredths >= 5000),
    (Filter(ranges=[Range(column="downline_count", any_of=["0", "3", "2.5"])]), lambda m: m.downline_count in (0, 3)),
    (
        Filter(ranges=[Range(column="region", min="n", max="south")]),
        lambda m: "n" <= m.columns.get("region", "") <= "south",
    ),
    (
        Filter(ranges=[Range(column="region", any_of=["", "östlich"])]),
        lambda m: m.columns.get("region", "") in ("", "östlich"),
    ),
    (Filter(ranges=[Range(column="points", max="0")]), lambda m: float(m.columns.get("points", 1)) <= 0),
    (Filter(ranges=[Range(column="points", any_of=["", "7"])]), lambda m: m.columns.get("points", "7") == "7"),
    (Filter(ranges=[Range(column="score", min="0.3333331")]), lambda m: float(m.columns.get("score", 0)) > 0.34),
    (Filter(ranges=[Range(column="score", any_of=["2", "2.250"])]), lambda m: m.columns.get("score") in ("2", "2.25")),
    (Filter(ranges=[Range(column="renewed", min="2000-01-01")]), lambda m: m.columns.get("renewed", "") >= "2000"),
    (Filter(ranges=[Range(column="pv", min="99999999999999999999")]), lambda member: False),
    (
        Filter(statuses=["A"], min_rank=1, ranges=[Range(column="pv", min="1"), Range(column="gv", max="90000")]),
        lambda m: m.status == "A" and m.rank >= 1 and m.pv_hundredths >= 1 and m.gv_hundredths <= 90000,
    ),
]


@TREES
async def test_filters(served: Served, naive: NaiveTree, which: int) -> None:
    starts = some_starts(naive, which)
    for place, (row_filter, passes) in enumerate(FILTERS):
        start = starts[place % 3]
        expected = naive.downline(which, SLOT, start, passes)
        request = report_pb2.ListDownlineRequest(member_id=start, options=options(which), filter=row_filter)
        answer = await served.stub.ListDownline(request)
        assert list(answer.members) == expected, row_filter
        stream = served.stub.StreamDownline(
            report_pb2.StreamDownlineRequest(member_id=start, options=options(which), filter=row_filter)
        )
        rows = [member async for message in stream for member in message.members]
        assert sorted(rows, key=lambda member: member.member_id) == expected
        summary = await served.stub.SummarizeDownline(
            report_pb2.SummarizeDownlineRequest(member_id=start, options=options(which), filter=row_filter)
        )
        assert summary.total.members == len(expected)
        assert summary.total.pv_hundredths == sum(member.pv_hundredths for member in expected)


@TREES
async def test_summaries(served: Served, naive: NaiveTree, which: int) -> None:
    kinds = {1: "distributor", 2: "customer"}
    keys: dict[int, Callable[[types_pb2.Member], object]] = {
        report_pb2.SUMMARY_DIMENSION_LEVEL: lambda member: member.level,
        report_pb2.SUMMARY_DIMENSION_STATUS: lambda member: member.status,
        report_pb2.SUMMARY_DIMENSION_RANK: lambda member: member.rank,
        report_pb2.SUMMARY_DIMENSION_KIND: lambda member: kinds[member.kind],
    }
    for start in some_starts(naive, which):
        members = naive.downline(which, SLOT, start)
        answer = await served.stub.SummarizeDownline(
            report_pb2.SummarizeDownlineRequest(member_id=start, options=options(which))
        )
        assert answer.as_of == served.node.as_of()
        assert [summary.dimension for summary in answer.summaries] == list(keys)
        for summary in answer.summaries:
            key = keys[summary.dimension]
            counts = Counter(key(member) for member in members)
            volumes: Counter[object] = Counter()
            for member in members:
                volumes[key(member)] += member.pv_hundredths
            expected = [(str(group), counts[group], volumes[group]) for group in sorted(counts)]  # type: ignore[type-var]
            assert [(group.key, group.members, group.pv_hundredths) for group in summary.groups] == expected
    only = await served.stub.SummarizeDownline(
        report_pb2.SummarizeDownlineRequest(dimensions=[report_pb2.SUMMARY_DIMENSION_RANK] * 2)
    )
    assert [summary.dimension for summary in only.summaries] == [report_pb2.SUMMARY_DIMENSION_RANK]


@TREES
async def test_streams_in_tree_order(served: Served, naive: NaiveTree, which: int) -> None:
    for start in some_starts(naive, which):
        stream = served.stub.StreamDownline(report_pb2.StreamDownlineRequest(member_id=start, options=options(which)))
        messages = [message async for message in stream]
        rows = [member for message in messages for member in message.members]
        assert sorted(rows, key=lambda member: member.member_id) == naive.downline(which, SLOT, start)
        assert messages[0].as_of == served.node.as_of()
        assert not any(message.HasField("as_of") for message in messages[1:])
        # Tree order: from each row, its downline follows at once.
        places = {member.member_id: place for place, member in enumerate(rows)}
        for place, member in enumerate(rows):
            below = [places[p.member_id] for p, _ in naive.walk(which, member.member_id) if p.kind]
            assert sorted(below) == list(range(place, place + len(below)))


@TREES
async def test_arrow_has_the_same_rows(served: Served, naive: NaiveTree, which: int) -> None:
    for start in some_starts(naive, which)[:4]:
        request = report_pb2.StreamDownlineRequest(
            member_id=start, options=options(which), format=report_pb2.ROW_FORMAT_ARROW
        )
        content = b"".join([message.arrow async for message in served.stub.StreamDownline(request)])
        table = pa.ipc.open_stream(content).read_all()
        table.validate(full=True)
        rows = sorted(table.to_pylist(), key=lambda row: row["member_id"])
        expected = naive.downline(which, SLOT, start)
        assert len(rows) == len(expected)
        for row, member in zip(rows, expected, strict=True):
            assert arrow_row(member) == {name: value for name, value in row.items() if value is not None}


def arrow_row(member: types_pb2.Member) -> dict[str, object]:
    """What Arrow has for a member; nothing for null."""
    kinds = {1: "distributor", 2: "customer"}
    row: dict[str, object] = {
        "member_id": member.member_id,
        "placement_leg": member.placement_leg,
        "kind": kinds[member.kind],
        "status": member.status,
        "rank": member.rank,
        "level": member.level,
        "pv": member.pv_hundredths,
        "gv": member.gv_hundredths,
        "downline_count": member.downline_count,
        "region": member.columns.get("region", ""),
    }
    for name in ("sponsor_id", "placement_id"):
        if getattr(member, name):
            row[name] = getattr(member, name)
    if member.joined_on:
        row["joined_on"] = pa.scalar(member.joined_on).cast(pa.date32()).as_py()
    if "renewed" in member.columns:
        row["renewed"] = pa.scalar(member.columns["renewed"]).cast(pa.date32()).as_py()
    if "points" in member.columns:
        row["points"] = int(member.columns["points"])
    if "score" in member.columns:
        row["score"] = pa.scalar(member.columns["score"]).cast(pa.decimal128(19, 6)).as_py()
    for volume in member.volumes:
        row[f"personal:{volume.volume_type}:{volume.period}"] = volume.personal_hundredths
        row[f"group:{volume.volume_type}:{volume.period}"] = volume.group_hundredths
    return row


@TREES
async def test_search(served: Served, naive: NaiveTree, which: int) -> None:
    ids = members_of(naive)
    for prefix in ("A", "N1", ids[5], ids[5] + "0", "zz", "M" * 32):
        wanted = [member_id for member_id in ids if member_id.startswith(prefix)][:25]
        answer = await served.stub.SearchMembers(
            report_pb2.SearchMembersRequest(prefix=prefix, limit=25, options=options(which))
        )
        assert list(answer.members) == [
            naive.message(which, SLOT, naive.people[member_id], naive.level(which, member_id)) for member_id in wanted
        ]
    assert len((await served.stub.SearchMembers(report_pb2.SearchMembersRequest(prefix="A"))).members) == 20


async def test_holding_tank(served: Served, naive: NaiveTree) -> None:
    for start in some_starts(naive, SPONSOR):
        members = [
            naive.message(SPONSOR, SLOT, person, level if start else naive.level(SPONSOR, person.member_id))
            for person, level in naive.walk(SPONSOR, start)
            if person.kind and person.above[SPONSOR] and not person.above[PLACEMENT] and person.member_id != start
        ]
        members.sort(key=lambda member: member.member_id)
        request = report_pb2.ListHoldingTankRequest(member_id=start, options=options(SPONSOR), page_size=9)
        found: list[types_pb2.Member] = []
        while True:
            answer = await served.stub.ListHoldingTank(request)
            assert answer.total_count == len(members)
            found += answer.members
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                break
        assert found == members


async def test_held_rejected_and_describe(served: Served, tree: Tree) -> None:
    held = await served.stub.ListHeldUpdates(report_pb2.ListHeldUpdatesRequest())
    waiting = list(tree.held())
    assert [update.position for update in held.updates] == [update.position for update in waiting]
    assert held.total_count == tree.held_count > 0
    first = held.updates[0]
    assert (first.outcome, first.waits_for_member_id) == (types_pb2.OUTCOME_HELD, waiting[0].waits_for)
    rejected = await served.stub.ListRejectedUpdates(report_pb2.ListRejectedUpdatesRequest(limit=3))
    assert [update.position for update in rejected.updates] == [update.position for update in tree.rejected()[-3:]]
    assert rejected.updates[-1].reason == tree.rejected()[-1].reason
    assert rejected.total_count == tree.rejected_count
    described = await served.stub.DescribeTree(report_pb2.DescribeTreeRequest())
    assert described.members == tree.member_count
    assert described.roots == tree.root_count
    assert described.holding_tank == tree.holding_count
    assert (tuple(described.volume_types), tuple(described.periods)) == (VOLUME_TYPES, PERIODS)
    assert {column.name: column.type for column in described.columns} == {
        "region": report_pb2.COLUMN_TYPE_TEXT,
        "points": report_pb2.COLUMN_TYPE_INTEGER,
        "score": report_pb2.COLUMN_TYPE_DECIMAL,
        "renewed": report_pb2.COLUMN_TYPE_DATE,
    }


async def test_default_and_chosen_columns(served: Served, naive: NaiveTree) -> None:
    member_id = members_of(naive)[3]
    whole = naive.message(SPONSOR, ("PV", "2026-11"), naive.people[member_id], naive.level(SPONSOR, member_id))
    plain = types_pb2.Member()
    plain.CopyFrom(whole)
    for field in ("placement_id", "placement_leg", "volumes", "columns"):
        plain.ClearField(field)  # type: ignore[arg-type]
    assert (await served.stub.GetMember(report_pb2.GetMemberRequest(member_id=member_id))).member == plain
    chosen = report_pb2.ReportOptions(columns=["gv", "region", "gv", "placement_leg"])
    expected = types_pb2.Member(gv_hundredths=whole.gv_hundredths, placement_leg=whole.placement_leg)
    if "region" in whole.columns:
        expected.columns["region"] = whole.columns["region"]
    one = await served.stub.GetMember(report_pb2.GetMemberRequest(member_id=member_id, options=chosen))
    assert one.member == expected
    batch = await served.stub.BatchGetMembers(report_pb2.BatchGetMembersRequest(member_ids=[member_id], options=chosen))
    assert list(batch.members) == [expected]
