"""The pusher's streams to this node: does what their core (`stream.py`) asks for, over gRPC."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.domain.addresses import address_problem
from services.shared.domain.limits import SKIPS_MAX
from services.shared.domain.updates import change_problem
from services.shared.rules import rules_from
from services.shared.serving.errors import (
    AbortedError,
    DataLossError,
    FailedPreconditionError,
    FastTreeError,
    InvalidArgumentError,
    UnavailableError,
)
from services.treenode.node.runner import NodeRunner
from services.treenode.node.sequence_events import (
    Halt,
    LogEnd,
    PusherHello,
)
from services.treenode.replication.applying import Applier, decode_in_pieces, halt_of
from services.treenode.replication.stream import (
    Answer,
    ApplySlice,
    AwaitTurn,
    Came,
    EndAsked,
    EndStream,
    Free,
    NoteRecord,
    Opened,
    Problem,
    ReadRecords,
    RecordsRead,
    SliceApplied,
    SliceFailed,
    StreamAction,
    StreamCore,
    Turn,
)
from services.treenode.tracing.updates import AppliedTraces
from services.treenode.tree import NotApplied, Skip, UpdateFailedError

LOG_ID_LENGTH_MAX = 128
#: Logs in whose place one was put, and the length of the reason.
REPLACED_MAX = 64
REASON_LENGTH_MAX = 200
#: Records of one message; a pusher sends some hundreds.
RECORDS_MAX = 100_000
#: Messages that are read and not yet looked at; the pusher is held up beyond it.
REQUESTS_MAX = 16
_YEAR_10000_S = 253_402_300_800

logger = logging.getLogger(__name__)

#: Puts a tree from before a failed update in force, where the one in force is none any more; the halt that it ends at.
#: None: there is no such tree.
Recover = Callable[[Halt], Awaitable[Halt | None]]
_Request = treenode_pb2.ApplyUpdatesRequest
_Response = treenode_pb2.ApplyUpdatesResponse


class UpdateStreams:
    """Takes one pusher's stream at a time; a newer one ends the older."""

    def __init__(
        self, node: NodeRunner, applier: Applier, recover: Recover, traces: AppliedTraces | None = None
    ) -> None:
        """`traces`: of those updates that are traced."""
        self._node = node
        self._applier = applier
        self._recover = recover
        self._traces = traces
        self._served: _Stream | None = None
        #: host:port of the pusher as it introduced itself; empty before.
        self.pusher_address = ""

    async def run(self) -> None:
        """Lets the pusher know at once where the node stands when that changes otherwise than by its records; ends when
        it is cancelled."""
        while True:
            await self._node.status_wanted.wait()
            self._node.status_wanted.clear()
            if self._served is not None:
                self._served.changed.set()

    async def serve(self, requests: AsyncIterator[_Request]) -> AsyncIterator[_Response]:
        """Answers the hello with the node's status, each batch with how far the node is.

        Raises what the proto says of ApplyUpdates.
        """
        request = await anext(requests, None)
        if request is None or not request.HasField("hello"):
            raise InvalidArgumentError("the first message must hold the pusher's hello", field="hello")
        await self._node.restored.wait()
        hello = self._checked(request)
        skips = {
            each.position: Skip(each.position, each.skipped_update_id, each.reason) for each in request.hello.skips
        }
        self.end("a newer stream of the pusher took the place of this one")
        stream = self._served = _Stream(self._node, self._applier, self._recover, self._traces)
        reading = None
        try:
            response = await stream.meet(hello, skips)
            if stream.goes_on:
                self._begin_with(request.hello)
                self.pusher_address = request.hello.pusher_address
                logger.info("pusher %s speaks: log %s", self.pusher_address, hello.log_id)
            yield response
            stream.check()
            reading = asyncio.create_task(stream.read(requests))
            while (answer := await stream.answer()) is not None:
                yield answer
            await reading
        finally:
            if reading is not None:
                reading.cancel()
            if self._served is stream:
                self._served = None

    def end(self, reason: str) -> None:
        """Ends the stream that is served now, if there is one."""
        if self._served is not None:
            self._served.end(reason)

    def _begin_with(self, hello: treenode_pb2.PusherHello) -> None:
        """An empty node begins with the rules that the log begins with. Raises where the pusher does not say them."""
        founded = types_pb2.RulesFounded(rules=hello.founding_rules)
        founded.rules.version = 1  # as they are by the log's first record of a rule
        problem = change_problem("rules_founded", founded)
        if problem is None:
            self._node.begin_with(rules_from(hello.founding_rules))
        elif self._node.core.sequence.empty and not self._node.core.sequence.records_wait:
            raise FailedPreconditionError(
                f"the pusher does not say which rules its log begins with ({problem}); upgrade the pusher",
                reason="RULES_UNKNOWN",
                field="hello.founding_rules",
            )

    def _checked(self, request: _Request) -> PusherHello:
        """The hello, which is for this cluster, and may be kept."""
        hello = request.hello
        ours = self._node.cluster.name
        if hello.cluster != ours:
            raise FailedPreconditionError(
                f"this node belongs to cluster {ours}, the pusher to {hello.cluster[:100]}; mend the host file",
                reason="OTHER_CLUSTER",
                field="hello.cluster",
                value=hello.cluster,
            )
        if len(hello.log_id) > LOG_ID_LENGTH_MAX:
            raise InvalidArgumentError(f"log_id must have at most {LOG_ID_LENGTH_MAX} characters", field="hello.log_id")
        if hello.pusher_address and (problem := address_problem(hello.pusher_address)):
            raise InvalidArgumentError(f"pusher_address: {problem}", field="hello.pusher_address")
        if len(hello.skips) > SKIPS_MAX:
            raise InvalidArgumentError(f"at most {SKIPS_MAX} skips fit into a hello", field="hello.skips")
        replaced = hello.replaced_log_ids
        if len(replaced) > REPLACED_MAX or any(len(log_id) > LOG_ID_LENGTH_MAX for log_id in replaced):
            raise InvalidArgumentError(
                f"replaced_log_ids must be at most {REPLACED_MAX}, of {LOG_ID_LENGTH_MAX} characters each",
                field="hello.replaced_log_ids",
            )
        reason = hello.adopted_reason[:REASON_LENGTH_MAX]
        skipped = tuple(skip.position for skip in hello.skips)
        return PusherHello(hello.log_id, _log_end(request.log_end), skipped, tuple(replaced), reason, hello.epoch)


