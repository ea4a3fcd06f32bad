"""Performs what the leadership core asks for: reads and writes the lease, and has a coordinator act or stand by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from services.coordinator.leadership.leadership import (
    MADE,
    Acquire,
    BecomeActive,
    Failed,
    Leadership,
    LeadershipAction,
    LeadershipEvent,
    Make,
    Overtaken,
    Read,
    Refused,
    Renew,
    Seen,
    StepDown,
    Written,
)
from services.coordinator.stores.lease import Lease
from services.coordinator.stores.store import StoreConflictError, StoreError
from services.shared.clock import Clock
from services.shared.cores import Tick
from services.shared.serving.background import Background
from services.shared.shell import CoreShell

logger = logging.getLogger(__name__)


class HeldLease(Protocol):
    """The lease; see LeaseStore."""

    async def read(self) -> Lease: ...

    async def make(self, holder: str) -> Lease: ...

    async def acquire(self, version: str) -> str: ...

    async def renew(self) -> str: ...

    async def give_up(self) -> None: ...

    async def close(self) -> None: ...


class Part(Protocol):
    """What serves while this coordinator acts, or stands by."""

    @property
    def background(self) -> Background:
        """Tells when it must not go on."""

    def looked(self, lease: Lease, unchanged_s: float) -> None:
        """The lease was read, and was the same for so long; while this part serves."""

    async def stop(self) -> None:
        """Ends it."""


#: Whether the part may act now; False for good once its turn is over.
MayAct = Callable[[], bool]


class LeadershipRunner(CoreShell[LeadershipEvent, LeadershipAction]):
    """One coordinator of several, as a service. `start` begins; it ends by `stop`, or where a part has a fault.

    Args:
        core: Decides.
        lease: What it decides about.
        clock: What the core goes by.
        act, stand_by: Make the part that serves from then on. `act` raises StoreError where it can't begin now.
    """

    def __init__(
        self,
        core: Leadership,
        lease: HeldLease,
        clock: Clock,
        act: Callable[[MayAct], Awaitable[Part]],
        stand_by: Callable[[], Awaitable[Part]],
    ) -> None:
        self.core, self.background = core, Background()
        super().__init__(core, clock, self.background, "taking turns")
        self._lease = lease
        self._act, self._stand_by = act, stand_by
        self._part: Part | None = None
        self._turns: asyncio.Queue[BecomeActive | StepDown] = asyncio.Queue()

    async def start(self) -> None:
        """Begins to stand by. Raises what the part raises that can't begin."""
        self._part = await self._stand_by()
        self.background.start(self._take_turns(), "takes turns")
        self.feed(Tick())

    async def stop(self) -> None:
        """Acts no more, then lets another one do so at once."""
        self.shut()
        await self.background.stop()
        if self._part is not None:
            await self._part.stop()
        try:
            await self._lease.give_up()
        except StoreError as error:
            logger.warning("the lease is not given up, and ends by itself: %s", error)
        await self._lease.close()

    def _perform(self, action: LeadershipAction) -> None:
        match action:
            case Read():
                self.background.start(self._see(self._lease.read), "reads the lease")
            case Make():
                self.background.start(self._see(lambda: self._lease.make(MADE)), "makes the lease")
            case Acquire(version):
                self.background.start(self._write(lambda: self._lease.acquire(version)), "takes the lease")
            case Renew():
                self.background.start(self._write(self._lease.renew), "renews the lease")
            case BecomeActive():
                logger.info("has the lease: becomes the active coordinator")
                self._turns.put_nowait(action)
            case StepDown(reason):
                logger.warning("is not the active coordinator any more: %s", reason)
                self._turns.put_nowait(action)

    async def _see(self, look: Callable[[], Awaitable[Lease]]) -> None:
        sent_at_s = self._clock.now_s()
        try:
            lease = await look()
        except StoreConflictError:
            self.feed(Refused())
        except StoreError as error:
            self._fail(error)
        else:
            self.feed(Seen(lease.version, lease.holder, lease.lease_s, lease.address))
            if self._part is not None and lease.version:
                self._part.looked(lease, self.core.unchanged_s(sent_at_s))

    async def _write(self, write: Callable[[], Awaitable[str]]) -> None:
        sent_at_s = self._clock.now_s()
        try:
            version = await write()
        except StoreConflictError:
            self.feed(Refused())
        except StoreError as error:
            self._fail(error)
        else:
            self.feed(Written(version, sent_at_s))

    def _fail(self, error: StoreError) -> None:
        if str(error) != self.core.problem:
            logger.warning("%s", error)
        self.feed(Failed(str(error)))

    # ---- who serves --------------------------------------------------------------------------------------------------

    async def _take_turns(self) -> None:
        """One part at a time, in the order in which the core said so; a turn that is over already is passed over."""
        while True:
            turn = await self._turns.get()
            while not self._turns.empty():
                turn = self._turns.get_nowait()
            if self._part is not None:
                part, self._part = self._part, None
                await part.stop()
            term = self.core.term
            if isinstance(turn, BecomeActive) and self._may_act(term):
                try:
                    self._part = await self._act(lambda term=term: self._may_act(term))  # type: ignore[misc]
                except StoreError as error:
                    self.feed(Overtaken(str(error)))
            if self._part is None:
                self._part = await self._stand_by()
            self.background.start(self._watch(self._part, term), "looks after what serves")

    def _may_act(self, term: int) -> bool:
        return term == self.core.term and not self._closed and self.core.may_act(self._clock.now_s())

    async def _watch(self, part: Part, term: int) -> None:
        """Steps down where the active part can't go on, because another one writes; any other end of it is ours."""
        await part.background.failed.wait()
        error = part.background.error
        if isinstance(error, StoreConflictError) and part is self._part:
            if term == self.core.term:
                self.feed(Overtaken(str(error)))
        elif error is not None:
            self.background.end(error)
