"""Which updates are traced, and what is told of them; over the real admission, log and fan-out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.pusher.app import Pusher
from services.shared.telemetry import own
from services.shared.telemetry.context import TraceContext, new_trace, of_bytes
from services.shared.telemetry.settings import TelemetrySettings
from services.shared.telemetry.spans import Span
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import running_pusher, stub_of
from tests.pusher.updates import order, orders
from tests.waiting import until


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    own.end()


def begin(folder: Path, **settings: float) -> None:
    """Nothing is sent within a test: the queue is what it looks at."""
    chosen = {"sample_ratio": 0.0, **settings}
    own.begin(TelemetrySettings(file=str(folder / "spans"), interval_s=3600, **chosen), "pusher", "test")  # type: ignore[arg-type]


def taken() -> list[Span]:
    tracer = own.own_tracer()
    assert tracer is not None
    return tracer.queue.take()


async def push(
    pusher: Pusher, request: pusher_pb2.PushUpdatesRequest, traceparent: str = ""
) -> list[pusher_pb2.Receipt]:
    async def requests() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
        yield request

    metadata = (("traceparent", traceparent),) if traceparent else None
    async with stub_of(pusher) as stub:
        return [
            receipt
            async for response in stub.PushUpdates(requests(), metadata=metadata)
            for receipt in response.receipts
        ]


def contexts(pusher: Pusher) -> dict[int, TraceContext]:
    """What stands beside the log's records, by position."""
    run = pusher.store.read(1, pusher.store.ends().last, 1 << 20)
    records = treenode_pb2.ApplyUpdatesRequest.FromString(run.data).records
    found = {record.position: of_bytes(record.trace) for record in records if record.trace}
    return {position: context for position, context in found.items() if context is not None}


async def test_an_update_with_a_context_goes_on_with_it(tmp_path: Path) -> None:
    begin(tmp_path)
    bad = types_pb2.Update(update_id="bad id with no change")
    asked, other = new_trace(), new_trace()
    node = await FakeNode().start()
    async with running_pusher(tmp_path, [node]) as pusher:
        await until(lambda: any(told.connected for told in pusher.fan_out.progress()), "the stream to the node")
        traces = [
            pusher_pb2.UpdateTrace(index=0, context=other.to_bytes()),  # of one that is malformed
            pusher_pb2.UpdateTrace(index=2, context=asked.to_bytes()),
            pusher_pb2.UpdateTrace(index=2, context=other.to_bytes()),
            pusher_pb2.UpdateTrace(index=1, context=b"none"),
            pusher_pb2.UpdateTrace(index=77, context=other.to_bytes()),
        ]
        request = pusher_pb2.PushUpdatesRequest(updates=[bad, order(1), order(2), order(3)], traces=traces)
        receipts = await push(pusher, request)
        assert [bool(receipt.code) for receipt in receipts] == [True, False, False, False]
        position = receipts[2].position
        await until(lambda: node.position == receipts[3].position, "the node to have them")
        await until(lambda: len(own.own_tracer().queue) == 2, "the spans")  # type: ignore[union-attr]
        append, send = taken()
        assert (append.name, append.parent_id, append.context.trace_id) == ("append log", asked.span_id, asked.trace_id)
        assert append.attributes["messaging.message.id"] == order(2).update_id
        assert append.attributes["fasttree.log.position"] == position
        assert (send.name, send.parent_id, list(send.links)) == ("send log", append.context.span_id, [append.context])
        assert contexts(pusher) == {position: append.context}
        # The same again is a repeat: what stands beside the record stays.
        (again,) = await push(pusher, pusher_pb2.PushUpdatesRequest(updates=[order(2)], traces=[
            pusher_pb2.UpdateTrace(index=0, context=other.to_bytes())
        ]))  # fmt: skip
        assert (again.position, again.duplicate) == (position, True)
        (repeated,) = taken()
        assert repeated.attributes["fasttree.log.duplicate"] is True
        assert contexts(pusher) == {position: append.context}
    await node.stop()


async def test_a_calls_traceparent_is_that_of_its_first_updates(tmp_path: Path) -> None:
    begin(tmp_path, call_updates_max=3)
    parent = new_trace()
    async with running_pusher(tmp_path) as pusher:
        await push(pusher, pusher_pb2.PushUpdatesRequest(updates=orders(0, 5)), parent.traceparent())
        names = [(span.name, span.context.trace_id) for span in taken()]
        assert sorted(names) == sorted(
            [("append log", parent.trace_id)] * 3 + [("fasttree.v1.PusherService/PushUpdates", parent.trace_id)]
        )
        await push(pusher, pusher_pb2.PushUpdatesRequest(updates=orders(5, 5)), parent.traceparent()[:-2] + "00")
        assert taken() == []


async def test_a_share_of_all_others_and_no_more_than_the_bound(tmp_path: Path) -> None:
    begin(tmp_path, sample_ratio=1.0, traces_per_s_max=7)
    async with running_pusher(tmp_path) as pusher:
        await push(pusher, pusher_pb2.PushUpdatesRequest(updates=orders(0, 50)))
        spans = [span for span in taken() if span.name == "append log"]
        assert 7 <= len(spans) < 30
        assert len({span.context.trace_id for span in spans}) == len(spans)
        assert set(contexts(pusher).values()) == {span.context for span in spans}


async def test_what_is_not_stored_is_told_as_an_error(tmp_path: Path) -> None:
    begin(tmp_path, sample_ratio=1.0)
    async with running_pusher(tmp_path) as pusher:
        await push(pusher, pusher_pb2.PushUpdatesRequest(updates=[order(1)]))
        await push(pusher, pusher_pb2.PushUpdatesRequest(updates=[order(1, 5)]))
        spans = [span for span in taken() if span.name == "append log"]
        assert [span.error for span in spans] == ["", "conflict"]


async def test_off_nothing_stands_beside_a_record(tmp_path: Path) -> None:
    async with running_pusher(tmp_path) as pusher:
        parent = new_trace()
        traces = [pusher_pb2.UpdateTrace(index=0, context=parent.to_bytes())]
        await push(pusher, pusher_pb2.PushUpdatesRequest(updates=[order(1)], traces=traces), parent.traceparent())
        assert contexts(pusher) == {}
