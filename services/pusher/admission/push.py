"""PushUpdates: batches in, receipts out in the same order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from google.rpc import code_pb2

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.admission.ack_desk import AckDesk
from services.pusher.admission.acks import AckRange, KnownOutcome
from services.pusher.log.store import Appended, LogDamagedError, StoreFullError
from services.pusher.log.writer import LogWriter
from services.shared.serving.errors import InvalidArgumentError, UnavailableError
from services.shared.wire.record import UPDATE_BYTES_MAX, content_bytes, update_problem

UPDATES_MAX = 1000

_RANGES = {pusher_pb2.ACK_LEVEL_ONE_NODE: AckRange.ONE_NODE, pusher_pb2.ACK_LEVEL_ALL_NODES: AckRange.ALL_NODES}
_OUTCOMES = {
    KnownOutcome.UNKNOWN: types_pb2.OUTCOME_UNSPECIFIED,
    KnownOutcome.APPLIED: types_pb2.OUTCOME_APPLIED,
    KnownOutcome.HELD: types_pb2.OUTCOME_HELD,
    KnownOutcome.REJECTED: types_pb2.OUTCOME_REJECTED,
}


#: An update that is longer than this takes the room of several, so that room bounds memory too.
_ROOM_BYTES = 512


class Room:
    """How many updates may be under way at once; who asks for more waits."""

    def __init__(self, updates_max: int) -> None:
        self._updates_max = updates_max
        self._updates = 0
        self._freed = asyncio.Event()

    async def take(self, updates: int) -> None:
        """Waits until there is room. A batch larger than all the room there is goes alone."""
        while self._updates and self._updates + updates > self._updates_max:
            self._freed.clear()
            await self._freed.wait()
        self._updates += updates

    def give(self, updates: int) -> None:
        """Gives room back."""
        self._updates -= updates
        self._freed.set()


@dataclass(slots=True)
class PushCounts:
    """What became of pushed updates since the start."""

    taken: int = 0
    duplicates: int = 0
    malformed: int = 0
    conflicts: int = 0
    refused: int = 0
    unconfirmed: int = 0


@dataclass(slots=True)
class _Batch:
    """One message under way."""

    updates: Sequence[types_pb2.Update]
    ack_range: AckRange | None
    #: Ids and contents of the well-formed ones.
    update_ids: list[str]
    contents: list[bytes]
    #: Index → what is wrong, of the others.
    problems: dict[int, str]
    #: What it takes of a `Room`.
    size: int
    appended: asyncio.Future[Appended] | None = None


#: None is the stream's end.
_Item: TypeAlias = _Batch | InvalidArgumentError | None


class _Batches:
    """What the reading side of a stream hands to the answering side, in order."""

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._filled = asyncio.Event()

    def put(self, item: _Item) -> None:
        """Adds one; `stream_updates_max` bounds what is here."""
        self._items.append(item)
        self._filled.set()

    async def get(self) -> _Item:
        """Takes the next one; waits for it."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()

    def get_if(self, wanted: Callable[[_Batch], bool]) -> _Batch | None:
        """Takes the next one if it is here already, and wanted."""
        item = self._items[0] if self._items else None
        if not isinstance(item, _Batch) or not wanted(item):
            return None
        self._items.popleft()
        return item


@dataclass(slots=True)
class _Failure:
    """Why a whole batch was not stored."""

    code: int
    message: str


