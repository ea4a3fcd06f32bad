"""Lines to whoever listens. One who reads too slowly loses lines, and is told how many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from services.shared.domain.sentences import counted

#: Lines that wait for one follower.
FOLLOWER_LINES_MAX = 2_000
FOLLOWERS_MAX = 50


class TooManyFollowersError(Exception):
    """No more may follow at the same time."""


class Broadcast:
    """Lines to whoever listens now."""

    def __init__(self) -> None:
        self._followers: list[_Follower] = []

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._followers)

    @property
    def spare_lines(self) -> int:
        """Lines that the least patient listener still takes."""
        return min((FOLLOWER_LINES_MAX - follower.lines.qsize() for follower in self._followers), default=0)

    def tell(self, line: str) -> None:
        """One line, without its end."""
        for follower in self._followers:
            follower.tell(line)

    def skipped(self, count: int) -> None:
        """So many lines were not even made."""
        for follower in self._followers:
            follower.skipped += count

    async def follow(self) -> AsyncGenerator[str, None]:
        """Lines as they come, on and on.

        Raises:
            TooManyFollowersError: FOLLOWERS_MAX do already.
        """
        if len(self._followers) >= FOLLOWERS_MAX:
            raise TooManyFollowersError(f"{FOLLOWERS_MAX} follow already; try again later")
        follower = _Follower()
        self._followers.append(follower)
        try:
            while True:
                yield await follower.lines.get()
        finally:
            self._followers.remove(follower)


class _Follower:
    def __init__(self) -> None:
        self.lines: asyncio.Queue[str] = asyncio.Queue(FOLLOWER_LINES_MAX)
        self.skipped = 0

    def tell(self, line: str) -> None:
        if self.lines.qsize() >= FOLLOWER_LINES_MAX - 1:
            self.skipped += 1
            return
        if self.skipped:
            self.lines.put_nowait(f"… {counted(self.skipped, 'line')} skipped")
            self.skipped = 0
        self.lines.put_nowait(line)
