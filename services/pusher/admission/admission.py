"""Which pushed updates go to the log, and when their receipts leave: admission, without any I/O.

The rules
---------
A *batch* is one message of a stream. It waits for budget, then for the log, then, where the client asked for it, for
nodes; then it is answered, by one receipt for each of its updates.

1. *Budget.* A stream may have `push_stream_updates_max` updates that lack their receipts, and all streams together
   `push_updates_max` that wait for the log. A batch that has to wait for budget holds up its own stream: at most one
   message of a stream waits, and the next one is read when that was admitted. The common budget goes to who asked
   first. A batch that is larger than a whole budget goes alone.
2. A batch gives the common budget back once the log has said what became of it, whatever that is and whether or not
   anybody still waits for it; its stream's, when it is answered.
3. *Receipts* leave in the order of the stream's batches, each batch once, never before the log has said what became of
   it, and, where nodes were asked for, not before they confirmed it or its time was over (counted from when it was
   stored). Updates that time out are durable, and the receipts say so.
4. One response of a stream is under way at a time. Meanwhile batches gather: the next response has the receipts of all
   that are due, in order, up to `MESSAGE_UPDATES_MAX` of them. So a client that does not read its receipts is held back
   by its stream's budget.
5. A malformed update, and one that the rules refuse, has its receipt in its place, and harms no other. A message with
   too many updates ends its stream, once those before it have their receipts.
6. While the pusher drains, nothing more is read. What was admitted has its receipts; what waited for budget has none.
   So it is with the streams that are open when the log's door closes (`services/pusher/lineage`); while it is closed,
   none is opened.
7. The log is *full* from a push that found no room until the next one that did, or until room is found without one.
"""

from __future__ import annotations

from collections import deque
from typing import Generic

from services.pusher.admission.acks import Acks, WaitBegun, WaitGivenUp, WaitOver
from services.pusher.admission.batch import MESSAGE_UPDATES_MAX, Batch, Content
from services.pusher.admission.budget import Budget
from services.pusher.admission.events import (
    AdmissionAction,
    AdmissionEvent,
    Answer,
    Append,
    Drain,
    EndStream,
    Pushed,
    ReadOn,
    RequestsEnded,
    Respond,
    ResponseTaken,
    RoomFound,
    StreamEnd,
    StreamGone,
    StreamOpened,
)
from services.pusher.admission.progress import PushCounts, PushedBatch, PushStream, Reading
from services.pusher.admission.settings import AdmissionSettings
from services.pusher.fanout.events import KnownOutcome, NodeConfirmed, NodeStands
from services.pusher.lineage.lineage import Door
from services.pusher.log.group_commit import AppendProblem, Committed, NotStored, Push, Results
from services.pusher.log.store import Appended
from services.shared.cores import Tick

_NOTHING_TO_STORE = Appended(None, ())


class AdmissionBrokenError(Exception):
    """A rule above was broken: a fault of the program, never of a client."""


