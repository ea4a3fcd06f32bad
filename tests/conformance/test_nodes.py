"""What a node owes to its pusher and to whoever asks: the real one, and the fake that stands in for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from fasttree.v1 import coordinator_pb2, treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.serving.channels import open_channel
from tests.fakes.import_file import csv_of
from tests.fakes.node import FakeNode
from tests.fakes.pusher import FakePusher, fake_pusher
from tests.fakes.pusher_stream import AnyNode, EndedError, Stream, instant_of
from tests.treenode.running_node import load_import, running_node
from tests.updates import enrolled, posted

FILE = csv_of([("A", "", "0.00"), ("B", "A", "10.00"), ("C", "A", "5.00")])


@pytest.fixture(params=["fake", "real"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyNode]:
    if request.param == "real":
        async with running_node(tmp_path) as real:
            yield real
        return
    fake = await FakeNode("n1").start()
    yield fake
    await fake.stop()


@pytest.fixture
async def pusher() -> AsyncIterator[FakePusher]:
    async with fake_pusher() as started:
        yield started


@asynccontextmanager
async def stub_of(node: AnyNode) -> AsyncIterator[treenode_pb2_grpc.TreeNodeServiceAsyncStub]:
    async with open_channel(instant_of(node)) as channel:
        yield treenode_pb2_grpc.TreeNodeServiceStub(channel)


async def take(node: AnyNode, pusher: FakePusher, updates: Iterable[types_pb2.Update]) -> list[types_pb2.UpdateOutcome]:
    """Appends the updates to the log, and lets the node take it whole; what was not simply applied."""
    pusher.updates += updates
    async with Stream(node, pusher) as stream:
        stands = (await stream.hello()).status.position
        answer = await stream.send(range(stands + 1, len(pusher.updates) + 1))
        assert answer.applied_position == len(pusher.updates)
        return list(answer.outcomes)


async def status_of(node: AnyNode) -> coordinator_pb2.NodeStatus:
    async with stub_of(node) as stub:
        return (await stub.GetNode(treenode_pb2.GetNodeRequest())).status


async def test_a_new_node_says_that_it_has_nothing(node: AnyNode, pusher: FakePusher) -> None:
    async with Stream(node, pusher) as stream:
        answer = await stream.hello()
    status = answer.status
    assert (status.log_id, status.import_id, status.position, status.record_position) == (pusher.log_id, 0, 0, 0)
    assert answer.applied_position == 0


async def test_what_comes_first_must_be_the_hello_of_its_own_cluster(node: AnyNode, pusher: FakePusher) -> None:
    pusher.updates = [enrolled("A")]
    async with Stream(node, pusher) as stream:
        with pytest.raises(EndedError) as ended:
            await stream.send([1])
        assert ended.value.code is grpc.StatusCode.INVALID_ARGUMENT
    async with Stream(node, pusher) as stream:
        with pytest.raises(EndedError) as ended:
            await stream.hello(cluster="another")
        assert ended.value.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_updates_are_taken_in_order_and_repeats_passed_over(node: AnyNode, pusher: FakePusher) -> None:
    pusher.updates = [enrolled("A"), enrolled("B", "A"), posted("O-1", "B"), posted("O-2", "A")]
    async with Stream(node, pusher) as stream:
        await stream.hello()
        assert (await stream.send([1, 2])).applied_position == 2
        assert (await stream.send([1, 2, 3])).applied_position == 3
        digest = (await status_of(node)).digest
        assert (await stream.send([2, 3])).applied_position == 3
        status = await status_of(node)
    assert (status.position, status.digest) == (3, digest)
    assert (status.record_position, status.record_crc32) == (3, pusher.record(3).crc32)


async def test_a_gap_and_a_damaged_record_end_the_stream_behind_what_is_good(node: AnyNode, pusher: FakePusher) -> None:
    pusher.updates = [enrolled("A"), posted("O-1", "A"), posted("O-2", "A"), posted("O-3", "A")]
    async with Stream(node, pusher) as stream:
        await stream.hello()
        await stream.send([1])
        with pytest.raises(EndedError) as ended:
            await stream.send([3])
        assert ended.value.code is grpc.StatusCode.DATA_LOSS
    async with Stream(node, pusher) as stream:
        assert (await stream.hello()).status.position == 1
        damaged = pusher.record(3)
        damaged.crc32 ^= 1
        with pytest.raises(EndedError) as ended:
            await stream.send_records([pusher.record(2), damaged])
        assert ended.value.code is grpc.StatusCode.DATA_LOSS
    async with Stream(node, pusher) as stream:
        assert (await stream.hello()).status.position == 2
        assert (await stream.send([3, 4])).applied_position == 4


async def test_what_comes_early_is_held_and_what_cannot_be_is_rejected(node: AnyNode, pusher: FakePusher) -> None:
    outcomes = await take(node, pusher, [posted("O-1", "A"), enrolled("B", "A"), posted("O-2", "B")])
    assert [(told.position, told.update_id, told.outcome) for told in outcomes] == [
        (1, "O-1", types_pb2.OUTCOME_HELD),
        (2, "E-B", types_pb2.OUTCOME_HELD),
        (3, "O-2", types_pb2.OUTCOME_HELD),
    ]
    assert [told.waits_for_member_id for told in outcomes] == ["A", "A", "B"]
    assert await take(node, pusher, [enrolled("A")]) == []
    twice = types_pb2.Update(update_id="E-2", member_enrolled=enrolled("A").member_enrolled)
    (again,) = await take(node, pusher, [twice])
    assert (again.position, again.outcome) == (5, types_pb2.OUTCOME_REJECTED)
    assert again.reason
    async with stub_of(node) as stub:
        answer = await stub.GetNode(treenode_pb2.GetNodeRequest())
    assert (answer.members, answer.held) == (2, 0)


async def look_at(node: AnyNode) -> treenode_pb2.GetNodeResponse:
    async with stub_of(node) as stub:
        return await stub.GetNode(treenode_pb2.GetNodeRequest())


async def test_another_log_is_refused_and_the_node_keeps_what_it_has(node: AnyNode, pusher: FakePusher) -> None:
    await take(node, pusher, [enrolled("A"), posted("O-1", "A")])
    for replaces in ((), ("a third",)):
        async with fake_pusher("another") as other, Stream(node, other) as stream:
            status = (await stream.hello(replaces=replaces)).status
            assert (status.log_id, status.position) == (pusher.log_id, 2)
            assert (await stream.ended()).code is grpc.StatusCode.FAILED_PRECONDITION
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await load_import(node, other, other.add_import(1, FILE, 0), log_id=other.log_id)
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    stands = await look_at(node)
    assert (stands.members, stands.refused_log_id, bool(stands.refused_reason)) == (1, "another", True)
    await take(node, pusher, [enrolled("B", "A")])  # its own log is taken as ever
    stands = await look_at(node)
    assert (stands.members, stands.refused_log_id, stands.refused_reason) == (2, "", "")


async def test_another_log_that_was_adopted_is_followed_behind_the_old_tree(node: AnyNode, pusher: FakePusher) -> None:
    await take(node, pusher, [enrolled("A"), posted("O-1", "A")])
    async with fake_pusher("another") as other, Stream(node, other) as stream:
        status = (await stream.hello(replaces=["older", pusher.log_id])).status
        assert (status.log_id, status.position, status.import_id) == ("another", 0, 0)
        other.updates.append(posted("O-9", "B"))
        assert (await stream.send([1])).applied_position == 1
        stands = await look_at(node)
        assert (stands.members, stands.status.position) == (1, 1)
        assert (stands.HasField("old_tree"), stands.old_tree.position) == (True, 2)
        await load_import(node, other, other.add_import(1, FILE, 1), log_id=other.log_id)
        stands = await look_at(node)
        assert (stands.members, stands.status.import_id, stands.HasField("old_tree")) == (3, 1, False)


async def test_a_log_that_lost_updates_is_refused_and_so_is_one_without_a_name(
    node: AnyNode, pusher: FakePusher
) -> None:
    await take(node, pusher, [enrolled("A"), posted("O-1", "A"), posted("O-2", "A")])
    for log_id, updates in ((pusher.log_id, pusher.updates[:2]), ("", pusher.updates)):
        pusher.log_id, pusher.updates = log_id, updates
        async with Stream(node, pusher) as stream:
            assert (await stream.hello()).status.position == 3
            assert (await stream.ended()).code is grpc.StatusCode.FAILED_PRECONDITION
    assert (await status_of(node)).position == 3


async def test_a_newer_stream_ends_the_older(node: AnyNode, pusher: FakePusher) -> None:
    async with Stream(node, pusher) as old, Stream(node, pusher) as new:
        await old.hello()
        await new.hello()
        assert (await old.ended()).code is grpc.StatusCode.ABORTED
        pusher.updates = [enrolled("A")]
        assert (await new.send([1])).applied_position == 1


async def test_an_import_takes_the_place_of_the_tree(node: AnyNode, pusher: FakePusher) -> None:
    pusher.updates = [enrolled("X"), posted("O-1", "B"), posted("O-2", "C")]
    async with Stream(node, pusher) as stream:
        await stream.hello()
        await stream.send([1, 2, 3])
        # Of position 2: what was held then is carried, and what came since is replayed.
        responses = await load_import(node, pusher, pusher.add_import(1, FILE, 2))
        phases = [response.phase for response in responses]
        assert phases == sorted(phases)
        last = responses[-1]
        assert (last.phase, last.status.import_id, last.status.position) == (treenode_pb2.IMPORT_PHASE_DONE, 1, 3)
        assert list(last.carried_positions) == [2]
        # The pusher hears of it, and goes on from there.
        assert (await stream.read()).status.import_id == 1
        pusher.updates += [posted("O-3", "B")]
        assert (await stream.send([4])).applied_position == 4
        again = await load_import(node, pusher, pusher.files[1][0])
    assert (again[-1].phase, list(again[-1].carried_positions)) == (treenode_pb2.IMPORT_PHASE_DONE, [2])
    async with stub_of(node) as stub:
        answer = await stub.GetNode(treenode_pb2.GetNodeRequest())
    assert (answer.members, answer.held) == (3, 0)


async def test_what_an_import_carries_is_found_in_the_tree_of_the_import_that_the_pusher_names(
    node: AnyNode, pusher: FakePusher
) -> None:
    await take(node, pusher, [enrolled("X"), posted("O-1", "B"), posted("O-2", "D")])
    await load_import(node, pusher, pusher.add_import(1, FILE, 3), carried_of=0)  # B is in it
    manifest = pusher.add_import(2, FILE, 3)
    with pytest.raises(grpc.aio.AioRpcError, match="is of import 1") as caught:
        await load_import(node, pusher, manifest, carried_of=0)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (await status_of(node)).import_id == 1
    last = (await load_import(node, pusher, manifest, carried_of=1))[-1]
    # Order 2 was held in the tree before import 1 and is not in its own: another answer than that one had given.
    assert (last.status.import_id, list(last.carried_positions)) == (2, [3])


async def test_an_import_that_is_known_to_carry_nothing_carries_nothing(node: AnyNode, pusher: FakePusher) -> None:
    await take(node, pusher, [enrolled("X"), posted("O-1", "D")])
    manifest = pusher.add_import(1, FILE, 2)
    manifest.carried_known = True
    last = (await load_import(node, pusher, manifest, carried_of=0))[-1]
    assert (last.status.import_id, list(last.carried_positions)) == (1, [])


async def test_a_bad_import_is_refused_with_its_rows_and_changes_nothing(node: AnyNode, pusher: FakePusher) -> None:
    await take(node, pusher, [enrolled("A"), posted("O-1", "A")])
    before = await status_of(node)
    bad = csv_of([("A", "", "0.00"), ("B", "nobody", "0.00"), ("A", "", "0.00")])
    last = (await load_import(node, pusher, pusher.add_import(1, bad, 0)))[-1]
    assert last.phase == treenode_pb2.IMPORT_PHASE_REFUSED
    assert {(row.line, row.column) for row in last.rejected_rows} == {(3, "sponsor_id"), (4, "member_id")}
    assert last.rejected_count == 2
    assert last.reason
    after = await status_of(node)
    assert (after.import_id, after.position, after.digest) == (0, 2, before.digest)


async def test_an_import_that_nobody_has_fails_and_changes_nothing(node: AnyNode, pusher: FakePusher) -> None:
    manifest = pusher.add_import(1, FILE, 0)
    pusher.files.clear()
    async with Stream(node, pusher) as stream:
        await stream.hello()
        with pytest.raises(grpc.aio.AioRpcError):
            await load_import(node, pusher, manifest)
    assert (await status_of(node)).import_id == 0


async def test_digests_of_legs_add_up_to_that_of_the_tree(node: AnyNode, pusher: FakePusher) -> None:
    updates = [enrolled("A"), enrolled("B", "A"), enrolled("C", "B"), enrolled("D", "A"), posted("O-1", "C")]
    await take(node, pusher, updates)
    async with stub_of(node) as stub:

        async def legs_of(member_id: str) -> Any:
            return await stub.ListLegDigests(treenode_pb2.ListLegDigestsRequest(member_id=member_id))

        whole = await stub.GetDigest(treenode_pb2.GetDigestRequest())
        roots, below_a, below_b = await legs_of(""), await legs_of("A"), await legs_of("B")
        assert whole.digest == sum(leg.leg_digest for leg in roots.legs) % 2**64
        assert (whole.as_of.position, roots.as_of.position) == (5, 5)
        assert {leg.member_id for leg in below_a.legs} == {"B", "D"}
        for answer in (below_a, below_b):
            own, below = answer.member.member_digest, sum(leg.leg_digest for leg in answer.legs)
            assert answer.member.leg_digest == (own + below) % 2**64
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await legs_of("nobody")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_digests_of_legs_come_page_by_page(node: AnyNode, pusher: FakePusher) -> None:
    await take(
        node, pusher, [enrolled("A"), *(enrolled(f"B{number}", "A") for number in range(7)), enrolled("C", "B3")]
    )
    async with stub_of(node) as stub:
        whole = await stub.ListLegDigests(treenode_pb2.ListLegDigestsRequest(member_id="A"))
        assert [leg.member_id for leg in whole.legs] == [f"B{number}" for number in range(7)]
        assert not whole.next_page_token
        legs: list[treenode_pb2.LegDigest] = []
        request = treenode_pb2.ListLegDigestsRequest(member_id="A", page_size=3)
        for size in (3, 3, 1):
            page = await stub.ListLegDigests(request)
            assert (len(page.legs), page.member) == (size, whole.member)
            legs += page.legs
            request.page_token = page.next_page_token
        assert (legs, request.page_token) == (list(whole.legs), "")


async def test_a_digest_is_waited_for_and_kept_for_a_while(node: AnyNode, pusher: FakePusher) -> None:
    await take(node, pusher, [enrolled("A"), posted("O-1", "A")])
    async with stub_of(node) as stub:
        at_two = (await stub.GetDigest(treenode_pb2.GetDigestRequest(position=2))).digest
        coming = stub.GetDigest(treenode_pb2.GetDigestRequest(position=3))
        await take(node, pusher, [posted("O-2", "A")])
        at_three = await coming
        assert (at_three.as_of.position, at_three.digest == at_two) == (3, False)
        assert (await stub.GetDigest(treenode_pb2.GetDigestRequest(position=2))).digest == at_two
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetDigest(treenode_pb2.GetDigestRequest(position=9), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
