"""What reports promise while updates go on: one position for each answer, pages that go on, positions waited for."""

from __future__ import annotations

import asyncio
import itertools
import random

import grpc.aio
import numpy as np
import pytest

from fasttree.v1 import report_pb2, types_pb2
from services.treenode.reports import ReportLimits
from services.treenode.reports.streams import streams
from services.treenode.tree import NO_DAY, ImportTable, Tree
from tests.treenode.reports.conftest import SMALL_LIMITS, Served, Services
from tests.treenode.reports.genealogies import config, random_table, random_update
from tests.treenode.reports.naive import SPONSOR, NaiveTree

AMOUNT = 7
SLOT = ("PV", "2026-11")


def chain_and_fans(count: int) -> Tree:
    """One root, every member with three below; nobody has volume yet."""
    return Tree.from_table(
        ImportTable(
            member_ids=np.array([f"M{number:05d}" for number in range(count)], "S8"),
            sponsor=np.array([(number - 1) // 3 if number else -1 for number in range(count)], np.int32),
            placement=np.full(count, -1, np.int32),
            placement_leg=np.zeros(count, np.int32),
            kind=np.ones(count, np.uint8),
            status=np.zeros(count, np.int16),
            status_names=["A"],
            rank=np.zeros(count, np.int16),
            joined_on=np.full(count, NO_DAY, np.int32),
        ),
        config(),
        import_id=1,
        position=0,
    )


def order(number: int, member_id: str) -> types_pb2.Update:
    return types_pb2.Update(
        update_id=f"order {number}",
        volume_posted=types_pb2.VolumePosted(member_id=member_id, amount_hundredths=AMOUNT),
    )


async def keep_posting(served: Served, count: int) -> None:
    """An order for anybody at each position, for as long as it is not cancelled."""
    dice = random.Random(1)
    for number in itertools.count(1):
        await served.node.apply([order(number, f"M{dice.randrange(count):05d}")])
        await asyncio.sleep(0)


@pytest.mark.parametrize("limits", [None, SMALL_LIMITS], ids=["on the loop", "in threads"])
async def test_each_answer_is_of_the_position_that_it_states(services: Services, limits: ReportLimits | None) -> None:
    served = await services.start(chain_and_fans(3000), limits)
    posting = asyncio.create_task(keep_posting(served, 3000))
    positions = set()
    for _ in range(12):
        messages = [message async for message in served.stub.StreamDownline(report_pb2.StreamDownlineRequest())]
        rows = [member for message in messages for member in message.members]
        position = messages[0].as_of.position
        assert len(rows) == 3000
        # One order of 7 a position: each answer's sums tell its position.
        assert rows[0].gv_hundredths == position * AMOUNT
        assert sum(member.pv_hundredths for member in rows) == position * AMOUNT
        summary = await served.stub.SummarizeDownline(report_pb2.SummarizeDownlineRequest())
        assert summary.total.pv_hundredths == summary.as_of.position * AMOUNT
        page = await served.stub.ListDownline(report_pb2.ListDownlineRequest(page_size=3000))
        assert sum(member.pv_hundredths for member in page.members) == page.as_of.position * AMOUNT
        front = await served.stub.ListFrontLine(report_pb2.ListFrontLineRequest())
        assert front.members[0].gv_hundredths == front.as_of.position * AMOUNT
        positions.add(position)
    assert len(positions) > 1
    posting.cancel()
    served.node.gate.state.validate()


async def test_a_stream_fits_its_position_while_members_come_move_and_leave(services: Services) -> None:
    dice = random.Random(2)
    table = random_table(dice, 120)
    tree = Tree.from_table(table, config(), 1, 0)
    served = await services.start(tree, SMALL_LIMITS)
    ids = [member_id.decode() for member_id in table.member_ids.tolist()]
    expected: dict[int, dict[str, tuple[str, int, str]]] = {}

    def note() -> None:
        naive = NaiveTree(tree)
        expected[tree.position] = {
            person.member_id: (person.above[SPONSOR], level, person.status)
            for person, level in naive.walk(SPONSOR, "")
            if person.kind
        }

    async def keep_changing() -> None:
        for number in itertools.count(1):
            await served.node.apply([random_update(dice, number, ids)])
            note()
            await asyncio.sleep(0)

    note()
    changing = asyncio.create_task(keep_changing())
    positions = set()
    for _ in range(25):
        messages = [m async for m in served.stub.StreamDownline(report_pb2.StreamDownlineRequest())]
        position = messages[0].as_of.position
        rows = [member for message in messages for member in message.members]
        assert len(rows) == len(expected[position])
        assert {m.member_id: (m.sponsor_id, m.level, m.status) for m in rows} == expected[position]
        positions.add(position)
    changing.cancel()
    assert len(positions) > 3


async def test_a_stream_is_of_one_position_however_slowly_it_is_read(services: Services) -> None:
    limits = ReportLimits(loop_copy_rows_max=0, message_bytes=2000)
    served = await services.start(chain_and_fans(20_000), limits)
    stream = aiter(served.stub.StreamDownline(report_pb2.StreamDownlineRequest()))
    first = await anext(stream)
    assert first.as_of.position == 0
    # Others change, leave and come while the rest is still to be read.
    for number in range(1, 30):
        await served.node.apply([order(number, f"M{number:05d}")])
    removed = types_pb2.MemberRemoved(member_id="M19999")
    await served.node.apply([types_pb2.Update(update_id="r", member_removed=removed)])
    new = types_pb2.MemberEnrolled(member_id="NEW", sponsor_id="M00000")
    await served.node.apply([types_pb2.Update(update_id="e", member_enrolled=new)])
    rows = list(first.members)
    async for message in stream:
        rows += message.members
    assert sorted(member.member_id for member in rows) == [f"M{number:05d}" for number in range(20_000)]
    assert not any(member.pv_hundredths or member.gv_hundredths for member in rows)
    now = await served.stub.DescribeTree(report_pb2.DescribeTreeRequest())
    assert (now.members, now.as_of.position) == (20_000, 31)


@pytest.mark.parametrize("sort", ["", "gv", "status", "sponsor_id"])
async def test_page_tokens_go_on_while_members_come_and_go(services: Services, sort: str) -> None:
    dice = random.Random(sort)
    tree = Tree.from_table(random_table(dice, 120), config(), 1, 0)
    served = await services.start(tree, SMALL_LIMITS)
    before = {member.member_id: member for member in NaiveTree(tree).downline(SPONSOR, SLOT, "")}
    request = report_pb2.ListDownlineRequest(
        sort=report_pb2.SortKey(column=sort, descending=sort == "gv"), page_size=11
    )
    found: list[types_pb2.Member] = []
    ids = sorted(before)
    for number in itertools.count(1):
        answer = await served.stub.ListDownline(request)
        found += answer.members
        request.page_token = answer.next_page_token
        if not answer.next_page_token:
            break
        await served.node.apply([random_update(dice, number * 10 + extra, ids) for extra in range(5)])
        # The position waited for may differ from page to page.
        request.options.min_position = tree.position
    after = {member.member_id: member for member in NaiveTree(tree).downline(SPONSOR, SLOT, "")}
    column = {"": "member_id", "gv": "gv_hundredths"}.get(sort, sort)
    still = [m for m in before if m in after and getattr(before[m], column) == getattr(after[m], column)]
    seen = [member.member_id for member in found]
    assert len(still) > 40
    for member_id in still:
        assert seen.count(member_id) == 1, member_id
    keys = [(getattr(member, column), member.member_id) for member in found]
    if sort == "gv":
        keys = [(-gv, member_id) for gv, member_id in keys]
    assert keys == sorted(keys)


async def test_a_page_token_goes_on_at_another_node(services: Services) -> None:
    table = random_table(random.Random(4), 90)
    turned = np.argsort(table.member_ids)[::-1].astype(np.int32)
    place_of = np.empty_like(turned)
    place_of[turned] = np.arange(len(turned))

    def links(rows: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.where(rows[turned] < 0, -1, place_of[rows[turned]]).astype(np.int32)

    other_table = ImportTable(
        member_ids=table.member_ids[turned],
        sponsor=links(table.sponsor),
        placement=links(table.placement),
        placement_leg=table.placement_leg[turned],
        kind=table.kind[turned],
        status=(3 - table.status[turned]).astype(np.int16),
        status_names=table.status_names[::-1],
        rank=table.rank[turned],
        joined_on=table.joined_on[turned],
        volumes={key: values[turned] for key, values in table.volumes.items()},
    )
    nodes = [await services.start(Tree.from_table(each, config(), 1, 0)) for each in (table, other_table)]
    for column, descending in (("", False), ("status", True), ("gv", True), ("sponsor_id", True)):
        request = report_pb2.ListDownlineRequest(
            sort=report_pb2.SortKey(column=column, descending=descending), page_size=90
        )
        whole = (await nodes[0].stub.ListDownline(request)).members
        request.page_size = 7
        found: list[types_pb2.Member] = []
        for turn in itertools.count():
            answer = await nodes[turn % 2].stub.ListDownline(request)
            found += answer.members
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                break
        assert found == list(whole)


async def test_a_position_is_waited_for(services: Services) -> None:
    served = await services.start(chain_and_fans(10))
    request = report_pb2.GetMemberRequest(member_id="M00001", options=report_pb2.ReportOptions(min_position=2))
    asking = asyncio.ensure_future(served.stub.GetMember(request, timeout=20))
    await served.node.apply([order(1, "M00001")])
    assert not asking.done()
    await served.node.apply([order(2, "M00001")])
    answer = await asking
    assert (answer.member.pv_hundredths, answer.as_of.position) == (2 * AMOUNT, 2)


async def test_a_position_that_does_not_come_ends_with_the_deadline(services: Services) -> None:
    served = await services.start(chain_and_fans(10), SMALL_LIMITS)
    options = report_pb2.ReportOptions(min_position=5)
    calls = (
        served.stub.GetMember(report_pb2.GetMemberRequest(member_id="M00001", options=options)),
        served.stub.SummarizeDownline(report_pb2.SummarizeDownlineRequest(options=options)),
        served.stub.DescribeTree(report_pb2.DescribeTreeRequest(min_position=5)),
        served.stub.DescribeTree(report_pb2.DescribeTreeRequest(min_position=5), timeout=0.2),
    )
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_another_tree_may_take_over_between_pages(services: Services) -> None:
    served = await services.start(chain_and_fans(40), SMALL_LIMITS)
    request = report_pb2.ListDownlineRequest(page_size=15)
    first = await served.stub.ListDownline(request)
    async with served.node.gate.write():
        served.node.tree = chain_and_fans(45)
    request.page_token, request.page_size = first.next_page_token, 100
    rest = await served.stub.ListDownline(request)
    ids = [member.member_id for member in [*first.members, *rest.members]]
    assert ids == [f"M{number:05d}" for number in range(45)]


async def test_streams_are_bounded_and_a_cancelled_one_frees_its_place(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WAIT_S_MAX", 0.0)
    served = await services.start(chain_and_fans(20_000), SMALL_LIMITS)
    under_way = [served.stub.StreamDownline(report_pb2.StreamDownlineRequest()) for _ in range(2)]
    for stream in under_way:
        assert (await anext(aiter(stream))).members
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(served.stub.StreamDownline(report_pb2.StreamDownlineRequest())))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2 streams are under way" in (caught.value.details() or "")
    under_way[0].cancel()
    async with asyncio.timeout(20):
        while served.servicer.streams.count == 2:  # noqa: ASYNC110 - the server hears of it from the network
            await asyncio.sleep(0.01)
    rows = [
        m async for message in served.stub.StreamDownline(report_pb2.StreamDownlineRequest()) for m in message.members
    ]
    assert len(rows) == 20_000
    under_way[1].cancel()
