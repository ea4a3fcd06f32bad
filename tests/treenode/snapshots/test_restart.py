"""A node that starts again goes on from its snapshot; one that lost it, from a peer's."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from fasttree.v1 import coordinator_pb2, report_pb2, report_pb2_grpc, treenode_pb2, treenode_pb2_grpc
from services.shared.serving.channels import open_channel
from services.treenode.app import TreeNode
from services.treenode.node.lifecycle import NodeState
from tests.fakes.coordinator import FakeCoordinator, fake_coordinator
from tests.fakes.import_file import csv_of
from tests.fakes.pusher import FakePusher, fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.treenode.running_node import load_import, running_node
from tests.updates import enrolled, posted
from tests.waiting import until


async def fed(node: TreeNode, pusher: FakePusher, count: int) -> int:
    """Gives the node `count` more updates, some of them held; returns its digest then."""
    first = len(pusher.updates) + 1
    for number in range(first, first + count):
        pusher.updates.append(enrolled(f"M{number}") if number % 3 else posted(f"O-{number}", f"M{number + 1}"))
    async with Stream(node, pusher) as stream:
        position = (await stream.hello()).status.position
        answer = await stream.send(range(position + 1, len(pusher.updates) + 1))
        assert answer.applied_position == len(pusher.updates)
    return node.runner.in_force.tree.digest


async def test_a_drained_node_goes_on_where_it_ended(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        async with running_node(tmp_path) as node:
            digest = await fed(node, pusher, 100)
        async with running_node(tmp_path) as node:
            sequence = node.runner.core.sequence
            assert (sequence.log_id, sequence.position) == ("log-1", 100)
            assert node.runner.in_force.tree.digest == digest
            assert node.runner.status().record_position == 100
            assert node.runner.status().record_crc32 == pusher.record(100).crc32
            node.runner.in_force.tree.validate()
            assert not node.runner.core.life.ready
            await fed(node, pusher, 10)
            assert node.runner.core.state is NodeState.PASSIVE


async def test_a_node_that_hears_no_pusher_serves_what_it_has(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        await fed(node, pusher, 10)
    async with running_node(tmp_path, catch_up_grace_s=0.2) as node:
        assert not node.runner.core.life.ready
        await until(lambda: node.runner.core.state is NodeState.PASSIVE, "the node to be ready")
        assert node.runner.tree is not None


async def test_a_node_that_hears_no_pusher_serves_nothing_beside_a_ready_one_with_a_newer_import(
    tmp_path: Path,
) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        await fed(node, pusher, 10)
        log_id = node.runner.core.sequence.log_id
    grace_s = 2.0
    async with fake_coordinator() as coordinator:
        ready = coordinator_pb2.NODE_STATE_PASSIVE
        coordinator.add_node("n2", ready, log_id=log_id, import_id=3, position=10)
        async with running_node(
            tmp_path, coordinator=coordinator.address, catch_up_grace_s=grace_s, heartbeat_s=0.05
        ) as node:
            await until(lambda: node.runner.core.behind is not None, "the coordinator's word")
            await asyncio.sleep(1.5 * grace_s)
            assert node.runner.core.state is NodeState.CATCHING_UP
            async with aiohttp.ClientSession() as session, session.get(f"http://{node.address.http}/readyz") as answer:
                assert answer.status == 503
                assert "a node that is ready has import 3, position 10" in await answer.text()
            coordinator.cluster.nodes[0].status.state = coordinator_pb2.NODE_STATE_DRAINING
            await until(lambda: node.runner.core.state is NodeState.PASSIVE, "the node to be ready")
            assert node.runner.standing == ""


async def test_a_node_that_starts_from_before_the_first_import_and_member_says_of_nobody_that_he_is_not_there(
    tmp_path: Path,
) -> None:
    async with fake_pusher() as pusher:
        pusher.updates.append(posted("O-1", "M1"))
        async with running_node(tmp_path) as node:
            await fed(node, pusher, 0)
        assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["0-1.snapshot"]
        async with running_node(tmp_path) as node, open_channel(node.address.report) as channel:
            # Nothing waits for time: however long no pusher comes, it stays so.
            assert (node.runner.core.state, node.runner.core.deadline_s) == (NodeState.JOINING, None)
            await no_tree(channel, "M1")
            manifest = pusher.add_import(1, csv_of([("M1", "", "10.00")]), 1)
            pusher.import_id = 1
            async with Stream(node, pusher) as stream:
                await stream.hello()
                await no_tree(channel, "M1")
                await load_import(node, pusher, manifest)
                await stream.send([])
                assert node.runner.core.state is NodeState.PASSIVE
                assert (await member_of(channel, "M1")).as_of.import_id == 1


async def test_a_node_that_ends_before_it_has_a_tree_answers_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, open_channel(node.address.report) as channel:
        node.runner.drain()
        assert node.runner.core.state is NodeState.DRAINING
        await no_tree(channel, "M1")


async def no_tree(channel: grpc.aio.Channel, member_id: str) -> None:
    """What a proxy asks another node for: not that nobody has the id."""
    with pytest.raises(grpc.aio.AioRpcError, match="no tree yet") as refused:
        await member_of(channel, member_id)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def member_of(channel: grpc.aio.Channel, member_id: str) -> report_pb2.GetMemberResponse:
    request = report_pb2.GetMemberRequest(member_id=member_id)
    return await report_pb2_grpc.ReportServiceStub(channel).GetMember(request)


@pytest.mark.parametrize("damage", ["byte", "end", "all"])
async def test_a_damaged_snapshot_is_set_aside_and_the_one_before_is_taken(tmp_path: Path, damage: str) -> None:
    async with fake_pusher() as pusher:
        async with running_node(tmp_path) as node:
            await fed(node, pusher, 50)
            older = await node.writer.save()
            digest = await fed(node, pusher, 50)
        assert older is not None
        newest = node.store.path_of(0, 100)
        data = bytearray(newest.read_bytes())
        data[len(data) // 2] ^= 1
        newest.write_bytes({"byte": bytes(data), "end": bytes(data[:-1]), "all": b""}[damage])
        async with running_node(tmp_path) as node:
            assert node.runner.core.sequence.position == 50
            assert newest.name in {path.name for path in (tmp_path / "snapshots" / "aside").iterdir()}
            assert await fed(node, pusher, 0) == digest
        assert newest.exists()


async def test_a_node_without_any_good_snapshot_starts_empty(tmp_path: Path) -> None:
    async with fake_pusher() as pusher:
        async with running_node(tmp_path) as node:
            digest = await fed(node, pusher, 20)
        for path in (tmp_path / "snapshots").glob("*.snapshot"):
            path.write_bytes(b"nothing")
        async with running_node(tmp_path) as node:
            assert node.runner.core.state is NodeState.JOINING
            assert await fed(node, pusher, 0) == digest


async def test_snapshots_are_written_when_due_while_updates_go_on(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path, snapshot_updates=30) as node:
        await fed(node, pusher, 31)
        await until(lambda: node.store.find(0, 31), "the first snapshot")
        await fed(node, pusher, 5)
        await asyncio.sleep(0)
        assert [snapshot.position for snapshot in node.store.all()] == [31]
        await fed(node, pusher, 30)
        await until(lambda: node.store.find(0, 66), "the second snapshot")


async def test_the_same_import_and_position_of_another_log_is_another_state(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        await fed(node, pusher, 20)
        saved = await node.writer.save()
        assert saved is not None
        written = saved.path.stat().st_ino
        assert await node.writer.save() == saved
        assert saved.path.stat().st_ino == written
        node.writer.restored("log-0", saved.import_id, saved.position)
        assert await node.writer.save() == saved
        assert saved.path.stat().st_ino != written


async def test_a_new_node_takes_a_peers_snapshot(tmp_path: Path) -> None:
    async with (
        fake_pusher() as pusher,
        fake_coordinator() as coordinator,
        running_node(tmp_path / "1", coordinator=coordinator.address) as first,
    ):
        digest = await fed(first, pusher, 200)
        await ready_in(coordinator, "n1")
        # The log has lost its beginning: records alone can't bring a new node on.
        pusher.first_position = 150
        async with (
            running_node(tmp_path / "2", name="n2", coordinator=coordinator.address) as second,
            Stream(second, pusher) as stream,
        ):
            assert (await stream.hello()).status.record_position == 0
            await until(lambda: second.runner.core.sequence.position == 200, "the peer's snapshot")
            assert second.runner.in_force.tree.digest == digest
            answer = await stream.send([])
            assert (answer.status.position, answer.status.record_crc32) == (200, pusher.record(200).crc32)
            assert second.runner.core.state is NodeState.PASSIVE
            await until(lambda: second.store.find(0, 200), "the snapshot on its own disk")
            assert list((tmp_path / "2" / "snapshots").glob("*.part")) == []


async def test_an_import_behind_a_damaged_record_comes_as_a_peers_snapshot(tmp_path: Path) -> None:
    file = csv_of([("M1", "", "10.00"), ("M2", "M1", "5.00")])
    async with (
        fake_pusher() as pusher,
        fake_coordinator() as coordinator,
        running_node(tmp_path / "1", coordinator=coordinator.address) as first,
        running_node(tmp_path / "2", name="n2", coordinator=coordinator.address) as second,
        Stream(second, pusher) as stream,
    ):
        await fed(first, pusher, 20)
        manifest = pusher.add_import(1, file, 10)
        manifest.force = True
        await load_import(first, pusher, manifest)
        await ready_in(coordinator, "n1")
        await stream.hello()
        await stream.send(range(1, 21))
        pusher.import_id = 1
        await stream.send([])
        # The record is behind the file's position: nobody can build that import any more.
        pusher.damaged_position = 15
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await load_import(second, pusher, manifest)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        # The node takes updates all the while, further than the peer's snapshot is.
        pusher.updates.append(enrolled("M21"))
        assert (await stream.send([21])).applied_position == 21
        await until(lambda: second.runner.core.sequence.import_id == 1, "the peer's snapshot")
        assert second.runner.core.sequence.position == 21
        await fed(first, pusher, 0)
        assert second.runner.in_force.tree.digest == first.runner.in_force.tree.digest
        assert second.runner.core.state is NodeState.PASSIVE
        assert (await load_import(second, pusher, manifest))[-1].phase == treenode_pb2.IMPORT_PHASE_DONE


async def ready_in(coordinator: FakeCoordinator, name: str) -> None:
    await until(lambda: name in coordinator.heard and coordinator.heard[name].status.state == 4, f"{name} to be ready")


async def test_snapshots_are_served_from_any_offset_and_by_their_state(tmp_path: Path) -> None:
    async with (
        fake_pusher() as pusher,
        running_node(tmp_path) as node,
        open_channel(node.address.instant) as channel,
    ):
        stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)

        async def parts(**request: Any) -> list[treenode_pb2.DownloadSnapshotResponse]:
            call = stub.DownloadSnapshot(treenode_pb2.DownloadSnapshotRequest(**request))
            return [part async for part in call]

        with pytest.raises(grpc.aio.AioRpcError) as error:
            await parts()
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        await fed(node, pusher, 30)
        manifest, *chunks = await parts()
        whole = b"".join(part.chunk.data for part in chunks)
        assert (manifest.manifest.position, manifest.manifest.log_id) == (30, "log-1")
        assert len(whole) == manifest.manifest.size_bytes
        rest = await parts(position=30, offset=100)
        assert b"".join(part.chunk.data for part in rest[1:]) == whole[100:]
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await parts(position=29)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await parts(offset=1 << 40)
        assert error.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_a_full_disk_costs_a_snapshot_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        await fed(node, pusher, 20)
        assert await node.writer.save() is not None
        await fed(node, pusher, 20)
        with monkeypatch.context() as patch:
            patch.setattr("services.treenode.snapshots.saving.StateLayout.finish", full)
            with pytest.raises(OSError, match="No space left"):
                await node.writer.save()
        assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["0-20.snapshot"]
        await fed(node, pusher, 5)
        assert (await node.writer.save()) is not None
        assert [snapshot.position for snapshot in node.store.all()] == [45, 20]
