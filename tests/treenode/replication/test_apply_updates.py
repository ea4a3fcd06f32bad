"""The pusher's stream to a real node over real gRPC."""

import asyncio
from pathlib import Path

import grpc
import pytest

from fasttree.v1 import coordinator_pb2, treenode_pb2, treenode_pb2_grpc, types_pb2
from services.shared.serving.channels import open_channel
from services.treenode.tree import Tree
from tests.fakes.pusher import FOUNDING, fake_pusher
from tests.fakes.pusher_stream import EndedError, Stream
from tests.treenode.running_node import running_node
from tests.updates import enrolled, moved, posted
from tests.waiting import until


def replayed(updates: list[types_pb2.Update], tree: Tree) -> int:
    """The digest after the updates, applied one by one to an empty tree."""
    for position, update in enumerate(updates, 1):
        tree.apply(position, [update])
    return tree.digest


UPDATES = [
    enrolled("A"),
    enrolled("B", "A"),
    posted("O-1", "B"),
    posted("O-2", "C", 250),  # before C: held
    enrolled("C", "B"),  # releases it
    moved("V-1", "A", "C"),  # below itself: rejected
    posted("O-3", "Z"),  # held for good
]


async def test_updates_are_applied_in_order_with_their_outcomes(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        pusher.updates = UPDATES
        first = await stream.hello()
        assert first.status.position == 0
        assert first.status.log_id == "log-1"
        answer = await stream.send(range(1, 6))
        assert answer.applied_position == 5
        assert [(outcome.position, outcome.outcome) for outcome in answer.outcomes] == [(4, types_pb2.OUTCOME_HELD)]
        assert answer.outcomes[0].waits_for_member_id == "C"
        answer = await stream.send([6, 7])
        assert [(outcome.position, outcome.outcome) for outcome in answer.outcomes] == [
            (6, types_pb2.OUTCOME_REJECTED),
            (7, types_pb2.OUTCOME_HELD),
        ]
        assert all(outcome.reason for outcome in answer.outcomes)
        runner = node.runner
        assert (runner.in_force.tree.held_count, runner.in_force.tree.rejected_count) == (1, 1)
        assert runner.in_force.tree.digest == replayed(UPDATES, Tree.empty(FOUNDING))
        assert runner.core.state.name == "PASSIVE"
        assert runner.as_of().position == 7
        assert runner.as_of().HasField("fresh_at")


async def test_repeats_change_nothing_and_are_answered(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        pusher.updates = UPDATES
        await stream.hello()
        await stream.send(range(1, 4))
        digest = node.runner.in_force.tree.digest
        assert (await stream.send(range(1, 4))).applied_position == 3
        assert node.runner.in_force.tree.digest == digest
        assert (await stream.send(range(2, 8))).applied_position == 7
        assert node.runner.in_force.tree.digest == replayed(UPDATES, Tree.empty(FOUNDING))


@pytest.mark.parametrize("damage", ["gap", "order", "checksum", "update", "moved"])
async def test_nothing_from_a_damaged_record_on_is_applied(tmp_path: Path, damage: str) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        pusher.updates = UPDATES
        await stream.hello()
        await stream.send([1])
        records = [pusher.record(position) for position in (2, 3, 4)]
        applied = 2
        if damage == "gap":
            records[1:2] = []
            applied = 1  # the batch as a whole has a gap
        elif damage == "order":
            records.reverse()
            applied = 1
        elif damage == "checksum":
            records[1].crc32 ^= 1
        elif damage == "update":
            records[1].update = records[1].update[:-1] + b"\xff"
        elif damage == "moved":
            records[1].position = 9
        with pytest.raises(EndedError) as ended:
            await stream.send_records(records)
        assert ended.value.code is grpc.StatusCode.DATA_LOSS
        assert node.runner.core.sequence.position == applied
        async with Stream(node, pusher) as again:
            assert (await again.hello()).status.position == applied
            assert (await again.send(range(applied + 1, 8))).applied_position == 7
        assert node.runner.in_force.tree.digest == replayed(UPDATES, Tree.empty(FOUNDING))


async def test_a_newer_stream_ends_the_older_one(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as old:
        await old.hello()
        async with Stream(node, pusher) as new:
            await new.hello()
            assert (await old.ended()).code is grpc.StatusCode.ABORTED
            pusher.updates = UPDATES
            assert (await new.send(range(1, 8))).applied_position == 7


async def test_who_may_not_speak(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        async with Stream(node, pusher) as stream:
            with pytest.raises(EndedError, match="belongs to cluster dot-test") as ended:
                await stream.hello(cluster="other")
            assert ended.value.code is grpc.StatusCode.FAILED_PRECONDITION
        async with Stream(node, pusher) as stream:
            with pytest.raises(EndedError) as ended:
                await stream.ask(treenode_pb2.ApplyUpdatesRequest())
            assert ended.value.code is grpc.StatusCode.INVALID_ARGUMENT
        pusher.updates = UPDATES
        async with Stream(node, pusher) as stream:
            await stream.hello()
            await stream.send(range(1, 8))
        pusher.updates = UPDATES[:5]
        async with Stream(node, pusher) as stream:
            assert (await stream.hello()).status.position == 7  # the pusher learns who has what its log lost
            refusal = await stream.ended()
            assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
            assert "the log has lost updates" in str(refusal)


async def test_another_log_is_refused_and_the_tree_serves_on(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        async with fake_pusher() as pusher, Stream(node, pusher) as stream:
            pusher.updates = UPDATES
            await stream.hello()
            await stream.send(range(1, 8))
            assert await node.writer.save() is not None
        async with fake_pusher("log-2") as other, Stream(node, other) as stream:
            status = (await stream.hello()).status
            assert (status.log_id, status.position) == ("log-1", 7)
            assert (await stream.ended()).code is grpc.StatusCode.FAILED_PRECONDITION
            assert node.runner.in_force.tree.position == 7
            assert len(node.store.all()) == 1
            assert not (tmp_path / "snapshots" / "aside").exists()


async def test_whoever_waits_for_a_position_goes_on_once_it_is_applied(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        pusher.updates = UPDATES
        await stream.hello()
        waits = [asyncio.create_task(node.runner.wait_for_position(position)) for position in (2, 5, 99)]
        await stream.send([1, 2, 3])
        await asyncio.wait_for(waits[0], 10)
        assert not waits[1].done()
        await stream.send([4, 5])
        await asyncio.wait_for(waits[1], 10)
        waits[2].cancel()
        await asyncio.wait({waits[2]})
        assert node.runner.waiters.count == 0
        await node.runner.wait_for_position(5)


async def test_the_node_tells_where_it_stands(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        pusher.updates = UPDATES
        await stream.hello()
        await stream.send(range(1, 8))
        async with open_channel(node.address.instant) as channel:
            stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
            found = await stub.GetNode(treenode_pb2.GetNodeRequest())
            assert (found.members, found.held, found.rejected) == (3, 1, 1)
            assert found.address.name == "n1"
            assert found.status.state == coordinator_pb2.NODE_STATE_PASSIVE
            at_five = await stub.GetDigest(treenode_pb2.GetDigestRequest(position=5))
            assert at_five.digest == replayed(UPDATES[:5], Tree.empty(FOUNDING))
            assert at_five.as_of.position == 5
            now = await stub.GetDigest(treenode_pb2.GetDigestRequest())
            assert (now.digest, now.as_of.position) == (node.runner.in_force.tree.digest, 7)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.GetDigest(treenode_pb2.GetDigestRequest(position=8), timeout=0.1)
            assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            legs = await stub.ListLegDigests(treenode_pb2.ListLegDigestsRequest(member_id="A"))
            assert [leg.member_id for leg in legs.legs] == ["B"]
            assert legs.member.member_id == "A"
            assert legs.as_of.position == 7
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await stub.ListLegDigests(treenode_pb2.ListLegDigestsRequest(member_id="nobody"))
            assert error.value.code() is grpc.StatusCode.NOT_FOUND
            for wrong in ({"page_size": 10_001}, {"page_token": "AAAA"}):
                with pytest.raises(grpc.aio.AioRpcError) as error:
                    await stub.ListLegDigests(treenode_pb2.ListLegDigestsRequest(member_id="A", **wrong))
                assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_fault_of_the_engine_ends_the_node_without_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        pusher.updates = UPDATES
        await stream.hello()
        await stream.send([1, 2])

        def fail(first_position: int, updates: object, before_seal: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(node.runner.in_force.tree, "apply", fail)
        with pytest.raises(EndedError):
            await stream.send([3])
        await until(node.background.failed.is_set, "the node to end")
        assert node.background.reason == "ended by a fault of its own: broken"
    assert list((tmp_path / "snapshots").glob("*.snapshot")) == []


async def test_two_processes_never_share_a_state_folder(tmp_path: Path) -> None:
    async with running_node(tmp_path):
        with pytest.raises(Exception, match="is in use by process"):
            async with running_node(tmp_path, name="n2"):
                pass
