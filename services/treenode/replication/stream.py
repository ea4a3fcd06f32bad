"""One stream of the pusher, from its hello to its end, without any I/O.

The rules:

1. One stream at a time: a newer one ends the older, once the message at hand is answered.
2. The hello is answered with where the node stands; also where the node refuses the pusher, which must know which node
   has what its log lost, and keep it out once its log has grown past that with other updates.
3. Messages that came meanwhile are taken together, and get one answer, as long as the records of one follow those of
   the one before, up to `TOGETHER_RECORDS_MAX`. Others are judged by themselves: after a new word on where the node
   stands, records come again. Of their log ends the newest counts: each covers those before it.
4. Records are applied in slices, each in a turn of its own in the gate. Before each it is asked anew what the node may
   take: the tree may have been replaced, the node may have gone over to another log, or updates may be paused.
5. From a damaged record on, nothing is applied, and the stream ends; of records that don't follow, nothing at all.
6. An answer says how far the node is; and where it stands, if that has changed otherwise than by these records since
   the pusher was last told (`NodeCore.statuses_wanted`). That is told at once: the pusher goes on from there, and must
   not wait for its own next message.
7. Where the engine fails in a slice, the node halts before that update (sequence.py, rule 7): what follows in the batch
   is dropped, and the pusher is told where the node stands.
8. The newest record of a batch is noted with the tree, unless it came again: what the node has there may be another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from services.treenode.node.node import AskAgain, NodeAction, NodeCore, NodeEvent
from services.treenode.node.sequence import PositionGapError
from services.treenode.node.sequence_events import (
    ApplyRecords,
    Halt,
    LogEnd,
    LogEndHeard,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    RefusePusher,
    StateLost,
    UpdateFailed,
)

#: Records that are taken together; a message may have more.
TOGETHER_RECORDS_MAX = 1_000


class Problem(Enum):
    """Why the node ends a stream; the values are what the error names as its reason."""

    REFUSED = "PUSHER_REFUSED"
    #: By a newer stream, or by the node's end.
    ABORTED = "ABORTED"
    GAP = "POSITION_GAP"
    DAMAGED = "RECORD_DAMAGED"


# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opened:
    """The pusher introduced itself; the first event."""

    hello: PusherHello


@dataclass(frozen=True, slots=True)
class Came:
    """A message: its records' first position and number, as they say of themselves, and the log's end if it has one."""

    first_position: int
    count: int
    log_end: LogEnd | None
    #: The message itself, for whoever reads its records.
    content: Any


@dataclass(frozen=True, slots=True)
class Free:
    """Nothing of the stream is being done: what is next?"""


@dataclass(frozen=True, slots=True)
class RecordsRead:
    """The positions of the good records, up to the first damaged one, and what is wrong with that."""

    positions: Sequence[int]
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """Alone in the gate, with time for so many updates."""

    updates_max: int


@dataclass(frozen=True, slots=True)
class SliceApplied:
    """The slice that was asked for is in the tree; still in the gate."""


@dataclass(frozen=True, slots=True)
class SliceFailed:
    """The engine failed in the slice that was asked for; still in the gate. The tree stands at `position`; None: there
    is no tree that can be trusted."""

    halt: Halt
    position: int | None


@dataclass(frozen=True, slots=True)
class EndAsked:
    """The stream is to end, for this reason."""

    reason: str


# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with how far the node is, and where it stands."""

    with_status: bool


@dataclass(frozen=True, slots=True)
class ReadRecords:
    """Check and decode the records of these messages, in order; answered by `RecordsRead`."""

    contents: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class AwaitTurn:
    """Wait until updates are applied, and for the writer's turn in the gate; then say `Turn`."""


@dataclass(frozen=True, slots=True)
class ApplySlice:
    """Apply the records [start, end) of those that were read, the first of them at that position; then say
    `SliceApplied`, or `SliceFailed`."""

    start: int
    end: int
    first_position: int


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """The record of that number, of those that were read, is the newest one in the tree."""

    index: int


@dataclass(frozen=True, slots=True)
class EndStream:
    """End the stream with this error."""

    problem: Problem
    reason: str


StreamEvent = Opened | Came | Free | RecordsRead | Turn | SliceApplied | SliceFailed | EndAsked
StreamAction = Answer | ReadRecords | AwaitTurn | ApplySlice | NoteRecord | EndStream


@dataclass(slots=True)
class _Batch:
    """Records that are being applied."""

    positions: Sequence[int]
    damage: str
    #: Where the node stood before.
    position_before: int
    #: How many are done with.
    done: int = 0
    #: Where the slice at hand ends.
    end: int = 0