class _Stream:
    """One stream. Its messages are read by a task of its own, so that none costs one."""

    def __init__(self, node: NodeRunner, applier: Applier, recover: Recover, traces: AppliedTraces | None) -> None:
        self._node = node
        self._applier = applier
        self._recover = recover
        self._traces = traces
        self._core = StreamCore(node.core, node.handle)
        #: Set when there is something to look at: a message, the stream's end, or a change of the node's own.
        self.changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._pusher_ended = False
        #: How the stream is to end; None while it goes on.
        self._end: EndStream | None = None
        #: The batch at hand: its records and updates, those of them that were not applied, and when it began.
        self._records: Sequence[treenode_pb2.LogRecord] = ()
        self._updates: Sequence[types_pb2.Update] = ()
        self._not_applied: list[NotApplied] = []
        self._began_s = 0.0

    @property
    def goes_on(self) -> bool:
        """Whether nothing ends it."""
        return self._end is None

    def check(self) -> None:
        """Raises where the stream is to end."""
        if self._end is not None:
            raise _error(self._end)

    def end(self, reason: str) -> None:
        """Ends the stream, once what is being done is answered."""
        self._core.handle(EndAsked(reason))
        self.changed.set()

    async def meet(self, hello: PusherHello, skips: dict[int, Skip]) -> _Response:
        """Takes the hello; its answer, after which the stream is to be checked."""
        actions = self._core.handle(Opened(hello))
        if hello.log_id == self._node.core.sequence.log_id:
            self._node.hear_skips(skips)
        self._node.moved()
        response = await self._perform(actions)
        assert response is not None, "a hello is answered"
        return response

    async def answer(self) -> _Response | None:
        """The next answer that is due, once it is; None at the stream's end. Raises where the node ends it."""
        while not (actions := self._core.handle(Free())):
            if self._pusher_ended and not self._core.waiting:
                return None
            await self.changed.wait()
            self.changed.clear()
        self._drained.set()
        if not isinstance(actions[0], ReadRecords):
            self._node.moved()  # by a word on the log's end, how fresh it is
        response = await self._perform(actions)
        self.check()
        return response

    async def read(self, requests: AsyncIterator[_Request]) -> None:
        """Reads to the stream's end."""
        try:
            async for request in requests:
                records = request.records
                log_end = _log_end(request.log_end) if request.HasField("log_end") else None
                self._core.handle(Came(records[0].position if records else 0, len(records), log_end, request))
                self.changed.set()
                while self._core.waiting >= REQUESTS_MAX:
                    self._drained.clear()
                    await self._drained.wait()
        finally:
            self._pusher_ended = True
            self.changed.set()

    async def _perform(self, actions: list[StreamAction]) -> _Response | None:
        """Does what the core asks for, and what follows from it; the answer, if there is one."""
        response: _Response | None = None
        while actions:
            following: list[StreamAction] = []
            for action in actions:
                match action:
                    case ReadRecords():
                        following = self._core.handle(await self._read(action.contents))
                    case AwaitTurn():
                        following = await self._take_turn()
                    case NoteRecord():
                        record = self._records[action.index]
                        self._node.note_record(record.position, record.crc32)
                    case Answer():
                        response = self._response(with_status=action.with_status)
                    case EndStream():
                        self._end = action
                    case ApplySlice():
                        raise AssertionError("slices are applied in the gate")
            actions = following
        return response

    async def _read(self, requests: Sequence[_Request]) -> RecordsRead:
        if any(len(request.records) > RECORDS_MAX for request in requests):
            raise InvalidArgumentError(f"at most {RECORDS_MAX} records fit into one message", field="records")
        self._began_s = time.perf_counter()
        self._records = [record for request in requests for record in request.records]
        if self._traces is not None:
            self._traces.came(self._records)
        positions, self._updates, damage = await decode_in_pieces(self._records)
        return RecordsRead(positions, str(damage) if damage is not None else "")

    async def _take_turn(self) -> list[StreamAction]:
        """One slice, alone in the gate; what is next."""
        await self._node.applying.wait()
        async with self._node.gate.write():
            actions = self._core.handle(Turn(self._applier.updates_max))
            for action in actions:
                if isinstance(action, ApplySlice):
                    actions = await self._apply(action)
        if isinstance(actions[0], AwaitTurn):
            await asyncio.sleep(0)
        else:
            trace_id = 0 if self._traces is None else self._traces.trace_id
            self._applier.batch_s.note(time.perf_counter() - self._began_s, trace_id)
        return actions

    async def _apply(self, action: ApplySlice) -> list[StreamAction]:
        is_whole = action.end - action.start == len(self._updates)
        part = self._updates if is_whole else self._updates[action.start : action.end]
        try:
            turn_s = time.perf_counter()
            not_applied = self._applier.apply(action.first_position, part)
            self._not_applied += not_applied
            if self._traces is not None:
                self._traces.applied(action.first_position, len(part), not_applied, self._began_s, turn_s)
            actions = self._core.handle(SliceApplied())
        except UpdateFailedError as failed:
            actions = await self._halt(failed)
        self._node.moved()
        self._node.check_skips()
        return actions

    async def _halt(self, failed: UpdateFailedError) -> list[StreamAction]:
        logger.error("halts before update %d: %s", failed.position, failed, exc_info=failed.__cause__)
        self._not_applied += failed.not_applied
        halt: Halt | None = halt_of(failed)
        if not failed.is_whole:
            halt = await self._recover(halt_of(failed))
        stands_at = None if halt is None else self._node.in_force.tree.position
        return self._core.handle(SliceFailed(halt or halt_of(failed), stands_at))

    def _response(self, *, with_status: bool) -> _Response:
        if self._node.fatal is not None:
            raise UnavailableError("the node ends; its log says why")
        response = _Response(applied_position=self._node.core.sequence.position)
        if with_status:
            response.status.CopyFrom(self._node.status())
        for update in self._not_applied:
            response.outcomes.append(
                types_pb2.UpdateOutcome(
                    position=update.position,
                    update_id=update.update_id,
                    outcome=update.outcome,
                    reason=update.reason,
                    waits_for_member_id=update.waits_for,
                )
            )
        self._records, self._updates, self._not_applied = (), (), []
        return response


def _error(end: EndStream) -> FastTreeError:
    match end.problem:
        case Problem.REFUSED:
            return FailedPreconditionError(end.reason, reason=end.problem.value)
        case Problem.ABORTED:
            return AbortedError(end.reason)
        case Problem.GAP | Problem.DAMAGED:
            return DataLossError(end.reason, reason=end.problem.value, field="records")


def _log_end(log_end: treenode_pb2.LogEnd) -> LogEnd:
    sent_at = log_end.sent_at
    # A time that no clock shows counts as none: it would be copied into every answer.
    known = log_end.HasField("sent_at") and 0 < sent_at.seconds < _YEAR_10000_S and 0 <= sent_at.nanos < 10**9
    sent_at_s = sent_at.seconds + sent_at.nanos / 1e9 if known else 0.0
    return LogEnd(max(1, log_end.first_position), log_end.position, log_end.import_id, sent_at_s)
