"""PushUpdates and fan-out over real gRPC, with nodes that keep what they are sent."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.pusher.log.memory import MemoryLog
from services.pusher.log.store import Appended
from tests.fakes.node import FakeNode
from tests.fakes.server import CLUSTER
from tests.pusher.running_pusher import push, running_pusher, stub_of
from tests.pusher.updates import order, orders
from tests.updates import enrolled, posted
from tests.waiting import until


@pytest.fixture
async def nodes() -> AsyncIterator[list[FakeNode]]:
    started = [
        await FakeNode(name, {f"M{number}": ("", number) for number in range(100)}).start() for name in ("one", "two")
    ]
    yield started
    for node in started:
        node.running.set()
        await node.stop()


def has(node: FakeNode, position: int) -> bool:
    return node.position == position


async def test_updates_reach_every_node_in_order_each_once(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        receipts = await push(stub, orders(0, 2500), batch=700)
        assert [receipt.position for receipt in receipts] == list(range(2, 2502))
        assert [receipt.update_id for receipt in receipts] == [update.update_id for update in orders(0, 2500)]
        for node in nodes:
            await until(partial(has, node, 2501), "all updates on the node")
            assert node.update_ids == [update.update_id for update in orders(0, 2500)]
            assert node.hellos[0].cluster == CLUSTER
            assert node.hellos[0].log_id == pusher.store.log_id
            assert node.hellos[0].pusher_address == f"127.0.0.1:{pusher.server.port}"
        assert pusher.tail.disk_reads <= len(nodes)  # the first record, which is older than the tail


async def test_duplicates_conflicts_and_malformed_updates_have_receipts_in_their_place(tmp_path: Path) -> None:
    bad = types_pb2.Update(update_id="bad id with no change")
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        await push(stub, [order(1)])
        receipts = await push(stub, [order(2), bad, order(1), order(1, 5), order(3)])
    assert [receipt.code for receipt in receipts] == [
        code_pb2.OK, code_pb2.INVALID_ARGUMENT, code_pb2.OK, code_pb2.ALREADY_EXISTS, code_pb2.OK,
    ]  # fmt: skip
    assert [receipt.position for receipt in receipts] == [3, 0, 2, 0, 4]
    assert [receipt.duplicate for receipt in receipts] == [False, False, True, False, False]
    assert receipts[1].update_id == bad.update_id
    assert "position 2" in receipts[3].message


async def test_what_the_nodes_confirm_together_is_told_together(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await push(stub, [order(0)])
        await until(lambda: all(has(node, 2) for node in nodes), "nodes in step")
        for node in nodes:
            node.running.clear()
        call = stub.PushUpdates()
        for number in range(1, 31):
            level = pusher_pb2.ACK_LEVEL_ALL_NODES
            await call.write(pusher_pb2.PushUpdatesRequest(updates=[order(number)], ack_level=level))
        await until(lambda: pusher.store.ends().last == 32, "all of them on disk")
        for node in nodes:
            node.running.set()
        await call.done_writing()
        responses = [response async for response in call]
        receipts = [receipt for response in responses for receipt in response.receipts]
        assert [receipt.position for receipt in receipts] == list(range(3, 33))
        assert {receipt.outcome for receipt in receipts} == {types_pb2.OUTCOME_APPLIED}
        assert len(responses) < 30
        assert all(node.messages < 30 for node in nodes)


async def test_a_batch_of_only_malformed_updates_is_answered(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        receipts = await push(stub, [types_pb2.Update(), types_pb2.Update(update_id="x" * 65)])
    assert [receipt.code for receipt in receipts] == [code_pb2.INVALID_ARGUMENT] * 2


async def test_too_many_updates_in_one_message_end_the_stream(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match="1001 updates") as caught:
            await push(stub, orders(0, 1001), batch=1001)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert pusher.store.ends().last == 1


async def test_receipts_of_many_streams_are_each_in_order(tmp_path: Path) -> None:
    async with running_pusher(tmp_path, group_updates_max=250) as pusher, stub_of(pusher) as stub:
        results = await asyncio.gather(*(push(stub, orders(1000 * each, 1000), batch=90) for each in range(8)))
        positions = sorted(receipt.position for receipts in results for receipt in receipts)
        assert positions == list(range(2, 8002))
        for each, receipts in enumerate(results):
            assert [receipt.update_id for receipt in receipts] == [u.update_id for u in orders(1000 * each, 1000)]
            own = [receipt.position for receipt in receipts]
            assert own == sorted(own)


async def test_streams_that_wait_for_budget_all_get_through(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"push_stream_updates_max": 60, "push_updates_max": 100}
    async with running_pusher(tmp_path, **limits) as pusher, stub_of(pusher) as stub:
        # Batches of 75 are larger than a stream's budget, and two of them than the common one.
        sizes = (1, 25, 60, 75)
        results = await asyncio.gather(
            *(push(stub, orders(1000 * each, 300), batch=size) for each, size in enumerate(sizes))
        )
        assert [len(receipts) for receipts in results] == [300] * len(sizes)
        assert {receipt.code for receipts in results for receipt in receipts} == {code_pb2.OK}
        assert pusher.store.ends().last == 1 + 300 * len(sizes)
        assert pusher.admission.core.budget.taken == 0


async def test_a_client_that_goes_gives_its_budget_back(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"push_stream_updates_max": 10, "push_updates_max": 10, "ack_timeout_s": 60.0}
    async with running_pusher(tmp_path, **limits) as pusher, stub_of(pusher) as stub:
        call = stub.PushUpdates()
        for batch in range(4):  # the first fills the stream's budget until a node confirms it, and there is none
            level = pusher_pb2.ACK_LEVEL_ONE_NODE
            await call.write(pusher_pb2.PushUpdatesRequest(updates=orders(100 * batch, 10), ack_level=level))
        await until(lambda: pusher.store.ends().last == 11, "the first batch")
        call.cancel()
        await until(lambda: not pusher.admission.core.streams, "the end of the stream")
        assert pusher.admission.core.deadline_s is None
        receipts = await push(stub, orders(1000, 30), batch=10)
        assert [receipt.position for receipt in receipts] == list(range(12, 42))


class FaultyLog(MemoryLog):
    """Fails at one id in a way that nobody thought of."""

    def append(self, update_ids: Sequence[str], contents: Sequence[bytes], rules: Sequence[int] = ()) -> Appended:
        if "order-13" in update_ids:
            raise RuntimeError("a defect")
        return super().append(update_ids, contents, rules)


async def test_a_defect_ends_the_stream_that_met_it_and_no_other(tmp_path: Path) -> None:
    async with running_pusher(tmp_path, store=FaultyLog().claim_alone()) as pusher, stub_of(pusher) as stub:
        with pytest.raises(grpc.aio.AioRpcError):
            await push(stub, [order(13)])
        assert (await push(stub, [order(14)]))[0].position == 2
        assert pusher.admission.core.budget.taken == 0


async def test_waiting_for_nodes_tells_what_became_of_updates(tmp_path: Path, nodes: list[FakeNode]) -> None:
    held, rejected = posted("h", "nobody-yet"), enrolled("M1")
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await until(lambda: sum(node.in_step for node in pusher.fan_out.core.nodes.values()) == 2, "nodes in step")
        receipts = await push(stub, [order(1), held, rejected], ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
        assert [node.position for node in nodes] == [4, 4]
        assert [receipt.outcome for receipt in receipts] == [
            types_pb2.OUTCOME_APPLIED,
            types_pb2.OUTCOME_HELD,
            types_pb2.OUTCOME_REJECTED,
        ]
        again = await push(stub, [held], ack_level=pusher_pb2.ACK_LEVEL_ONE_NODE)
        assert (again[0].duplicate, again[0].outcome) == (True, types_pb2.OUTCOME_HELD)


async def test_one_node_is_enough_for_one_node_and_all_waits_for_the_healthy_ones(
    tmp_path: Path, nodes: list[FakeNode]
) -> None:
    async with running_pusher(tmp_path, nodes, ack_timeout_s=1.0) as pusher, stub_of(pusher) as stub:
        await until(lambda: sum(node.in_step for node in pusher.fan_out.core.nodes.values()) == 2, "nodes in step")
        nodes[1].running.clear()
        one = await push(stub, [order(1)], ack_level=pusher_pb2.ACK_LEVEL_ONE_NODE)
        assert one[0].code == code_pb2.OK
        every = await push(stub, [order(2)], ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
        assert (every[0].code, every[0].position) == (code_pb2.UNAVAILABLE, 3)
        await nodes[1].stop()  # no longer healthy: not waited for
        await until(lambda: not pusher.fan_out.core.nodes[nodes[1].address].in_step, "the loss of the node")
        rest = await push(stub, [order(3)], ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
        assert rest[0].code == code_pb2.OK


async def test_without_nodes_waiting_for_them_ends_in_time(tmp_path: Path) -> None:
    async with running_pusher(tmp_path, ack_timeout_s=0.2) as pusher, stub_of(pusher) as stub:
        receipts = await push(stub, orders(0, 3), ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
    assert [(receipt.code, receipt.position) for receipt in receipts] == [(code_pb2.UNAVAILABLE, p) for p in (2, 3, 4)]


async def test_a_full_log_refuses_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    store = MemoryLog().claim_alone()
    store.updates_max = 11
    async with running_pusher(tmp_path, store=store) as pusher, stub_of(pusher) as stub:
        assert {receipt.code for receipt in await push(stub, orders(0, 10))} == {code_pb2.OK}
        refused = await push(stub, orders(10, 5))
        assert {receipt.code for receipt in refused} == {code_pb2.RESOURCE_EXHAUSTED}
        assert "push again" in refused[0].message
        store.updates_max = 100
        assert [receipt.position for receipt in await push(stub, orders(10, 5))] == [12, 13, 14, 15, 16]


async def test_a_node_that_was_away_goes_on_from_its_own_position(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 100))
        await until(lambda: nodes[1].position == 101, "the first part")
        await nodes[1].stop()
        await push(stub, orders(100, 3000))
        await until(lambda: nodes[0].position == 3101, "the other node, which is not held up")
        await nodes[1].start()
        await until(lambda: nodes[1].position == 3101, "the rest")
        assert nodes[1].update_ids == [update.update_id for update in orders(0, 3100)]


async def test_a_log_from_an_older_backup_is_known_by_the_nodes_last_record(
    tmp_path: Path, nodes: list[FakeNode]
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    async with running_pusher(folder, nodes[:1]) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 10))
        await until(lambda: nodes[0].position == 11, "the node to have everything")
    shutil.copytree(folder, tmp_path / "backup")
    async with running_pusher(folder, nodes[:1]) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(10, 5))
        await until(lambda: nodes[0].position == 16, "the node to have everything")
    await nodes[0].stop()
    # The backup takes other updates, further than the node is, before the two meet.
    async with running_pusher(tmp_path / "backup", nodes) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(100, 20))
        await nodes[0].start()
        progress = pusher.fan_out.core.nodes[nodes[0].address]
        await until(lambda: "another update 16" in progress.note, "the pusher to know it")
        # Nothing more is taken under positions that the node has otherwise.
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await push(stub, orders(200, 5))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "has lost updates" in (caught.value.details() or "")
        assert nodes[0].position == 16
        assert nodes[1].position == 31


async def test_a_node_that_lacks_more_than_the_tail_is_fed_from_the_disk(tmp_path: Path) -> None:
    async with running_pusher(tmp_path, tail_mib=0) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 5000), batch=1000)
    node = await FakeNode().start()
    async with running_pusher(tmp_path, [node]) as pusher:
        await until(lambda: node.position == 5001, "everything")
        assert pusher.tail.disk_reads > 0
    await node.stop()


async def test_a_node_that_lacks_a_damaged_record_is_told_that_the_log_begins_behind_it(tmp_path: Path) -> None:
    store = MemoryLog().claim_alone()
    store.vouched_for = True  # a node that is away says nothing of its past
    late = await FakeNode("late").start()
    await late.stop()
    async with running_pusher(tmp_path, [late], store=store, tail_mib=0) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 2000), batch=1000)
        await push(stub, orders(2000, 1000), batch=1000)  # a commit of its own: the only one that stays in memory
        store.frames[1500] = store.frames[1500][:-1] + b"\x00"
        await late.start()
        await until(lambda: late.log_end.first_position == 1501, "the log's beginning behind the damage")
        answer = await stub.GetPusher(pusher_pb2.GetPusherRequest())
        assert "position 1500 is damaged" in answer.nodes[0].note
        await late.stop()
        late.position = 1600  # it took a snapshot
        await late.start()
        await until(lambda: late.position == 3001, "the rest")
        assert late.update_ids == [update.update_id for update in orders(1599, 1401)]
    await late.stop()


async def test_a_node_that_does_not_read_costs_bounded_memory(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with (
        running_pusher(tmp_path, nodes, window_updates=500, batch_updates_max=100) as pusher,
        stub_of(pusher) as stub,
    ):
        await push(stub, orders(0, 10))
        await until(lambda: nodes[1].position == 11, "the first part")
        nodes[1].running.clear()
        await push(stub, orders(10, 5000), batch=1000)
        await until(lambda: nodes[0].position == 5011, "the other node")
        stuck = pusher.fan_out.core.nodes[nodes[1].address]
        assert stuck.next_position - 1 - stuck.applied_position <= 500
        assert stuck.next_position < 5011
        nodes[1].running.set()
        await until(lambda: nodes[1].position == 5011, "the slow node, once it goes on")


async def test_where_the_pusher_stands(tmp_path: Path, nodes: list[FakeNode]) -> None:
    async with running_pusher(tmp_path, nodes) as pusher, stub_of(pusher) as stub:
        await until(lambda: sum(node.in_step for node in pusher.fan_out.core.nodes.values()) == 2, "nodes in step")
        await push(stub, orders(0, 5), ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
        await until(lambda: len(pusher.fan_out.names) == 2, "the nodes' names")
        await nodes[1].stop()
        await until(lambda: not pusher.fan_out.core.nodes[nodes[1].address].connected, "the loss of a node")
        await push(stub, orders(5, 2), ack_level=pusher_pb2.ACK_LEVEL_ONE_NODE)
        answer = await stub.GetPusher(pusher_pb2.GetPusherRequest())
    assert answer.cluster == CLUSTER
    assert list(answer.hosts) == [node.address for node in nodes]
    assert (answer.log_end.first_position, answer.log_end.position) == (1, 8)
    assert [(node.node, node.connected, node.lag_updates) for node in answer.nodes] == [
        ("one", True, 0),
        ("two", False, 2),
    ]
    assert answer.nodes[1].note


async def test_read_log_gives_what_was_pushed_and_follows(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 3000), batch=1000)
        read: list[treenode_pb2.LogRecord] = []
        async for response in stub.ReadLog(pusher_pb2.ReadLogRequest(first_position=2, last_position=2999)):
            read += response.records
        assert [record.position for record in read] == list(range(2, 3000))
        follower = stub.ReadLog(pusher_pb2.ReadLogRequest(first_position=3002))
        await push(stub, [order(9999)])
        latest = await follower.read()
        assert isinstance(latest, pusher_pb2.ReadLogResponse)
        assert types_pb2.Update.FromString(latest.records[0].update) == order(9999)
        follower.cancel()


@pytest.mark.parametrize(("first", "last"), [(0, 1), (1, 5), (6, 0), (3, 2)])
async def test_read_log_of_what_is_not_there(tmp_path: Path, first: int, last: int) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 3))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.ReadLog(pusher_pb2.ReadLogRequest(first_position=first, last_position=last)):
                pass
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE


async def test_read_log_gives_what_stands_before_a_damaged_record_and_then_names_it(tmp_path: Path) -> None:
    store = MemoryLog().claim_alone()
    async with running_pusher(tmp_path, store=store, tail_mib=0) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 10))
        await push(stub, orders(10, 1))
        store.frames[6] = store.frames[6][:-1] + b"\x00"
        read: list[int] = []
        with pytest.raises(grpc.aio.AioRpcError, match="position 6 is damaged") as caught:
            async for response in stub.ReadLog(pusher_pb2.ReadLogRequest(first_position=2, last_position=11)):
                read += [record.position for record in response.records]
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        assert read == [2, 3, 4, 5]


async def test_an_id_whose_record_is_damaged_is_refused_and_only_that_push(tmp_path: Path) -> None:
    store = MemoryLog().claim_alone()
    async with running_pusher(tmp_path, store=store) as pusher, stub_of(pusher) as stub:
        await push(stub, orders(0, 3))
        store.frames[3] = store.frames[3][:-1] + b"\x00"
        results = await asyncio.gather(*(push(stub, [order(number)]) for number in (1, 2, 50, 51)))
        codes = [receipts[0].code for receipts in results]
        assert codes == [code_pb2.DATA_LOSS, code_pb2.OK, code_pb2.OK, code_pb2.OK]
        assert "position 3" in results[0][0].message
        assert store.ends().last == 6


async def test_stopping_gives_the_receipts_that_are_owed_and_ends_the_stream(tmp_path: Path) -> None:
    begun = asyncio.Event()
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:

        async def requests() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
            yield pusher_pb2.PushUpdatesRequest(updates=orders(0, 10))
            await begun.wait()

        receipts = 0
        with pytest.raises(grpc.aio.AioRpcError, match="stopping") as caught:
            async for response in stub.PushUpdates(requests()):
                receipts += len(response.receipts)
                pusher.draining.set()
        assert receipts == 10
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
