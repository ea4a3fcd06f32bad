"""Pushing updates: batches, a window of unacknowledged ones, and the way back after a broken stream.

What is sent but not acknowledged is kept. When the stream breaks, it is sent again under the same update ids, in the
same order, before anything new: the pusher takes an id once, so a re-sent update gets the position that it had, and
nothing is lost or counted twice. Receipts come out in the order in which the updates went in.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import islice

import grpc

from fasttree.client.calls.retries import Retries, Waits, heed_cancellation, patience_s
from fasttree.client.calls.servers import Servers
from fasttree.client.calls.streams import broken
from fasttree.client.counts import counted
from fasttree.client.errors import CallError, call_error
from fasttree.client.tracing import UpdateSpans
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, types_pb2

#: The API's limit.
MESSAGE_UPDATES_MAX = 1_000
_PATIENCE_S = 30.0
#: Of several pushers, where one has owed receipts for so long, the others are asked who is active; again after that,
#: each time; and what such a question has to be answered in. In seconds.
_ASK_OTHERS_AFTER_S, _ASK_OTHERS_EVERY_S, _ASK_S = 0.5, 0.25, 0.5

Updates = Iterable[types_pb2.Update] | AsyncIterable[types_pb2.Update]


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """How updates travel."""

    #: What a receipt means: on disk (default), on one node, on every healthy node.
    ack_level: pusher_pb2.AckLevel.ValueType = pusher_pb2.ACK_LEVEL_DURABLE
    #: Most updates in one message; MESSAGE_UPDATES_MAX at most.
    batch_updates_max: int = 500
    #: Most updates without a receipt.
    window_updates: int = 5_000
    #: Gives up when no receipt has come, or the pusher could not be reached, for so long. None: as `Retries` say, or
    #: 30.
    patience_s: float | None = None
    #: Messages leave at most so often, unless one is full; what comes meanwhile goes together. The first one after a
    #: pause leaves at once.
    message_interval_s: float = 0.002


class _Source:
    """Turns what the caller gives into batches: whatever is there, up to a limit, without waiting for a full one."""

    def __init__(self, updates: Updates, batch_updates_max: int, spans: UpdateSpans) -> None:
        self._updates = updates
        self._spans = spans
        self._limit = batch_updates_max
        self._ready: deque[types_pb2.Update] = deque()
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._ended = False
        self.error: BaseException | None = None

    async def pump(self) -> None:
        """Runs beside the stream, so that a broken stream never takes an update with it."""
        try:
            if isinstance(self._updates, AsyncIterable):
                async for update in self._updates:
                    await self._put([update])
            else:
                iterator = iter(self._updates)
                while batch := list(islice(iterator, self._limit)):
                    await self._put(batch)
        except Exception as error:  # the caller's iterator failed: its error is raised after the last receipt
            self.error = error
        finally:
            self._ended = True
            self._changed.set()

    async def _put(self, updates: list[types_pb2.Update]) -> None:
        self._spans.begin(updates)
        self._ready.extend(updates)
        self._changed.set()
        while len(self._ready) >= 2 * self._limit:
            self._drained.clear()
            await self._drained.wait()

    @property
    def full(self) -> bool:
        """Whether waiting longer brings nothing more into the next batch."""
        return self._ended or len(self._ready) >= self._limit

    async def wait(self) -> None:
        """Until there is something, or the end."""
        while not self._ready and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    async def batch(self, updates_max: int) -> list[types_pb2.Update]:
        """The next updates; empty at the end. Nothing is taken while it waits, so it may be cancelled."""
        await self.wait()
        self._drained.set()
        return [self._ready.popleft() for _ in range(min(updates_max, self._limit, len(self._ready)))]


class Push:
    """One push: `receipts()` yields a Receipt for each update."""

    def __init__(
        self,
        pushers: Servers[pusher_pb2_grpc.PusherServiceAsyncStub],
        updates: Updates,
        options: PushOptions,
        retries: Retries,
    ) -> None:
        self._pushers = pushers
        self._options = options
        self._patience_s = patience_s(options.patience_s, retries, _PATIENCE_S)
        self._batch_updates_max = min(options.batch_updates_max, MESSAGE_UPDATES_MAX)
        self._spans = UpdateSpans()
        self._source = _Source(updates, self._batch_updates_max, self._spans)
        self._waits = Waits(retries)
        #: Sent or about to be, without a receipt; in order.
        self._unacknowledged: deque[types_pb2.Update] = deque()
        self._acknowledged = asyncio.Event()
        #: When the last receipt came, or the first update after a pause went out.
        self._progress_at = time.monotonic()
        self._gave_up = False
        #: Another pusher is active than the one of the present stream, which says nothing any more.
        self._moved = False
        #: The end was said on the present stream.
        self._all_sent = False
        #: Set once the present stream has brought something.
        self._heard = asyncio.Event()
        #: Since when no stream has brought anything; None while one does.
        self._failing_since: float | None = None

    async def receipts(self) -> AsyncIterator[pusher_pb2.Receipt]:
        """Receipts in the order of the updates. Raises a CallError when the pusher stays silent for `patience_s`."""
        pump = asyncio.create_task(self._source.pump())
        try:
            while True:
                try:
                    async for receipt in self._one_stream():
                        yield receipt
                    break
                except grpc.aio.AioRpcError as error:
                    await self._wait_or_raise(error)
            if self._source.error is not None:
                raise self._source.error
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            self._spans.close()

    async def _wait_or_raise(self, error: grpc.aio.AioRpcError) -> None:
        heed_cancellation()
        if self._moved:
            return
        retryable = self._pushers.may_retry(error) or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        # Of a pusher that owes nothing, too: one that can't be reached is given up after the same time.
        left_s = self._patience_s - max(self._silent_s(), now - self._failing_since)
        if not retryable or left_s <= 0:
            failure: CallError = call_error(error, "PushUpdates", self._pushers.address)
            failure.message += (
                f" ({counted(len(self._unacknowledged), 'update')} without a receipt: push again, same ids)"
            )
            failure.args = (failure.message,)
            raise failure from error
        if not self._pushers.missed(error):
            await asyncio.sleep(min(self._waits.next_s(), self._pushers.wait_s_max, left_s))

    async def _one_stream(self) -> AsyncIterator[pusher_pb2.Receipt]:
        call = self._pushers.stub.PushUpdates()
        self._gave_up = self._moved = self._all_sent = False
        self._heard.clear()
        sender, watcher = asyncio.create_task(self._send(call)), asyncio.create_task(self._watch(call))
        try:
            while isinstance(response := await self._read(call), pusher_pb2.PushUpdatesResponse):
                self._progress_at = time.monotonic()
                self._failing_since = None
                self._waits.reset()
                self._pushers.answered()
                self._heard.set()
                for receipt in response.receipts:
                    self._check_next(receipt)
                    self._unacknowledged.popleft()
                    self._acknowledged.set()
                    self._spans.end(receipt)
                    yield receipt
            await asyncio.wait({sender}, timeout=1.0)
            if self._unacknowledged or not sender.done():
                raise broken("the pusher ended the stream before the last receipt")
        finally:
            for task in (sender, watcher):
                task.cancel()
            await asyncio.gather(sender, watcher, return_exceptions=True)
            call.cancel()

    async def _read(self, call: _Call) -> object:
        """The next message; something else at the end."""
        try:
            return await call.read()
        except (asyncio.CancelledError, grpc.aio.AioRpcError):
            # The watcher's cancel of the call shows here as our own.
            if self._gave_up or self._moved:
                raise broken(
                    f"no receipt for {self._silent_s():.3g} s: `fasttree status` says what it waits for"
                ) from None
            raise

    async def _watch(self, call: _Call) -> None:
        """A pusher that owes receipts, or the stream's end, and stays silent too long counts as gone."""
        several = self._pushers.are_several
        look_s = min(_ASK_OTHERS_EVERY_S, self._patience_s / 4) if several else self._patience_s / 4
        silent_s = 0.0
        while silent_s <= self._patience_s:
            await asyncio.sleep(look_s)
            silent_s = self._silent_s()
            if several and silent_s >= _ASK_OTHERS_AFTER_S and await self._is_elsewhere():
                self._moved = True
                call.cancel()
                return
        self._gave_up = True
        call.cancel()

    async def _is_elsewhere(self) -> bool:
        """Whether another pusher is the active one by now: the next stream goes there."""

        async def ask(stub: pusher_pb2_grpc.PusherServiceAsyncStub) -> None:
            await stub.GetPusher(pusher_pb2.GetPusherRequest(), timeout=_ASK_S)

        active = await self._pushers.active_elsewhere(ask)
        self._pushers.aim(active)
        return bool(active)

    def _silent_s(self) -> float:
        """How long the pusher has owed a receipt, or the end. Waiting for the caller's updates is not its silence."""
        return time.monotonic() - self._progress_at if self._unacknowledged or self._all_sent else 0.0

    def _check_next(self, receipt: pusher_pb2.Receipt) -> None:
        expected = self._unacknowledged[0].update_id if self._unacknowledged else "none"
        if receipt.update_id != expected:
            raise CallError(
                f"the pusher at {self._pushers.address} answered {receipt.update_id!r} where {expected!r} was next: "
                "its version may not fit; push again with the same ids"
            )

    async def _send(self, call: _Call) -> None:
        try:
            again = list(self._unacknowledged)
            for first in range(0, len(again), self._batch_updates_max):
                await self._write(call, again[first : first + self._batch_updates_max])
                if self._pushers.are_several:
                    # No more until it has shown to be the active one. It would be sent in vain otherwise, and what a
                    # server says at a stream's end is lost where grpcio is about to write.
                    await self._heard.wait()
            due_s = 0.0
            while True:
                while (window_left := self._options.window_updates - len(self._unacknowledged)) <= 0:
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
                due_s = await self._pace(due_s)
                batch = await self._source.batch(window_left)
                if not batch:
                    if not self._unacknowledged:
                        self._progress_at = time.monotonic()
                    self._all_sent = True
                    await call.done_writing()
                    return
                if not self._unacknowledged:
                    self._progress_at = time.monotonic()
                self._unacknowledged.extend(batch)
                await self._write(call, batch)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            return  # the stream is over; the reader sees why

    async def _pace(self, due_s: float) -> float:
        """Waits for something to send, and until `due_s` for more of it; returns when the next message is due."""
        await self._source.wait()
        wait_s = due_s - time.monotonic()
        if wait_s > 0 and not self._source.full:
            await asyncio.sleep(wait_s)
        return time.monotonic() + self._options.message_interval_s

    async def _write(self, call: _Call, batch: list[types_pb2.Update]) -> None:
        level, traces = self._options.ack_level, self._spans.contexts(batch)
        await call.write(pusher_pb2.PushUpdatesRequest(updates=batch, ack_level=level, traces=traces))


_Call = grpc.aio.StreamStreamCall[pusher_pb2.PushUpdatesRequest, pusher_pb2.PushUpdatesResponse]
