"""Lets pushes wait for nodes: the shell of the acknowledgement core (`acks.py`)."""

from __future__ import annotations

import asyncio
import itertools
import time

from services.pusher.admission.acks import (
    AckEvent,
    AckRange,
    Acks,
    KnownOutcome,
    NodeHealth,
    WaitBegun,
    WaitGivenUp,
    WaitOver,
)
from services.pusher.fanout.progress import NodeReplication
from services.shared.cores import Tick

_TICK_S = 0.05


class AckDesk:
    """Waits for nodes to confirm positions."""

    def __init__(self, position: int) -> None:
        """`position`: the log's end at the start."""
        self._acks = Acks(position=position)
        self._tickets = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bool]] = {}

    def reached(self, last_position: int, ack_range: AckRange) -> bool:
        """Whether nodes confirmed everything up to `last_position` already."""
        return last_position <= self._acks.level(ack_range)

    async def wait(self, last_position: int, ack_range: AckRange, timeout_s: float) -> bool:
        """Whether nodes confirmed everything up to `last_position` in time."""
        if self.reached(last_position, ack_range):
            return True
        ticket = next(self._tickets)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = done
        self._handle(WaitBegun(ticket, last_position, ack_range, time.monotonic() + timeout_s))
        try:
            return await done
        finally:
            self._waiting.pop(ticket, None)
            self._handle(WaitGivenUp(ticket))

    def outcome(self, position: int) -> KnownOutcome:
        """What the nodes made of an update, as far as it is known."""
        return self._acks.outcome(position)

    def confirmed(self, event: AckEvent) -> None:
        """A node confirmed a position."""
        self._handle(event)

    def node_changed(self, address: str, node: NodeReplication | None) -> None:
        """A node is in step or not, or gone from the cluster."""
        healthy = node is not None and node.in_step
        self._handle(NodeHealth(address, healthy, node.applied_position if node is not None else 0))

    async def run(self) -> None:
        """Ends waits whose time is over; for as long as the pusher runs."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._handle(Tick())

    def _handle(self, event: AckEvent) -> None:
        self._finish(self._acks.handle(event, time.monotonic()))

    def _finish(self, over: list[WaitOver]) -> None:
        for wait in over:
            done = self._waiting.pop(wait.ticket, None)
            if done is not None and not done.done():
                done.set_result(wait.reached)
