"""A log that is not the nodes' own, over real gRPC: nothing is taken until an operator says so."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import pytest

from fasttree.v1 import pusher_pb2
from services.pusher.app import Pusher
from services.pusher.log.memory import MemoryLog
from services.pusher.log.sqlite import SqliteLog
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import push, running_pusher, stub_of
from tests.pusher.updates import orders
from tests.waiting import until


@pytest.fixture
async def nodes() -> AsyncIterator[list[FakeNode]]:
    started = [await FakeNode(name, {"M1": ("", 1)}).start() for name in ("one", "two")]
    yield started
    for node in started:
        await node.stop()


async def refused(pusher: Pusher, first: int = 0) -> str:
    """What a push is told; it must not be taken."""
    async with stub_of(pusher) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await push(stub, orders(first, 1))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        return caught.value.details() or ""


def stands_at(node: FakeNode, position: int) -> bool:
    return node.position == position


async def adopt(pusher: Pusher, reason: str = "the disk is gone") -> pusher_pb2.AdoptLogResponse:
    async with stub_of(pusher) as stub:
        return await stub.AdoptLog(pusher_pb2.AdoptLogRequest(reason=reason))


def test_the_record_that_a_log_begins_with_vouches_for_nothing(tmp_path: Path) -> None:
    """A pusher that began anew in an empty folder is no more trusted when it starts again."""
    for update_id, vouched_for in (("fasttree/founded", False), ("order-1", False), ("order-2", True)):
        store = SqliteLog(tmp_path).claim_alone()
        assert store.vouched_for is vouched_for
        store.append([update_id], [update_id.encode()])
        store.close()


async def test_an_empty_log_takes_nothing_while_a_node_has_another_until_it_is_adopted(
    tmp_path: Path, nodes: list[FakeNode]
) -> None:
    for node in nodes:
        node.log_id, node.position, node.import_id = "another", 77, 3
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        told = await refused(pusher)
        assert "another" in told
        assert "fasttree log adopt" in told
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.RollbackImport(pusher_pb2.RollbackImportRequest())
        assert "fasttree log adopt" in (caught.value.details() or "")
        assert (await stub.GetPusher(pusher_pb2.GetPusherRequest())).closed_reason == told
        assert [node.position for node in nodes] == [77, 77]
        answer = await adopt(pusher)
        assert (answer.log_id, list(answer.replaced_log_ids)) == (pusher.store.log_id, ["another"])
        assert {receipt.code for receipt in await push(stub, orders(0, 5))} == {0}
        for node in nodes:
            await until(partial(stands_at, node, 6), "the node's new beginning")
            assert node.hellos[-1].adopted_reason == "the disk is gone"
            assert node.old is not None
    # The word lasts: a node that was away all the time goes over when it comes.
    late = await FakeNode("three").start()
    late.log_id, late.position = "another", 70
    async with running_pusher(tmp_path, [*nodes, late]) as pusher, stub_of(pusher) as stub:
        assert {receipt.code for receipt in await push(stub, orders(5, 5))} == {0}
        await until(lambda: late.position == 11, "the late node's new beginning")
    await late.stop()


async def test_a_log_that_lost_updates_is_another_one_once_it_is_adopted(tmp_path: Path, nodes: list[FakeNode]) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    async with running_pusher(folder, nodes) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 10))
    shutil.copytree(folder, tmp_path / "backup")
    (tmp_path / "backup" / "log.end").unlink()
    async with running_pusher(folder, nodes) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(10, 5), ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
    before = pusher.store.log_id
    async with running_pusher(tmp_path / "backup", nodes) as pusher, stub_of(pusher) as stub:
        assert "up to 16" in await refused(pusher)
        answer = await adopt(pusher)
        assert list(answer.replaced_log_ids) == [before]
        assert answer.log_id not in ("", before)
        (receipt,) = await push(stub, orders(10, 1), ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
        assert (receipt.position, receipt.code) == (12, 0)
        assert {node.log_id for node in nodes} == {answer.log_id}
    async with running_pusher(tmp_path / "backup", nodes) as pusher:
        assert pusher.store.log_id == answer.log_id
        assert not pusher.lineage.closed


async def test_there_is_nothing_to_adopt_where_nobody_has_another_past(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 1))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await adopt(pusher)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        for reason in ("", " ", "a\nb", "x" * 201):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await adopt(pusher, reason)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_push_waits_until_it_is_known_whether_a_new_log_may_grow(tmp_path: Path, nodes: list[FakeNode]) -> None:
    await nodes[1].stop()
    async with running_pusher(tmp_path, nodes, MemoryLog("fresh").claim_alone()) as pusher, stub_of(pusher) as stub:
        pushing = asyncio.create_task(push(stub, orders(0, 1)))
        await until(lambda: nodes[0].log_id == "fresh", "the first node to hear of the log")
        assert pusher.store.ends().last == 1
        assert not pushing.done()
        nodes[1].log_id, nodes[1].position = "another", 5
        await nodes[1].start()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pushing
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_open_streams_end_when_a_node_turns_out_to_have_more(tmp_path: Path, nodes: list[FakeNode]) -> None:
    await nodes[1].stop()
    async with running_pusher(tmp_path, nodes, lineage_patience_s=0.0) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 1))
        call = stub.PushUpdates()
        await call.write(pusher_pb2.PushUpdatesRequest(updates=orders(1, 1)))
        first = await call.read()
        assert isinstance(first, pusher_pb2.PushUpdatesResponse)
        assert first.receipts[0].position == 3
        nodes[1].log_id, nodes[1].position = pusher.store.log_id, 9
        await nodes[1].start()
        assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "lost updates" in (await call.details() or "")
