"""Whoever waits for a position: reports with a min_position, and comparisons of nodes."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from services.shared.domain.sentences import counted
from services.shared.serving.errors import OutOfRangeError, ResourceExhaustedError, UnavailableError

_ENDS = "the node is asked to end; ask another one"
#: Those who have gone are cleared away once they are more than this, and more than those who are there.
_GONE_KEPT = 64
_RETRY_S = 1.0
#: A wait for a position further than this beyond the known log end is refused: minutes of the fastest flow, so that it
#: is a client's mistake, which would hold its call until the deadline.
FAR_UPDATES = 10_000_000


def check_not_far(position: int, end: int) -> None:
    """Raises OutOfRangeError for a position that no log which ends there can have come to meanwhile."""
    if position > end + FAR_UPDATES:
        raise OutOfRangeError(
            f"position {position} is far beyond the log's end, {end}: ask for one of a receipt",
            reason="POSITION_FAR_BEYOND",
            field="min_position",
            value=str(position),
        )


class PositionWaiters:
    """Wakes each waiter once its position is reached."""

    def __init__(self, waiters_max: int, position: int = 0) -> None:
        """`waiters_max`: one more is refused."""
        self._waiters_max = waiters_max
        self._position = position
        self._ended = False
        #: (position, number, future), the lowest position first; some of those who have gone among them.
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._gone = 0
        self._numbers = itertools.count()

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self._waiting) - self._gone

    async def wait(self, position: int) -> None:
        """Returns once the position is reached.

        Raises:
            UnavailableError: The node ends.
            ResourceExhaustedError: Too many wait already.
        """
        if self._position >= position:
            return
        if self._ended:
            raise UnavailableError(_ENDS)
        if self.count >= self._waiters_max:
            raise ResourceExhaustedError(
                f"{counted(self.count, 'call waits', 'calls wait')} for a position already: try again, or another node",
                reason="TOO_MANY_WAITS",
                retry_after_s=_RETRY_S,
            )
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (position, next(self._numbers), waiter))
        try:
            await waiter
        finally:
            if waiter.cancelled():
                self._forget_one()

    def _forget_one(self) -> None:
        """One has gone. It stays in the heap until there are many: so each costs a constant time."""
        self._gone += 1
        if self._gone > max(_GONE_KEPT, self.count):
            self._waiting = [entry for entry in self._waiting if not entry[2].done()]
            heapq.heapify(self._waiting)
            self._gone = 0

    def reached(self, position: int) -> None:
        """The tree stands there now; back at 0 where the node began anew."""
        self._position = position
        while self._waiting and self._waiting[0][0] <= position:
            waiter = heapq.heappop(self._waiting)[2]
            if waiter.done():
                self._gone -= 1
            else:
                waiter.set_result(None)

    def end(self) -> None:
        """Whoever waits, or comes to wait, is told to ask elsewhere."""
        self._ended = True
        for _, _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(UnavailableError(_ENDS))
        self._waiting.clear()
        self._gone = 0
