"""The pusher's log and its receipts in the simulator: group commit, ids for good, the real acknowledgement core.

As in `services/pusher/admission/push.py`: what comes while a commit runs goes into the next one; receipts leave in the
order of the batches, once the log is on disk and, if the client wants, nodes have confirmed it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.pusher.admission.acks import (
    AckEvent,
    AckRange,
    Acks,
    NodeConfirmed,
    NodeHealth,
    WaitBegun,
    WaitGivenUp,
    WaitOver,
)
from services.shared.cores import Tick
from tests.simulator.checkers import Violation
from tests.simulator.messages import (
    ALL_NODES,
    ALREADY_EXISTS,
    DURABLE,
    OK,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    PushRequest,
    Receipt,
)
from tests.simulator.network import End
from tests.simulator.toy_tree import Update

if TYPE_CHECKING:
    from tests.simulator.pusher_process import PusherProcess

ACK_TIMEOUT_S = 3.0

#: The receipts of a batch; None while it waits.
Slot = list[tuple[Receipt, ...] | None]


class PushStream:
    """One client's stream: receipts leave in the order of the batches."""

    def __init__(self, end: End) -> None:
        self.end = end
        #: Receipts of each batch, oldest first; None while the batch waits.
        self.batches: deque[Slot] = deque()
        self.tickets: set[int] = set()

    def flush(self) -> None:
        """Sends what is ready, in order."""
        while self.batches and self.batches[0][0] is not None:
            self.end.send(self.batches.popleft()[0])


