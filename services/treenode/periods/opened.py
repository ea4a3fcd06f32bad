"""The states that are open: mapped when a report needs them, so many at once, the one longest not asked for given up.

Whoever has one keeps it from being given up; where all are had, the next one waits. All of it is used on the event
loop; files are opened in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from services.shared.serving.errors import ResourceExhaustedError

KeyT = TypeVar("KeyT")
T = TypeVar("T")

#: After which a call that was refused may find room, in seconds.
RETRY_S = 1.0


class _Place(Generic[T]):
    """One that is open, or being opened."""

    def __init__(self, opening: asyncio.Future[T]) -> None:
        self.opening = opening
        self.users = 0


class Opened(Generic[KeyT, T]):
    """What was opened, by key."""

    def __init__(self, open_max: int, waiting_max: int, open_one: Callable[[KeyT], T]) -> None:
        """`open_one`: blocks, and is called in a thread. `waiting_max`: calls that wait for a place; one more is
        refused."""
        self._open_max, self._waiting_max = open_max, waiting_max
        self._open_one = open_one
        #: The one longest not asked for first.
        self._places: OrderedDict[KeyT, _Place[T]] = OrderedDict()
        self._waiting = 0
        #: Set, and another one put in its place, when somebody lets one go.
        self._freed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._places)

    @contextlib.asynccontextmanager
    async def use(self, key: KeyT) -> AsyncIterator[T]:
        """The one of that key, opened if it is not; nobody gives it up meanwhile.

        Raises:
            ResourceExhaustedError: Too many wait already.
            Exception: Whatever `open_one` raises; it is tried anew with the next call.
        """
        place = await self._place_of(key)
        place.users += 1
        self._places.move_to_end(key)
        try:
            try:
                opened = await asyncio.shield(place.opening)
            except Exception:
                if self._places.get(key) is place:
                    del self._places[key]
                raise
            yield opened
        finally:
            place.users -= 1
            self._tell_freed()

    async def _place_of(self, key: KeyT) -> _Place[T]:
        while (place := self._places.get(key)) is None:
            if len(self._places) < self._open_max or self._give_one_up():
                opening = asyncio.ensure_future(asyncio.to_thread(self._open_one, key))
                opening.add_done_callback(_look_at)
                place = self._places[key] = _Place(opening)
                break
            if self._waiting >= self._waiting_max:
                raise ResourceExhaustedError(
                    f"{self._waiting} reports wait for a closed period to be opened already: try again",
                    reason="TOO_MANY_PERIODS_OPEN",
                    retry_after_s=RETRY_S,
                )
            self._waiting += 1
            try:
                await self._freed.wait()
            finally:
                self._waiting -= 1
        return place

    def _give_one_up(self) -> bool:
        idle = next((key for key, place in self._places.items() if not place.users), None)
        if idle is None:
            return False
        del self._places[idle]
        return True

    def _tell_freed(self) -> None:
        self._freed.set()
        self._freed = asyncio.Event()


def _look_at(opening: asyncio.Future[T]) -> None:
    """Whoever asked may be gone: its exception is not "never retrieved"."""
    if not opening.cancelled():
        opening.exception()
