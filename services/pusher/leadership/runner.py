"""Performs what the turn's core asks for: claims, and has a pusher take pushes or stand by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from fasttree.v1 import coordinator_pb2
from services.pusher.leadership.keeping import CoordinatorLink
from services.pusher.leadership.leadership import (
    BecomeActive,
    Claim,
    Claimed,
    ClaimFailed,
    ClaimRefused,
    Deposed,
    PusherTurn,
    Say,
    StepDown,
    Told,
    Turn,
    TurnAction,
    TurnBrokenError,
    TurnEvent,
)
from services.pusher.leadership.standby import FollowedLog, StandbyPusher
from services.pusher.log.store import DeposedError, LogStore, LogStoreError
from services.shared.clock import Clock, Timer
from services.shared.cores import Tick
from services.shared.files.threads import in_thread
from services.shared.serving.background import Background

logger = logging.getLogger(__name__)


class ActivePart(Protocol):
    """The pusher that takes pushes; see `services/pusher/app.py`."""

    store: LogStore
    background: Background

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class PusherTurns:
    """One pusher of several, as a service.

    Args:
        name: This pusher's.
        clock: What the core goes by.
        follow: Makes what follows the log, anew for each time of standing by.
        stand_by: Makes what serves meanwhile.
        act: Makes the pusher over a log that is claimed, under that epoch; raises LogStoreError. Blocks.
        link: Makes the link to the coordinator.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        follow: Callable[[], FollowedLog],
        stand_by: Callable[[PusherTurn, FollowedLog], StandbyPusher],
        act: Callable[[LogStore, int], ActivePart],
        link: Callable[[Callable[[], coordinator_pb2.PusherStatus], Callable[[Told], None]], CoordinatorLink],
    ) -> None:
        self.core = PusherTurn(clock.now_s())
        self.background = Background()
        self._name, self._clock = name, clock
        self._follow, self._stand_by, self._act = follow, stand_by, act
        self._link = link(self._status, self.feed)
        #: host:port at which others reach it.
        self.address = self._link.address
        self._log = follow()
        self._part: StandbyPusher | ActivePart | None = None
        #: What was claimed, by its epoch, until somebody has taken it.
        self._claimed: tuple[int, LogStore] | None = None
        #: The end of the log that an active part writes.
        self._end: Callable[[], int] | None = None
        #: None: there are no more.
        self._turns: asyncio.Queue[BecomeActive | StepDown | None] = asyncio.Queue()
        self._turning: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._ending = False

    async def start(self) -> None:
        """Begins to stand by. Raises OSError where a port is taken."""
        await self._begin_to_stand_by()
        self._turning = self.background.start(self._take_turns(), "takes turns")
        self.background.start(self._link.run(), "keeps the lease")

    async def stop(self) -> None:
        """Says so, ends what it serves, then lets the log go."""
        self._ending = True
        self._link.say()
        if self._timer is not None:
            self._timer.cancel()
        if self._turning is not None:
            # To the end of the turn: half of one would leave a part that nobody stops.
            self._turns.put_nowait(None)
            await asyncio.wait([self._turning])
        if self._part is not None:
            part, self._part = self._part, None
            await part.stop()
        await self.background.stop()
        await self._log.close()
        if self._claimed is not None:
            await in_thread(self._claimed[1].close)

    def feed(self, event: TurnEvent) -> None:
        """Hands an event to the core and performs what it asks for."""
        if self._ending or self.background.failed.is_set():
            return
        try:
            actions = self.core.handle(event, self._clock.now_s())
            self.core.validate()
        except Exception as error:
            self.background.fail(error, "taking turns")
            return
        for action in actions:
            self._perform(action)
        if self._timer is not None:
            self._timer.cancel()
        if (deadline_s := self.core.deadline_s) is not None:
            self._timer = self._clock.call_at(deadline_s, lambda: self.feed(Tick()))

    def _perform(self, action: TurnAction) -> None:
        match action:
            case Claim(epoch):
                self.background.start(self._claim(epoch), "claims the log")
            case BecomeActive(epoch):
                logger.info("epoch %d: becomes the active pusher", epoch)
                self._turns.put_nowait(action)
            case StepDown(reason):
                logger.warning("is not the active pusher any more: %s", reason)
                self._turns.put_nowait(action)
            case Say():
                self._link.say()

    def _status(self) -> coordinator_pb2.PusherStatus:
        """What the coordinator is told."""
        core, log = self.core, self._log
        state = {
            Turn.STANDBY: coordinator_pb2.PUSHER_STATE_STANDBY,
            Turn.CLAIMING: coordinator_pb2.PUSHER_STATE_CLAIMING,
            Turn.ACTIVE: coordinator_pb2.PUSHER_STATE_ACTIVE,
        }[core.turn]
        note = core.problem or ("" if core.turn is Turn.ACTIVE else log.problem or log.lacks)
        if self._ending:
            state = coordinator_pb2.PUSHER_STATE_DRAINING
        elif core.problem or (core.turn is Turn.STANDBY and log.problem):
            state = coordinator_pb2.PUSHER_STATE_UNFIT
        serves = core.turn is Turn.ACTIVE and self._part is not None and not isinstance(self._part, StandbyPusher)
        if core.turn is Turn.ACTIVE and not serves and not self._ending:
            state = coordinator_pb2.PUSHER_STATE_CLAIMING
        return coordinator_pb2.PusherStatus(
            state=state,
            position=self._end() if serves and self._end is not None else log.position,
            log_id=log.log_id,
            epoch=core.epoch if serves else 0,
            known_epoch=core.known_epoch,
            note=note,
        )

    async def _claim(self, epoch: int) -> None:
        try:
            store = await self._log.claim(epoch, self._name)
        except DeposedError as error:
            self.feed(ClaimRefused(epoch, error.epoch))
        except (LogStoreError, OSError) as error:
            logger.error("epoch %d: can't claim the log: %s", epoch, error)
            self.feed(ClaimFailed(epoch, str(error)))
        else:
            if self._claimed is not None:
                await in_thread(self._claimed[1].close)
            self._claimed = (epoch, store)
            self.feed(Claimed(epoch))
            if self.core.turn is not Turn.ACTIVE or self.core.epoch != epoch:  # came too late
                self._claimed = None
                await in_thread(store.close)
                self._log.resume()

    # ---- who serves --------------------------------------------------------------------------------------------------

    async def _take_turns(self) -> None:
        """One part at a time, in the order in which the core said so; a turn that is over already is passed over."""
        while True:
            turn = await self._turns.get()
            while not self._turns.empty():
                turn = self._turns.get_nowait()
            if turn is None:
                return
            if isinstance(turn, BecomeActive) and turn.epoch == self.core.epoch and self.core.turn is Turn.ACTIVE:
                await self._go_on_as_active(turn.epoch)
            elif not isinstance(self._part, StandbyPusher):
                await self._go_on_as_standby()

    async def _go_on_as_active(self, epoch: int) -> None:
        claimed, self._claimed = self._claimed, None
        if claimed is None or claimed[0] != epoch:
            raise TurnBrokenError(f"active in epoch {epoch} without a claim")
        part, self._part = self._part, None
        if part is not None and not isinstance(part, StandbyPusher):
            await part.stop()
            part = None
        try:
            active = self._act(claimed[1], epoch)
        except LogStoreError as error:
            await in_thread(claimed[1].close)
            self._part = part
            in_force = error.epoch if isinstance(error, DeposedError) else epoch
            self.feed(Deposed(in_force, str(error)))
            await self._go_on_as_standby()
            return
        if part is not None:
            await part.stop()
        await active.start()
        self._part, self._end = active, lambda: active.store.ends().last
        self._link.say()
        self.background.start(self._watch(active, epoch), "looks after what serves")

    async def _go_on_as_standby(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            await part.stop()
        if self._claimed is None:
            await self._log.close()
            self._log = self._follow()
        await self._begin_to_stand_by()

    async def _begin_to_stand_by(self) -> None:
        self._part = part = await self._stand_by(self.core, self._log).start()
        self.background.start(self._watch(part, 0), "looks after what serves")

    async def _watch(self, part: StandbyPusher | ActivePart, epoch: int) -> None:
        """Steps down where another pusher has the log; any other end of a part is this process's."""
        await part.background.failed.wait()
        error = part.background.error
        if isinstance(error, DeposedError) and part is self._part:
            if epoch == self.core.epoch:
                self.feed(Deposed(error.epoch, str(error)))
        elif error is not None and part is self._part:
            self.background.end(error)