class PushDesk:
    """The log, and everybody who waits for a receipt. What stands under `durable` survives a crash."""

    acks: Acks

    def __init__(self, pusher: PusherProcess) -> None:
        self.pusher = pusher
        #: Durable: the update at each position, from 1.
        self.log: list[Update] = []
        #: Durable: the oldest position that is kept; what came before is only remembered for the checkers.
        self.first = 1
        #: Position of a record whose bytes on disk are wrong; 0: none.
        self.damaged = 0
        #: Durable: the position of each id.
        self.ids: dict[str, int] = {}
        #: What a crash takes back: only a planted bug writes without a sync.
        self.unsynced: list[Callable[[], None]] = []
        self._queue: list[tuple[PushStream, PushRequest, Slot]] = []
        self._committing = False
        self._tickets = 0
        self._waits: dict[int, tuple[PushStream, Slot, tuple[Receipt, ...], AckRange]] = {}
        #: For the checker: the last word of each node on its present stream, and who had everything since it began.
        self._confirmed: dict[str, int] = {}
        self._in_step: set[str] = set()

    def start(self) -> None:
        """A new life of the pusher."""
        self.acks = Acks(position=len(self.log))
        self._queue.clear()
        self._waits.clear()
        self._confirmed.clear()
        self._in_step.clear()
        self._committing = False

    def crash(self) -> None:
        """What was never synced is gone."""
        for undo in reversed(self.unsynced):
            undo()
        self.unsynced.clear()

    def restore(self, last: int) -> None:
        """The log as an older backup has it, up to `last`. While the process is down."""
        for update in self.log[last:]:
            del self.ids[update.update_id]
        del self.log[last:]

    def tick(self) -> None:
        """Ends waits whose time is over."""
        self._waits_over(self.acks.handle(Tick(), self.pusher.clock.now()))
        self.acks.validate()

    def accept(self, end: End) -> None:
        """A client's stream."""
        stream = PushStream(end)
        end.on_message = lambda request: self._pushed(stream, request)
        end.on_end = lambda _: self._client_gone(stream)

    def confirmed(self, name: str, position: int) -> None:
        """A node has everything up to there."""
        self._ack(NodeConfirmed(name, position))

    def node_changed(self, name: str, *, healthy: bool, position: int) -> None:
        """A node is in step, or no longer."""
        self._ack(NodeHealth(name, healthy, position))

    def _pushed(self, stream: PushStream, request: PushRequest) -> None:
        slot: Slot = [None]
        stream.batches.append(slot)
        self._queue.append((stream, request, slot))
        self._commit()

    def _commit(self) -> None:
        """Group commit: everything that came while the last one ran goes into the next one."""
        if self._committing or not self._queue:
            return
        self._committing = True
        group, self._queue = self._queue, []
        fresh: list[Update] = []
        ids: dict[str, int] = {}
        receipts = [self._place(request, fresh, ids) for _, request, _ in group]

        def change() -> None:
            self.log.extend(fresh)
            self.ids.update(ids)

        self.sync(change, lambda ok: self._committed(ok, group, receipts, ids))

    def sync(self, change: Callable[[], None], done: Callable[[bool], None]) -> None:
        """Makes the change durable, then goes on."""
        self.pusher.disk.commit(change, done)

    def _place(self, request: PushRequest, fresh: list[Update], ids: dict[str, int]) -> tuple[Receipt, ...]:
        receipts = []
        for update in request.updates:
            position = self.position_of(update.update_id) or ids.get(update.update_id)
            if position is None:
                fresh.append(update)
                position = len(self.log) + len(fresh)
                ids[update.update_id] = position
                receipts.append(Receipt(update.update_id, position, OK))
                continue
            known = self.log[position - 1] if position <= len(self.log) else fresh[position - 1 - len(self.log)]
            code = OK if known == update else ALREADY_EXISTS
            receipts.append(Receipt(update.update_id, position if code == OK else 0, code))
        return tuple(receipts)

    def spread(self) -> None:
        """Tells the fan-out how far the log goes."""
        self.pusher.appended(len(self.log))

    def position_of(self, update_id: str) -> int | None:
        """Where the update with that id is in the log; None if nowhere."""
        return self.ids.get(update_id)

    def _committed(
        self,
        ok: bool,
        group: list[tuple[PushStream, PushRequest, Slot]],
        receipts: list[tuple[Receipt, ...]],
        ids: dict[str, int],
    ) -> None:
        self._committing = False
        for (stream, request, slot), words in zip(group, receipts, strict=True):
            if not ok:
                words = tuple(
                    Receipt(word.update_id, 0, RESOURCE_EXHAUSTED) if word.update_id in ids else word for word in words
                )
            self._receipt(stream, request, slot, words)
        if ok and ids:
            self.spread()
        self._commit()

    def _receipt(self, stream: PushStream, request: PushRequest, slot: Slot, words: tuple[Receipt, ...]) -> None:
        last = max((word.position for word in words), default=0)
        if request.level == DURABLE or not last or not stream.end.open:
            slot[0] = words
            stream.flush()
            return
        self._tickets += 1
        level = AckRange.ALL_NODES if request.level == ALL_NODES else AckRange.ONE_NODE
        self._waits[self._tickets] = (stream, slot, words, level)
        stream.tickets.add(self._tickets)
        self._ack(WaitBegun(self._tickets, last, level, self.pusher.clock.now() + ACK_TIMEOUT_S))

    def _ack(self, event: AckEvent) -> None:
        over = self.acks.handle(event, self.pusher.clock.now())
        self._waits_over(over)
        self.acks.validate()

    def _waits_over(self, over: list[WaitOver]) -> None:
        for word in over:
            stream, slot, words, level = self._waits.pop(word.ticket)
            stream.tickets.discard(word.ticket)
            if word.reached:
                self._check_reached(max(each.position for each in words), level)
                slot[0] = words
            else:
                slot[0] = tuple(each._replace(code=UNAVAILABLE) if each.code == OK else each for each in words)
            stream.flush()

    def _check_reached(self, position: int, level: AckRange) -> None:
        """A node has it; where all healthy nodes were asked for, each that was in step on its present stream has it."""
        if self.pusher.history.applied_position < position:
            raise Violation(f"acknowledged: {position} as on a node, but no node has applied it")
        if level is AckRange.ALL_NODES:
            positions = {name: self._confirmed.get(name, 0) for name in self._in_step}
            # One without anything is no longer in step once an import is in force: it waits for that.
            imported = self.pusher.rollout.in_force > 0
            healthy = {name: position for name, position in positions.items() if position or not imported}
            if not healthy or min(healthy.values()) < position:
                raise Violation(f"acknowledged: {position} as on all healthy nodes; those are at {healthy}")

    def heard(self, name: str, position: int) -> None:
        """Keeps for the checker what the node said, and whether it was in step on this stream."""
        self._confirmed[name] = position
        if position >= self.pusher.replication.position:
            self._in_step.add(name)

    def lost_stream(self, name: str) -> None:
        """Forgets, for the checker, what was said on a stream that is over."""
        self._confirmed.pop(name, None)
        self._in_step.discard(name)

    def _client_gone(self, stream: PushStream) -> None:
        for ticket in sorted(stream.tickets):
            del self._waits[ticket]
            self._ack(WaitGivenUp(ticket))
        stream.tickets.clear()

    def read_log(self, end: End, first: int, last: int) -> None:
        """Sends records in order, then ends the stream; before a damaged record, if there is one among them."""
        if not self.first <= first <= last <= len(self.log):
            end.close("OUT_OF_RANGE")
            return
        is_whole = not first <= self.damaged <= last
        stop = last + 1 if is_whole else self.damaged
        records = [(position, self.log[position - 1]) for position in range(first, stop)]
        for start in range(0, len(records), 20):
            end.send(tuple(records[start : start + 20]))
        end.close("done" if is_whole else "DATA_LOSS")
