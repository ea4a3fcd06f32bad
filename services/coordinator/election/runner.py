"""Performs what the election core asks for: writes, answers, timers. One event loop, one core, one store."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from typing import Protocol

from services.coordinator.election.election import ElectionCore
from services.coordinator.election.events import (
    Action,
    Answer,
    ClusterChanged,
    Event,
    PauseAsked,
    PauseDone,
    PauseFailed,
    Persist,
    PersistDone,
    PersistFailed,
    Recorded,
    Refuse,
    ResumeAsked,
    Role,
    StreamEnded,
    SwitchoverAsked,
    SwitchoverDone,
    SwitchoverFailed,
    SwitchoverProblem,
)
from services.coordinator.election.seat import Lost
from services.coordinator.stores.store import ClusterStore, StoreConflictError, StoreError
from services.shared.clock import Clock
from services.shared.cores import Tick
from services.shared.seldom import Seldom
from services.shared.serving.background import Background
from services.shared.serving.errors import (
    AlreadyExistsError,
    DeadlineExceededError,
    FailedPreconditionError,
    FastTreeError,
    NotFoundError,
    UnavailableError,
)
from services.shared.shell import CoreShell

logger = logging.getLogger(__name__)

_SWITCHOVER_ERRORS: dict[SwitchoverProblem, type[FastTreeError]] = {
    SwitchoverProblem.NO_SUCH_NODE: NotFoundError,
    SwitchoverProblem.NOT_POSSIBLE: FailedPreconditionError,
    SwitchoverProblem.TOO_LATE: DeadlineExceededError,
}


class NodeSink(Protocol):
    """Where answers to one heartbeat stream go."""

    def answer(self, answer: Answer) -> None:
        """Sends an answer; never waits."""

    def end(self, error: FastTreeError) -> None:
        """Ends the stream with this error."""


class CoreRunner(CoreShell[Event, Action]):
    """The core and what surrounds it.

    Args:
        core: The election core, as recorded in the store.
        store: What `Persist` writes to.
        clock: What the core goes by.
        background: Where writes run; ended when the coordinator must not go on: another one is active, or a rule is
            broken.
        may_act: Asked before anything is done: where another coordinator may be active, nothing is.
    """

    def __init__(
        self,
        core: ElectionCore,
        store: ClusterStore,
        clock: Clock,
        background: Background,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(core, clock, background, "the election")
        self.core = core
        #: Whether this coordinator is the active one yet.
        self.may_act = may_act
        self._store = store
        self._sinks: dict[tuple[str, str], NodeSink] = {}
        self._asked: dict[int, asyncio.Future[SwitchoverDone | PauseDone]] = {}
        self._requests = itertools.count(1)
        self._write: asyncio.Task[None] | None = None
        #: What failed writes may have left in the store.
        self._possibly_stored: list[Recorded] = []
        #: Epoch and name of the node that was last told PRIMARY, None once it was told otherwise.
        self._primary_told: tuple[int, str] | None = None
        #: The loss of the seat that the log has.
        self._lost_told: Lost | None = None
        self._seldom = Seldom(clock.now_s)
        #: Counts changes of the cluster.
        self.changes = 0
        self._changed = asyncio.Event()
        #: Elections, refused heartbeats and failed writes since the start.
        self.counts = {"elections": 0, "refusals": 0, "write_failures": 0}

    def start(self) -> None:
        """Begins to watch the time."""
        self.feed(Tick())

    async def close(self) -> None:
        """Ends the timer, waits for a write under way, and fails whoever still waits."""
        self.shut()
        if self._write is not None:
            await asyncio.gather(self._write, return_exceptions=True)
        ending = UnavailableError("the coordinator is ending: ask again in a moment")
        for sink in self._sinks.values():
            sink.end(ending)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ending)
        self.notify()

    # ---- events in ---------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The core's clock."""
        return self._clock.now_s()

    def attach(self, node: str, incarnation: str, sink: NodeSink) -> NodeSink | None:
        """Sends this process's answers to `sink` from now on; returns the sink of an older stream, if there is one."""
        older = self._sinks.get((node, incarnation))
        self._sinks[node, incarnation] = sink
        return older if older is not sink else None

    def detach(self, node: str, incarnation: str, sink: NodeSink) -> None:
        """Notes that the stream has ended, unless a newer one of the same process took its place."""
        if self._sinks.get((node, incarnation)) is sink:
            del self._sinks[node, incarnation]
            self.feed(StreamEnded(node=node, incarnation=incarnation))

    async def switch_over(self, to_node: str) -> SwitchoverDone:
        """Makes another node primary; returns when it is. Raises a FastTreeError that says why not."""
        done = await self._ask(lambda request: SwitchoverAsked(request=request, to_node=to_node))
        assert isinstance(done, SwitchoverDone)
        return done

    async def pause(self, paused: bool) -> None:
        """Pauses or resumes elections; returns when that is durable. Raises a FastTreeError that says why not."""
        await self._ask(lambda request: PauseAsked(request=request) if paused else ResumeAsked(request=request))

    async def wait_changed(self, seen: int, timeout_s: float) -> None:
        """Returns once `changes` is above `seen`, or when the time is over."""
        if self.changes == seen and not self._closed:
            # Not wait_for, which can swallow the end of the call that waits.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()

    async def _ask(self, make: Callable[[int], Event]) -> SwitchoverDone | PauseDone:
        if self._closed:
            raise UnavailableError("the coordinator is ending: ask again in a moment")
        request = next(self._requests)
        future: asyncio.Future[SwitchoverDone | PauseDone] = asyncio.get_running_loop().create_future()
        self._asked[request] = future
        try:
            self.feed(make(request))
            return await future
        finally:
            del self._asked[request]

    # ---- actions out -------------------------------------------------------------------------------------------------

    def _takes_events(self) -> bool:
        return self.may_act()

    def _perform(self, action: Action) -> None:
        match action:
            case Persist():
                self._write = self._background.start(self._persist(action.recorded), "writes to the store")
            case Answer():
                self._log_role(action)
                if sink := self._sinks.get((action.node, action.incarnation)):
                    sink.answer(action)
            case Refuse():
                self.counts["refusals"] += 1
                if self._seldom.tells(action.message):  # each of its heartbeats is one
                    logger.warning("%s", action.message)
                if sink := self._sinks.get((action.node, action.incarnation)):
                    sink.end(AlreadyExistsError(action.message, field="node.name", value=action.node))
            case SwitchoverDone() | PauseDone():
                self._settle_request(action.request, action)
            case SwitchoverFailed():
                self._settle_request(action.request, _SWITCHOVER_ERRORS[action.problem](action.message))
            case PauseFailed():
                self._settle_request(action.request, UnavailableError(action.message))
            case ClusterChanged():
                self.notify()

    def _decided(self) -> None:
        """Why there is no primary any more, before anybody else is."""
        lost = self.core.seat.lost
        if lost is not None and lost is not self._lost_told:
            level = logging.INFO if lost.asked else logging.WARNING
            logger.log(level, "epoch %d: %s is not primary any more: %s", lost.epoch, lost.node, lost.why)
        self._lost_told = lost

    def _log_role(self, answer: Answer) -> None:
        """One line for each change of the primary; answers that repeat a role are many."""
        told = (answer.epoch, answer.node) if answer.role is Role.PRIMARY else None
        if told is not None and told != self._primary_told:
            logger.info("epoch %d: %s is primary", *told)
            self._primary_told = told
        elif told is None and self._primary_told is not None and self._primary_told[1] == answer.node:
            logger.info("epoch %d: %s is told to be passive", answer.epoch, answer.node)
            self._primary_told = None

    def _settle_request(self, request: int, result: SwitchoverDone | PauseDone | FastTreeError) -> None:
        future = self._asked.get(request)
        if future is None or future.done():
            return  # the caller did not wait
        if isinstance(result, FastTreeError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def notify(self) -> None:
        """Whoever watches hears of it."""
        self.changes += 1
        self._changed.set()
        self._changed = asyncio.Event()

    # ---- writing -----------------------------------------------------------------------------------------------------

    async def _persist(self, recorded: Recorded) -> None:
        """Writes, and tells the core what came of it; whatever was answered, the store is asked what it has."""
        before = self.core.recorded
        try:
            problem = await self._save(recorded, before)
        except StoreConflictError as error:
            self._background.end(error)
            return
        if problem:
            self.counts["write_failures"] += 1
            logger.error("can't write epoch %d: %s", recorded.epoch, problem)
            self.feed(PersistFailed(recorded=recorded, reason=problem))
            return
        self._possibly_stored.clear()
        if recorded.epoch != before.epoch:
            self.counts["elections"] += 1
        self.feed(PersistDone(recorded=recorded))

    async def _save(self, recorded: Recorded, before: Recorded) -> str:
        """Why it is not known to be stored; empty when it is. Raises StoreConflictError where another one writes."""
        expected = before
        for _ in range(2):
            try:
                await self._store.save(recorded, expected)
            except StoreError as error:
                self._possibly_stored.append(recorded)
                try:
                    found = await self._store.load()
                except StoreError:
                    return str(error)
                if found == recorded:
                    return "" if recorded != before else str(error)
                if found != before and found not in self._possibly_stored:
                    raise StoreConflictError(f"another coordinator is active: {error}") from error
                if not isinstance(error, StoreConflictError):
                    return str(error)
                expected = found  # an earlier write of ours that seemed to have failed
            else:
                return ""
        return "the store keeps changing"