def _prepare(request: pusher_pb2.PushUpdatesRequest) -> _Batch:
    """Checks every update of a message. This and `_receipts` are the pusher's hottest code: microseconds an update."""
    updates = request.updates
    if len(updates) > UPDATES_MAX:
        raise InvalidArgumentError(
            f"{len(updates)} updates came in one message: send {UPDATES_MAX} at most", field="updates"
        )
    update_ids: list[str] = []
    contents: list[bytes] = []
    problems: dict[int, str] = {}
    for index, update in enumerate(updates):
        problem = update_problem(update)
        if problem is None:
            content = content_bytes(update)
            if len(content) <= UPDATE_BYTES_MAX:
                update_ids.append(update.update_id)
                contents.append(content)
                continue
            problem = f"the update has {len(content)} bytes, {UPDATE_BYTES_MAX} fit"
        problems[index] = problem
    size = max(1, len(updates), sum(map(len, contents)) // _ROOM_BYTES)
    return _Batch(updates, _RANGES.get(request.ack_level), update_ids, contents, problems, size)


@dataclass(slots=True)
class Pushing:
    """What every stream needs."""

    writer: LogWriter
    desk: AckDesk
    stream_updates_max: int
    room: Room
    ack_timeout_s: float
    #: Set when the pusher is about to end.
    draining: asyncio.Event
    counts: PushCounts = field(default_factory=PushCounts)
    #: Why the last push found no room in the log; empty where it did.
    full: str = ""

    async def stream(
        self, requests: AsyncIterator[pusher_pb2.PushUpdatesRequest], deadline_s: float | None
    ) -> AsyncIterator[pusher_pb2.PushUpdatesResponse]:
        """Receipts of one stream. `deadline_s`: what is left of the call's time, None without a limit.

        Raises:
            InvalidArgumentError: A message has too many updates. Those before it have their receipts.
            UnavailableError: The pusher ends. What has a receipt is durable.
        """
        batches = _Batches()
        own_room = Room(self.stream_updates_max)
        reader = asyncio.create_task(self._read(requests, batches, own_room))
        drained = asyncio.create_task(self._drain(batches, reader))
        try:
            while (batch := await batches.get()) is not None:
                if isinstance(batch, InvalidArgumentError):
                    raise batch
                response = await self._answer(batch, deadline_s)
                own_room.give(batch.size)
                while (following := batches.get_if(partial(self._goes_with, len(response.receipts)))) is not None:
                    # Confirmed by the same word of the nodes: one message carries the receipts of all of them.
                    response.receipts.extend((await self._answer(following, deadline_s)).receipts)
                    own_room.give(following.size)
                yield response
            if self.draining.is_set():
                raise UnavailableError("the pusher is stopping; push what has no receipt again, under the same ids")
            await reader
        finally:
            for task in (reader, drained):
                task.cancel()
            await asyncio.gather(reader, drained, return_exceptions=True)

    async def _drain(self, batches: _Batches, reader: asyncio.Task[None]) -> None:
        """Takes no more once the pusher is about to end; what came before gets its receipts."""
        await self.draining.wait()
        reader.cancel()
        batches.put(None)

    async def _read(
        self,
        requests: AsyncIterator[pusher_pb2.PushUpdatesRequest],
        batches: _Batches,
        own_room: Room,
    ) -> None:
        try:
            async for request in requests:
                batch = _prepare(request)
                await own_room.take(batch.size)
                if batch.update_ids:
                    await self.room.take(batch.size)
                    batch.appended = self.writer.append(batch.update_ids, batch.contents)
                    batch.appended.add_done_callback(partial(self._stored, batch.size))
                batches.put(batch)
        except InvalidArgumentError as error:
            batches.put(error)
            return
        except Exception:
            batches.put(None)
            raise
        batches.put(None)

    def _stored(self, size: int, appended: asyncio.Future[Appended]) -> None:
        self.room.give(size)
        if not appended.cancelled():
            # Looked at here in any case: the client may have gone meanwhile.
            error = appended.exception()
            self.full = str(error) if isinstance(error, StoreFullError) else ""

    # -- receipts

    def _goes_with(self, receipts: int, batch: _Batch) -> bool:
        """Whether the batch can be answered at once, in the message of the `receipts` before it."""
        if receipts + len(batch.updates) > UPDATES_MAX or batch.appended is None or not batch.appended.done():
            return False
        if batch.ack_range is None or batch.appended.cancelled() or batch.appended.exception() is not None:
            return True
        return self.desk.reached(max(batch.appended.result().positions, default=0), batch.ack_range)

    async def _answer(self, batch: _Batch, deadline_s: float | None) -> pusher_pb2.PushUpdatesResponse:
        appended: Appended | _Failure = Appended(None, ())
        if batch.appended is not None:
            try:
                appended = await batch.appended
            except StoreFullError as error:
                appended = _Failure(code_pb2.RESOURCE_EXHAUSTED, f"the log is full, push again later: {error}")
            except LogDamagedError as error:
                appended = _Failure(code_pb2.DATA_LOSS, str(error))
        if isinstance(appended, _Failure):
            self.counts.refused += len(batch.update_ids)
            return self._merge(batch, [self._failed(update_id, appended) for update_id in batch.update_ids])
        receipts = self._receipts(batch, appended)
        last_position = max(appended.positions, default=0)
        if batch.ack_range is not None and last_position:
            timeout_s = self.ack_timeout_s if deadline_s is None else min(self.ack_timeout_s, deadline_s)
            reached = await self.desk.wait(last_position, batch.ack_range, timeout_s)
            self._add_outcomes(receipts, reached)
        return self._merge(batch, receipts)

    def _receipts(self, batch: _Batch, appended: Appended) -> list[pusher_pb2.Receipt]:
        """Receipts of the well-formed updates."""
        make = pusher_pb2.Receipt
        receipts = [
            make(update_id=update_id, position=position)
            for update_id, position in zip(batch.update_ids, appended.positions, strict=True)
        ]
        for index in appended.duplicates:
            receipts[index].duplicate = True
        for index, position in appended.conflicts.items():
            receipts[index].code = code_pb2.ALREADY_EXISTS
            receipts[index].message = (
                f"update_id {batch.update_ids[index]} was taken at position {position} with other content; "
                "a new change needs an id of its own"
            )
        self.counts.duplicates += len(appended.duplicates)
        self.counts.conflicts += len(appended.conflicts)
        self.counts.taken += len(receipts) - len(appended.duplicates) - len(appended.conflicts)
        return receipts

    def _add_outcomes(self, receipts: list[pusher_pb2.Receipt], reached: bool) -> None:
        for receipt in receipts:
            if not receipt.position:
                continue
            receipt.outcome = _OUTCOMES[self.desk.outcome(receipt.position)]
            if not reached:
                receipt.code = code_pb2.UNAVAILABLE
                receipt.message = "durable, but not confirmed by the nodes asked for in time; it will reach them"
                self.counts.unconfirmed += 1

    def _failed(self, update_id: str, failure: _Failure) -> pusher_pb2.Receipt:
        return pusher_pb2.Receipt(update_id=update_id, code=failure.code, message=failure.message)

    def _merge(self, batch: _Batch, receipts: list[pusher_pb2.Receipt]) -> pusher_pb2.PushUpdatesResponse:
        """Receipts of all updates of the message, in its order."""
        if not batch.problems:
            return pusher_pb2.PushUpdatesResponse(receipts=receipts)
        self.counts.malformed += len(batch.problems)
        good = iter(receipts)
        merged = [
            pusher_pb2.Receipt(
                update_id=update.update_id, code=code_pb2.INVALID_ARGUMENT, message=batch.problems[index]
            )
            if index in batch.problems
            else next(good)
            for index, update in enumerate(batch.updates)
        ]
        return pusher_pb2.PushUpdatesResponse(receipts=merged)