class StreamCore:
    """One stream. Tells the node what comes of it, and looks where the node stands."""

    def __init__(self, node: NodeCore, tell: Callable[[NodeEvent], list[NodeAction]]) -> None:
        """`tell`: gives the node's core an event, and does what it asks for."""
        self._node = node
        self._tell = tell
        self._log_id = ""
        self._inbox: deque[Came] = deque()
        self._batch: _Batch | None = None
        self._end_reason = ""
        #: How many of the node's words on where it stands the pusher was told.
        self._statuses_told = 0

    @property
    def waiting(self) -> int:
        """Messages that nobody has looked at."""
        return len(self._inbox)

    def handle(self, event: StreamEvent) -> list[StreamAction]:
        """Takes an event in; returns what is to be done, in this order. `Free` gives nothing where nothing is due."""
        match event:
            case Came():
                self._inbox.append(event)
            case Free():
                return self._next()
            case Turn():
                return self._take_turn(event.updates_max)
            case SliceApplied():
                return self._slice_applied()
            case SliceFailed():
                return self._slice_failed(event)
            case RecordsRead():
                self._batch = _Batch(event.positions, event.damage, self._node.sequence.position)
                return [AwaitTurn()] if event.positions else self._finish()
            case Opened():
                return self._open(event.hello)
            case EndAsked():
                self._end_reason = self._end_reason or event.reason
        return []

    def _open(self, hello: PusherHello) -> list[StreamAction]:
        self._log_id = hello.log_id
        actions: list[StreamAction] = [
            EndStream(Problem.REFUSED, action.reason)
            for action in self._tell(hello)
            if isinstance(action, RefusePusher)
        ]
        return [self._answer(always=True), *actions]

    def _next(self) -> list[StreamAction]:
        if self._end_reason:
            return [EndStream(Problem.ABORTED, self._end_reason)]
        taken = self._take_together()
        if not taken:
            is_due = self._statuses_told != self._node.statuses_wanted
            return [self._answer()] if is_due else []
        log_ends = [message.log_end for message in taken if message.log_end is not None]
        if log_ends:
            self._tell(LogEndHeard(log_ends[-1]))
        if taken[0].count:
            return [ReadRecords(tuple(message.content for message in taken))]
        return [self._answer()]

    def _take_together(self) -> list[Came]:
        taken: list[Came] = []
        records = 0
        while self._inbox and (not taken or self._goes_with(taken[-1], records)):
            taken.append(self._inbox.popleft())
            records += taken[-1].count
        return taken

    def _goes_with(self, before: Came, records: int) -> bool:
        following = self._inbox[0]
        if not following.count or not before.count or records + following.count > TOGETHER_RECORDS_MAX:
            return False
        return following.first_position == before.first_position + before.count

    def _take_turn(self, updates_max: int) -> list[StreamAction]:
        batch = self._at_hand()
        if self._node.sequence.log_id != self._log_id:
            return self._finish()  # positions mean something else there
        rest = batch.positions
        if batch.done:
            rest = range(batch.positions[batch.done], batch.positions[-1] + 1)
        try:
            actions = self._tell(RecordsReceived(rest))
        except PositionGapError as error:
            self._batch = None
            return [EndStream(Problem.GAP, str(error))]
        for action in actions:
            if isinstance(action, AskAgain):
                return [AwaitTurn()]
            if isinstance(action, ApplyRecords):
                batch.done += action.first
                batch.end = batch.done + min(action.count, updates_max)
                return [ApplySlice(batch.done, batch.end, batch.positions[batch.done])]
        return self._finish()

    def _slice_applied(self) -> list[StreamAction]:
        batch = self._at_hand()
        self._tell(RecordsApplied(batch.positions[batch.end - 1]))
        batch.done = batch.end
        return [AwaitTurn()] if batch.done < len(batch.positions) else self._finish()

    def _slice_failed(self, failed: SliceFailed) -> list[StreamAction]:
        if failed.position is None:
            self._tell(StateLost(f"update {failed.halt.before} broke it: {failed.halt.reason}", failed.halt))
        else:
            self._tell(UpdateFailed(failed.halt, failed.position))
        return self._finish()

    def _finish(self) -> list[StreamAction]:
        batch, self._batch = self._at_hand(), None
        actions: list[StreamAction] = []
        if batch.positions and batch.position_before < batch.positions[-1] <= self._node.sequence.position:
            actions.append(NoteRecord(len(batch.positions) - 1))
        return [*actions, EndStream(Problem.DAMAGED, batch.damage) if batch.damage else self._answer()]

    def _at_hand(self) -> _Batch:
        assert self._batch is not None, "no records were read"
        return self._batch

    def _answer(self, *, always: bool = False) -> Answer:
        with_status = always or self._statuses_told != self._node.statuses_wanted
        self._statuses_told = self._node.statuses_wanted
        return Answer(with_status)

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        batch = self._batch
        if batch is not None and not 0 <= batch.done <= max(batch.end, batch.done) <= len(batch.positions):
            raise AssertionError(f"a batch of {len(batch.positions)} records, {batch.done} done, {batch.end} at hand")
        if self._statuses_told > self._node.statuses_wanted:
            raise AssertionError(f"told {self._statuses_told} words of {self._node.statuses_wanted}")
