"""SkipUpdate over real gRPC: what is taken becomes a record of the log, and every hello has it."""

from __future__ import annotations

from pathlib import Path

import grpc
import grpc.aio
import pytest

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.memory import MemoryLog
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import code_of, push, running_pusher, stub_of
from tests.pusher.updates import orders
from tests.waiting import until


def damaged_at(position: int) -> MemoryLog:
    """A log of six orders, one of whose records can't be read."""
    store = MemoryLog().claim_alone()
    updates = orders(0, 6)
    store.append([update.update_id for update in updates], [update.SerializeToString() for update in updates])
    frame = bytearray(store.frames[position])
    frame[-1] ^= 0xFF
    store.frames[position] = bytes(frame)
    return store


def skip_of(position: int, reason: str = "ticket 88") -> pusher_pb2.SkipUpdateRequest:
    return pusher_pb2.SkipUpdateRequest(position=position, reason=reason)


async def test_a_damaged_record_is_skipped_for_good(tmp_path: Path) -> None:
    store, update_id = damaged_at(3), orders(0, 6)[2].update_id
    node = FakeNode("n1")
    await node.start()
    try:
        async with running_pusher(tmp_path, [node], store) as pusher, stub_of(pusher) as stub:
            await until(lambda: node.hellos, "the first hello")
            assert not node.hellos[0].skips
            answer = await stub.SkipUpdate(skip_of(3))
            assert (answer.position, answer.skipped_update_id) == (8, update_id)
            skipped = types_pb2.UpdateSkipped(position=3, reason="ticket 88", skipped_update_id=update_id)
            await until(lambda: len(node.hellos) > 1, "a hello that has the decision")
            assert list(node.hellos[-1].skips) == [skipped]
            record = store.named("fasttree/skip/")
            assert [position for position, _ in record] == [8]
            assert types_pb2.Update.FromString(record[0][1]).update_skipped == skipped
            with pytest.raises(grpc.aio.AioRpcError) as again:
                await stub.SkipUpdate(skip_of(3, "another reason"))
            assert code_of(again.value) is grpc.StatusCode.ALREADY_EXISTS
        # Another process reads it from the log.
        node.hellos.clear()
        async with running_pusher(tmp_path, [node], store):
            await until(lambda: node.hellos, "the hello of the next pusher")
            assert list(node.hellos[0].skips) == [skipped]
    finally:
        await node.stop()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (skip_of(2), grpc.StatusCode.FAILED_PRECONDITION),
        (skip_of(99), grpc.StatusCode.NOT_FOUND),
        (skip_of(3, ""), grpc.StatusCode.INVALID_ARGUMENT),
        (skip_of(3, "two\nlines"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_is_refused_changes_nothing(
    tmp_path: Path, request_: pusher_pb2.SkipUpdateRequest, code: grpc.StatusCode
) -> None:
    store = damaged_at(3)
    async with running_pusher(tmp_path, (), store) as pusher, stub_of(pusher) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.SkipUpdate(request_)
        assert code_of(refused.value) is code
    assert store.ends().last == 7, "six orders, and the rules that the log begins with"


async def test_a_client_can_push_no_decision_and_no_id_of_the_pusher_s(tmp_path: Path) -> None:
    skipped = types_pb2.UpdateSkipped(position=1, reason="x", skipped_update_id="y")
    order = orders(0, 1)[0]
    order.update_id = "fasttree/skip/1"
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        receipts = await push(stub, [types_pb2.Update(update_id="mine", update_skipped=skipped), order])
    assert [(receipt.code, receipt.position) for receipt in receipts] == [(3, 0), (3, 0)]
    assert "fasttree log skip" in receipts[0].message
    assert "fasttree/" in receipts[1].message
