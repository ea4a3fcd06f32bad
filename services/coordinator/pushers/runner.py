"""Performs what the pushers' election asks for: writes, answers, timers."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Protocol

from services.coordinator.election.events import Persist, PersistDone, PersistFailed, Recorded
from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.events import (
    NodesHold,
    PusherAction,
    PusherAnswer,
    PusherEvent,
    PusherRefused,
    PushersChanged,
    PusherSwitchoverAsked,
    PusherSwitchoverDone,
    PusherSwitchoverFailed,
)
from services.coordinator.pushers.nomination import PusherNomination
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


class PusherSink(Protocol):
    """Where answers to one pusher's stream go."""

    def answer(self, answer: PusherAnswer) -> None:
        """Sends an answer; never waits."""

    def end(self, error: Exception | None) -> None:
        """Ends the stream."""


class PusherElectionRunner(CoreShell[PusherEvent, PusherAction]):
    """The core and what surrounds it.

    Args:
        core: Decides.
        store: Of the pushers' part of the record.
        clock: What the core goes by.
        background: Where writes run; ended where another coordinator writes.
        may_act: Where another coordinator may be active, nothing is done.
        changed: Told whenever whoever watches wants to know.
        held_log: The log that most nodes hold the state of; empty where there is none.
    """

    def __init__(
        self,
        core: PusherElection,
        store: ClusterStore,
        clock: Clock,
        background: Background,
        may_act: Callable[[], bool],
        changed: Callable[[], None],
        held_log: Callable[[], str] = str,
    ) -> None:
        super().__init__(core, clock, background, "the election of pushers")
        self._held_log, self._told_log = held_log, ""
        self.core, self._store = core, store
        self._may_act, self._changed = may_act, changed
        self._sinks: dict[tuple[str, str], PusherSink] = {}
        self._asked: dict[int, asyncio.Future[PusherSwitchoverDone]] = {}
        self._requests = itertools.count(1)
        self._write: asyncio.Task[None] | None = None
        #: What failed writes may have left in the store.
        self._possibly_stored: list[Recorded] = []
        self._told_epoch = core.recorded.pusher_epoch
        self._seldom = Seldom(clock.now_s)

    def start(self) -> None:
        """Begins to watch the time."""
        self.feed(Tick())

    async def close(self) -> None:
        """Ends: waits for a write under way, ends every stream, fails whoever still waits."""
        self.shut()
        if self._write is not None:
            await asyncio.gather(self._write, return_exceptions=True)
        ending = UnavailableError("the coordinator is ending: ask again in a moment")
        for sink in self._sinks.values():
            sink.end(ending)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ending)

    def now_s(self) -> float:
        """The core's clock."""
        return self._clock.now_s()

    def attach(self, name: str, incarnation: str, sink: PusherSink) -> PusherSink | None:
        """Sends this process's answers there from now on; the sink of an older stream, if there is one."""
        older = self._sinks.get((name, incarnation))
        self._sinks[name, incarnation] = sink
        return older if older is not sink else None

    def detach(self, name: str, incarnation: str, sink: PusherSink) -> None:
        """The stream has ended. That says nothing of the pusher: its lease runs on."""
        if self._sinks.get((name, incarnation)) is sink:
            del self._sinks[name, incarnation]

    async def switch_over(self, to_pusher: str) -> PusherSwitchoverDone:
        """Makes another pusher active; returns when it is. Raises a FastTreeError that says why not."""
        if self._closed:
            raise UnavailableError("the coordinator is ending: ask again in a moment")
        request = next(self._requests)
        future: asyncio.Future[PusherSwitchoverDone] = asyncio.get_running_loop().create_future()
        self._asked[request] = future
        try:
            self.feed(PusherSwitchoverAsked(request, to_pusher))
            return await future
        finally:
            del self._asked[request]

    def feed(self, event: PusherEvent | Tick) -> None:
        """Before it, what most nodes hold, where that has changed."""
        if (held := self._held_log()) != self._told_log:
            self._told_log = held
            super().feed(NodesHold(held))
        super().feed(event)

    def _takes_events(self) -> bool:
        return self._may_act()

    def _perform(self, action: PusherAction) -> None:
        match action:
            case Persist(recorded=recorded):
                self._write = self._background.start(self._persist(recorded), "writes the active pusher")
            case PusherAnswer():
                if action.active and action.epoch != self._told_epoch:
                    self._told_epoch = action.epoch
                    self._log_active(action)
                if sink := self._sinks.get((action.name, action.incarnation)):
                    sink.answer(action)
            case PusherRefused():
                if self._seldom.tells(action.message):  # each of its heartbeats is one
                    logger.warning("%s", action.message)
                if sink := self._sinks.get((action.name, action.incarnation)):
                    sink.end(AlreadyExistsError(action.message, field="name", value=action.name))
            case PusherSwitchoverDone():
                self._settle(action.request, action)
            case PusherSwitchoverFailed():
                kind = NotFoundError if not action.is_known else FailedPreconditionError
                self._settle(action.request, (kind if action.in_time else DeadlineExceededError)(action.message))
            case PushersChanged():
                self._changed()

    def _log_active(self, answer: PusherAnswer) -> None:
        logger.info("pusher epoch %d: %s is active", answer.epoch, answer.name)

    def _settle(self, request: int, result: PusherSwitchoverDone | FastTreeError) -> None:
        future = self._asked.get(request)
        if future is None or future.done():
            return  # the caller did not wait
        if isinstance(result, FastTreeError):
            future.set_exception(result)
        else:
            future.set_result(result)

    async def _persist(self, recorded: Recorded) -> None:
        """Writes, and tells the core what came of it."""
        expected = self.core.recorded
        try:
            await self._store.save(recorded, expected)
        except StoreError:
            self._possibly_stored.append(recorded)
            try:
                found = await self._store.load()
                if found != recorded and found in self._possibly_stored:
                    # An earlier write that seemed to have failed.
                    await self._store.save(recorded, found)
                    found = recorded
            except StoreError as again:
                error, found = again, expected
            if found != recorded:
                if isinstance(error, StoreConflictError) and found != expected:
                    self._background.end(error)
                    return
                logger.error("can't write pusher epoch %d: %s", recorded.pusher_epoch, error)
                self.feed(PersistFailed(recorded=recorded, reason=str(error)))
                return
        self._possibly_stored.clear()
        self.feed(PersistDone(recorded=recorded))


class PusherNominationRunner(PusherElectionRunner):
    """What a coordinator that stands by has: it writes nothing, so nothing is asked of the store."""

    def __init__(self, core: PusherNomination, store: ClusterStore, clock: Clock, background: Background) -> None:
        super().__init__(core, store, clock, background, lambda: True, lambda: None)
        self._nomination = core

    def _log_active(self, answer: PusherAnswer) -> None:
        """What the active one decided is in its own log."""
        if self._nomination.named is not None:
            logger.warning(
                "pusher epoch %d: names %s, since the active coordinator and the active pusher are silent",
                answer.epoch,
                answer.name,
            )
