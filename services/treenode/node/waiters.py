"""Whoever waits for a position: reports with a min_position, and comparisons of nodes."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from services.shared.serving.errors import UnavailableError

_ENDS = "the node is asked to end; ask another one"


class PositionWaiters:
    """Wakes each waiter once its position is reached."""

    def __init__(self, position: int = 0) -> None:
        self._position = position
        self._ended = False
        #: (position, number, future), the lowest position first.
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def wait(self, position: int) -> None:
        """Returns once the position is reached. Raises UnavailableError if the node ends."""
        if self._position >= position:
            return
        if self._ended:
            raise UnavailableError(_ENDS)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (position, next(self._numbers), waiter))
        try:
            await waiter
        finally:
            if waiter.cancelled():
                self._waiting = [entry for entry in self._waiting if not entry[2].done()]
                heapq.heapify(self._waiting)

    def reached(self, position: int) -> None:
        """The tree stands there now; back at 0 where the node began anew."""
        self._position = position
        while self._waiting and self._waiting[0][0] <= position:
            waiter = heapq.heappop(self._waiting)[2]
            if not waiter.done():
                waiter.set_result(None)

    def end(self) -> None:
        """Whoever waits, or comes to wait, is told to ask elsewhere."""
        self._ended = True
        for _, _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(UnavailableError(_ENDS))
        self._waiting.clear()