class Admission(Generic[Content]):
    """The admission core: events in, actions out, in the order in which they are to be done."""

    def __init__(self, settings: AdmissionSettings, *, position: int) -> None:
        """`position`: the log's end at the start."""
        self.settings = settings
        self.acks = Acks(position=position)
        #: Taken: the sum of the costs in `_in_log`.
        self.budget = Budget(settings.push_updates_max)
        self.streams: dict[int, PushStream[Content]] = {}
        self.counts = PushCounts()
        #: Why the last push found no room in the log; empty where it did.
        self.full = ""
        self.draining = False
        #: Handed to the log, by number; their streams may be gone.
        self._in_log: dict[int, PushedBatch[Content]] = {}
        #: Streams that wait for the common budget, in order: all and only those that are QUEUED.
        self._queued: deque[int] = deque()
        #: Batches that wait for nodes, with their streams: each is the first that its stream owes.
        self._waiting: dict[int, PushStream[Content]] = {}
        self._admitted = 0

    @property
    def deadline_s(self) -> float | None:
        """When the next wait for nodes is over; None while there is none."""
        return self.acks.deadline_s

    def handle(self, event: AdmissionEvent[Content], now_s: float) -> list[AdmissionAction[Content]]:
        """Takes one event; `now_s` never less than before."""
        match event:
            case Pushed():
                return self._pushed(event.stream, event.batch, now_s)
            case Committed():
                return self._committed(event.results, now_s)
            case ResponseTaken():
                return self._response_taken(event.stream, now_s)
            case NodeConfirmed() | NodeStands() | Tick():
                return self._waits_over(self.acks.handle(event, now_s), now_s)
            case StreamOpened():
                return self._opened(event, now_s)
            case RequestsEnded():
                return self._requests_ended(event.stream, now_s)
            case StreamGone():
                return self._gone(event.stream, now_s)
            case Door(closed=closed):
                return self._read_on_none(StreamEnd.CLOSED, now_s, closed) if closed else []
            case RoomFound():
                self.full = ""
                return []
            case Drain():
                self.draining = True
                return self._read_on_none(StreamEnd.DRAINING, now_s)

    # -- in

    def _opened(self, event: StreamOpened, now_s: float) -> list[AdmissionAction[Content]]:
        if event.stream in self.streams:
            raise AdmissionBrokenError(f"stream {event.stream} is open already")
        stream: PushStream[Content] = PushStream(
            event.stream, event.deadline_s, Budget(self.settings.push_stream_updates_max)
        )
        self.streams[event.stream] = stream
        return self._read_no_more(stream, StreamEnd.DRAINING, now_s) if self.draining else []

    def _pushed(self, number: int, batch: Batch[Content], now_s: float) -> list[AdmissionAction[Content]]:
        stream = self._read_from(number)
        if stream is None:
            return []
        if batch.updates > MESSAGE_UPDATES_MAX:
            text = f"{batch.updates} updates came in one message: send {MESSAGE_UPDATES_MAX} at most"
            return self._read_no_more(stream, StreamEnd.TOO_MANY_UPDATES, now_s, text)
        stream.held, stream.reading = batch, Reading.HELD
        return self._try_to_admit(stream, now_s)

    def _requests_ended(self, number: int, now_s: float) -> list[AdmissionAction[Content]]:
        stream = self._read_from(number)
        return [] if stream is None else self._read_no_more(stream, StreamEnd.DONE, now_s)

    def _read_from(self, number: int) -> PushStream[Content] | None:
        """The stream, if what it says still counts."""
        stream = self.streams.get(number)
        if stream is None or stream.reading is Reading.ENDED:
            return None
        if stream.reading is not Reading.OPEN:
            raise AdmissionBrokenError(f"stream {number} was read from while its last message waits for budget")
        return stream

    def _read_no_more(
        self, stream: PushStream[Content], why: StreamEnd, now_s: float, message: str = ""
    ) -> list[AdmissionAction[Content]]:
        stream.held, stream.reading = None, Reading.ENDED
        stream.end = EndStream(stream.number, why, message)
        return self._respond(stream, now_s)

    def _read_on_none(self, why: StreamEnd, now_s: float, message: str = "") -> list[AdmissionAction[Content]]:
        """Every stream ends, once what was admitted of it has its receipts."""
        self._queued.clear()
        actions: list[AdmissionAction[Content]] = []
        for stream in list(self.streams.values()):
            if stream.reading is not Reading.ENDED:
                actions += self._read_no_more(stream, why, now_s, message)
        return actions

    # -- budget

    def _try_to_admit(self, stream: PushStream[Content], now_s: float) -> list[AdmissionAction[Content]]:
        """Admits what the stream holds, if there is budget; else it waits, for its own first."""
        batch = stream.held
        if batch is None or not stream.budget.has_room(batch.cost):
            return []
        if batch.update_ids and (self._queued or not self.budget.has_room(batch.cost)):
            stream.reading = Reading.QUEUED
            self._queued.append(stream.number)
            return []
        return self._admit(stream, batch, now_s)

    def _admit_queued(self, now_s: float) -> list[AdmissionAction[Content]]:
        actions: list[AdmissionAction[Content]] = []
        while self._queued:
            stream = self.streams[self._queued[0]]
            batch = stream.held
            if batch is None or not self.budget.has_room(batch.cost):
                break
            self._queued.popleft()
            actions += self._admit(stream, batch, now_s)
        return actions

    def _admit(
        self, stream: PushStream[Content], batch: Batch[Content], now_s: float
    ) -> list[AdmissionAction[Content]]:
        self._admitted += 1
        pushed = PushedBatch(self._admitted, stream.number, batch, batch.cost)
        stream.held, stream.reading = None, Reading.OPEN
        stream.budget.take(pushed.cost)
        stream.owed.append(pushed)
        if not batch.update_ids:
            pushed.result = _NOTHING_TO_STORE
            return [ReadOn(stream.number), *self._respond(stream, now_s)]
        self.budget.take(pushed.cost)
        self._in_log[pushed.number] = pushed
        push = Push(pushed.number, batch.update_ids, batch.contents, batch.rules, batch.to_judge, traced=batch.traced)
        return [Append(push), ReadOn(stream.number)]

    # -- the log

    def _committed(self, results: Results, now_s: float) -> list[AdmissionAction[Content]]:
        touched: dict[int, None] = {}
        for number, result in results:
            pushed = self._in_log.pop(number, None)
            if pushed is None:
                raise AdmissionBrokenError(f"the log has an outcome of batch {number}, which it was not given")
            self.budget.give_back(pushed.cost)
            self._settle(pushed, result, now_s)
            touched[pushed.stream] = None
        actions = self._admit_queued(now_s)
        for number in touched:
            stream = self.streams.get(number)
            if stream is not None:
                actions += self._respond(stream, now_s)
        return actions

    def _settle(self, pushed: PushedBatch[Content], result: Appended | NotStored, now_s: float) -> None:
        pushed.result = result
        if isinstance(result, NotStored):
            self.full = str(result.error) if result.problem is AppendProblem.FULL else ""
            return
        self.full = ""
        if pushed.batch.ack_range is not None:
            pushed.last_position = max(result.positions, default=0)
            pushed.deadline_s = now_s + self.settings.ack_timeout_s

    # -- receipts

    def _response_taken(self, number: int, now_s: float) -> list[AdmissionAction[Content]]:
        stream = self.streams.get(number)
        if stream is None:
            return []
        stream.responding = False
        return self._respond(stream, now_s)

    def _respond(self, stream: PushStream[Content], now_s: float) -> list[AdmissionAction[Content]]:
        """The next response, if there is one, or the stream's end."""
        if stream.responding:
            return []
        answers: list[Answer[Content]] = []
        receipts = 0
        while stream.owed:
            first = stream.owed[0]
            if answers and receipts + first.batch.updates > MESSAGE_UPDATES_MAX:
                break
            answer = self._answer(stream, first, now_s)
            if answer is None:
                break
            answers.append(answer)
            receipts += first.batch.updates
            stream.owed.popleft()
            stream.budget.give_back(first.cost)
        if answers:
            stream.responding = True
            respond = Respond(stream.number, answers)
            return [respond, *self._try_to_admit(stream, now_s)] if stream.reading is Reading.HELD else [respond]
        return self._wait_or_end(stream, now_s)

    def _wait_or_end(self, stream: PushStream[Content], now_s: float) -> list[AdmissionAction[Content]]:
        """Nothing can be answered now: why not."""
        if not stream.owed:
            if stream.end is None:
                return []
            del self.streams[stream.number]
            return [stream.end]
        first = stream.owed[0]
        if isinstance(first.result, NotStored):  # by a fault: any other refusal was answered
            end = EndStream(stream.number, StreamEnd.FAULT, str(first.result.error), first.result.error)
            return [end, *self._gone(stream.number, now_s)]
        ack_range = first.batch.ack_range
        if first.result is not None and ack_range is not None and first.number not in self._waiting:
            self._waiting[first.number] = stream
            deadline_s = self._deadline_of(stream, first)
            self.acks.handle(WaitBegun(first.number, first.last_position, ack_range, deadline_s), now_s)
        return []

    def _deadline_of(self, stream: PushStream[Content], pushed: PushedBatch[Content]) -> float:
        return pushed.deadline_s if stream.deadline_s is None else min(pushed.deadline_s, stream.deadline_s)

    def _answer(
        self, stream: PushStream[Content], pushed: PushedBatch[Content], now_s: float
    ) -> Answer[Content] | None:
        """What the first batch that is owed is told; None while that is not known, or can't be told."""
        result, batch, counts = pushed.result, pushed.batch, self.counts
        if result is None or (isinstance(result, NotStored) and result.problem is AppendProblem.FAULT):
            return None
        if isinstance(result, NotStored):
            counts.refused += len(batch.update_ids)
            counts.malformed += len(batch.malformed)
            return Answer(batch, result)
        outcomes: list[KnownOutcome] = []
        if pushed.last_position:
            if not self._is_over(stream, pushed, now_s):
                return None
            outcomes = [self.acks.outcome(position) for position in result.positions]
            if not pushed.confirmed:
                counts.unconfirmed += len(result.positions) - len(result.conflicts) - len(result.refusals)
        counts.malformed += len(batch.malformed)
        counts.duplicates += len(result.duplicates)
        counts.conflicts += len(result.conflicts)
        counts.refused += len(result.refusals)
        counts.taken += len(result.positions) - len(result.duplicates) - len(result.conflicts) - len(result.refusals)
        return Answer(batch, result, pushed.confirmed, outcomes)

    def _is_over(self, stream: PushStream[Content], pushed: PushedBatch[Content], now_s: float) -> bool:
        """Whether the nodes asked for have confirmed it (`confirmed` says so then), or its time is over."""
        ack_range = pushed.batch.ack_range
        if pushed.confirmed is None and ack_range is not None and pushed.number not in self._waiting:
            if pushed.last_position <= self.acks.level(ack_range):
                pushed.confirmed = True
            elif now_s >= self._deadline_of(stream, pushed):
                pushed.confirmed = False
        return pushed.confirmed is not None

    def _waits_over(self, over: list[WaitOver], now_s: float) -> list[AdmissionAction[Content]]:
        actions: list[AdmissionAction[Content]] = []
        for wait in over:
            stream = self._waiting.pop(wait.ticket)
            stream.owed[0].confirmed = wait.reached
            actions += self._respond(stream, now_s)
        return actions

    def _gone(self, number: int, now_s: float) -> list[AdmissionAction[Content]]:
        stream = self.streams.pop(number, None)
        if stream is None:
            return []
        if stream.owed and self._waiting.pop(stream.owed[0].number, None) is not None:
            self.acks.handle(WaitGivenUp(stream.owed[0].number), now_s)
        if stream.reading is not Reading.QUEUED:
            return []
        self._queued.remove(number)
        return self._admit_queued(now_s)

    # -- rules

    def validate(self) -> None:
        """Raises `AdmissionBrokenError` if a rule of this file does not hold."""
        self.acks.validate()
        for stream in self.streams.values():
            problem = stream.problem() or self._problem(stream)
            if problem:
                raise AdmissionBrokenError(f"stream {stream.number}: {problem}")
        in_log = [pushed.cost for pushed in self._in_log.values()]
        if self.budget.taken != sum(in_log):
            raise AdmissionBrokenError(f"took {self.budget.taken} of the budget, and the log has {in_log}")
        if self.budget.taken > self.budget.updates_max and len(in_log) > 1:
            raise AdmissionBrokenError("took more than the budget for more than one batch")
        queued = [number for number, stream in self.streams.items() if stream.reading is Reading.QUEUED]
        if sorted(self._queued) != sorted(queued):
            raise AdmissionBrokenError(f"streams {list(self._queued)} are queued, and {queued} say so")
        if self.acks.waiting != len(self._waiting):
            raise AdmissionBrokenError(f"{self.acks.waiting} waits for nodes, {len(self._waiting)} batches that wait")

    def _problem(self, stream: PushStream[Content]) -> str:
        """What does not hold between a stream and the rest."""
        for pushed in stream.owed:
            if (pushed.result is None) != (pushed.number in self._in_log):
                return f"batch {pushed.number} has the result {pushed.result}, which does not fit what the log has"
            if pushed.number in self._waiting and (pushed is not stream.owed[0] or stream.responding):
                return f"batch {pushed.number} waits for nodes before its turn"
        if stream.reading is Reading.QUEUED and self._queued[0] == stream.number and stream.held is not None:
            return "is next, and there is budget" if self.budget.has_room(stream.held.cost) else ""
        if stream.reading is Reading.HELD and stream.held is not None and stream.budget.has_room(stream.held.cost):
            return "waits for its own budget, and has it"
        if not stream.responding and stream.owed and stream.owed[0].result is not None:
            return "" if stream.owed[0].number in self._waiting else "has a receipt that is due, and sends nothing"
        return ""
