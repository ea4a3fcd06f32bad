"""Performs what the turn's core asks for: claims, and has a pusher take pushes or stand by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

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
from services.pusher.leadership.standby import FollowedLog, Standby
from services.pusher.lineage.runner import LineageRunner
from services.pusher.log.fencing.fence import LogElsewhereError
from services.pusher.log.store import DeposedError, LogStore, LogStoreError
from services.pusher.ports import PusherPorts
from services.shared.clock import Clock
from services.shared.files.threads import in_thread
from services.shared.serving.background import Background
from services.shared.shell import CoreShell

logger = logging.getLogger(__name__)


class ActivePart(Protocol):
    """The pusher that takes pushes; see `services/pusher/app.py`."""

    store: LogStore
    background: Background
    lineage: LineageRunner

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class PusherTurns(CoreShell[TurnEvent, TurnAction]):
    """One pusher of several, as a service.

    Args:
        name: This pusher's.
        clock: What the core goes by.
        ports: Stay open whoever serves; not yet.
        follow: Makes what follows the log, anew for each time of standing by.
        stand_by: Makes what answers meanwhile.
        act: Makes the pusher over a log that is claimed, under that epoch; raises LogStoreError. Blocks.
        link: Makes the link to the coordinator.
        hosts: Keeps the list of nodes that the next part begins with.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        ports: PusherPorts,
        follow: Callable[[], FollowedLog],
        stand_by: Callable[[PusherTurn, Callable[[], FollowedLog], Callable[[], str]], Standby],
        act: Callable[[LogStore, int], ActivePart],
        link: Callable[[Callable[[], coordinator_pb2.PusherStatus], Callable[[Told], None]], CoordinatorLink],
        hosts: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.core, self.background = PusherTurn(clock.now_s()), Background()
        super().__init__(self.core, clock, self.background, "taking turns")
        self._name, self.ports = name, ports
        self._follow, self._act, self._keep_hosts = follow, act, hosts
        self._link = link(self._status, self.feed)
        #: host:port at which others reach it.
        self.address = self._link.address
        self._log = follow()
        self._standby = stand_by(self.core, lambda: self._log, lambda: self._link.refusal)
        #: Reads on in the log, while it stands by.
        self._following: asyncio.Task[None] | None = None
        self._active: ActivePart | None = None
        #: What was claimed, by its epoch, until somebody has taken it.
        self._claimed: tuple[int, LogStore] | None = None
        #: Why the last claim came to nothing, as the log has it; empty where it was taken.
        self._claim_problem = ""
        #: Why the coordinator would not make it active, as it was said last.
        self._unfit = ""
        #: The end of the log that an active part writes.
        self._end: Callable[[], int] | None = None
        #: None: there are no more.
        self._turns: asyncio.Queue[BecomeActive | StepDown | None] = asyncio.Queue()
        self._turning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to stand by. Raises OSError where a port is taken."""
        self.ports.serve(self._standby.answering)
        await self.ports.start()
        self._begin_to_follow()
        self._turning = self.background.start(self._take_turns(), "takes turns")
        self.background.start(self._link.run(), "keeps the lease")
        self.background.start(self._keep_hosts(), "keeps the list of nodes")

    async def stop(self) -> None:
        """Says so, ends what it serves, then lets the log go."""
        self.shut()
        self._standby.is_ending = True
        self._link.say()
        self.ports.serve(self._standby.answering)
        if self._turning is not None:
            # To the end of the turn: half of one would leave a part that nobody stops.
            self._turns.put_nowait(None)
            await asyncio.wait([self._turning])
        await self._stop_serving()
        await self.ports.stop(0.0)
        await self.background.stop()
        self._standby.answering.metrics.close()
        await self._log.close()
        if self._claimed is not None:
            await in_thread(self._claimed[1].close)

    def _performed(self) -> None:
        """Calls wait while this pusher is about to be active; what the coordinator holds against it is said once."""
        if self.core.unfit != self._unfit:
            self._unfit = self.core.unfit
            if self._unfit:
                logger.error("can't be made active: %s", self._unfit)
        turn = self.core.turn
        if (turn is Turn.CLAIMING and not self.core.problem) or (turn is Turn.ACTIVE and self._active is None):
            self.ports.hold()
        else:
            self.ports.let_go()

    def _perform(self, action: TurnAction) -> None:
        match action:
            case Claim(epoch):
                self.background.start(self._claim(epoch), "claims the log")
            case BecomeActive(epoch):
                logger.info("epoch %d: becomes the active pusher", epoch)
                self._turns.put_nowait(action)
            case StepDown(reason):
                logger.warning("is not the active pusher any more: %s", reason)
                self.ports.serve(self._standby.answering)
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
        if self._closed:
            state = coordinator_pb2.PUSHER_STATE_DRAINING
        elif core.problem or (core.turn is Turn.STANDBY and log.problem):
            state = coordinator_pb2.PUSHER_STATE_UNFIT
        serves = core.turn is Turn.ACTIVE and self._active is not None
        if core.turn is Turn.ACTIVE and not serves and not self._closed:
            state = coordinator_pb2.PUSHER_STATE_CLAIMING
        in_force = self._active.lineage.in_force if serves and self._active is not None else ""
        return coordinator_pb2.PusherStatus(
            state=state,
            position=self._end() if serves and self._end is not None else log.position,
            log_id=in_force or log.log_id,
            log_in_force=bool(in_force),
            replaced_log_ids=self._active.store.replaced_log_ids if in_force and self._active else log.replaced_log_ids,
            epoch=core.epoch if serves else 0,
            known_epoch=core.known_epoch,
            note=note,
        )

    async def _claim(self, epoch: int) -> None:
        try:
            store = await self._log.claim(epoch, self._name)
        except (LogStoreError, OSError) as error:
            self._did_not_claim(epoch, error)
        else:
            self._claim_problem = ""
            if self._claimed is not None:
                await in_thread(self._claimed[1].close)
            self._claimed = (epoch, store)
            self.feed(Claimed(epoch))
            if self.core.turn is not Turn.ACTIVE or self.core.epoch != epoch:  # came too late
                self._claimed = None
                await in_thread(store.close)
                self._log.resume()

    def _did_not_claim(self, epoch: int, error: LogStoreError | OSError) -> None:
        """It is tried again at once, by the core or the coordinator: what is wrong is said where it changes."""
        if str(error) != self._claim_problem:
            self._claim_problem = str(error)
            logger.error("epoch %d: can't claim the log: %s", epoch, error)
        if isinstance(error, DeposedError) and not isinstance(error, LogElsewhereError):
            self.feed(ClaimRefused(epoch, error.epoch))
        else:  # another one's epoch would not do either
            self.feed(ClaimFailed(epoch, str(error)))

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
            elif self._following is None:
                await self._go_on_as_standby()

    async def _go_on_as_active(self, epoch: int) -> None:
        claimed, self._claimed = self._claimed, None
        if claimed is None or claimed[0] != epoch:
            raise TurnBrokenError(f"active in epoch {epoch} without a claim")
        await self._stop_serving()
        claimed[1].doubted = bool(self.core.unfit)
        try:
            active = self._act(claimed[1], epoch)
        except LogStoreError as error:
            await in_thread(claimed[1].close)
            in_force = error.epoch if isinstance(error, DeposedError) else epoch
            self.feed(Deposed(in_force, str(error)))
            await self._go_on_as_standby()
            return
        await self._stop_following()
        await active.start()
        self._active, self._end = active, lambda: active.store.ends().last
        self._performed()
        self._link.say()
        self.background.start(self._watch(active, epoch), "looks after what serves")

    async def _go_on_as_standby(self) -> None:
        await self._stop_serving()
        await self._stop_following()
        if self._claimed is None:
            await self._log.close()
            self._log = self._follow()
        self._begin_to_follow()

    def _begin_to_follow(self) -> None:
        self._following = self.background.start(self._log.run(), "follows the log")

    async def _stop_following(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])

    async def _stop_serving(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            await active.stop()

    async def _watch(self, active: ActivePart, epoch: int) -> None:
        """Steps down where another pusher has the log; any other end of a part is this process's."""
        await active.background.failed.wait()
        error = active.background.error
        if isinstance(error, DeposedError) and active is self._active:
            if epoch == self.core.epoch:
                self.feed(Deposed(error.epoch, str(error)))
        elif error is not None and active is self._active:
            self.background.end(error)
