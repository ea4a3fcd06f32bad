"""How fast letters may go, and how fast they went."""

from __future__ import annotations

from collections import deque

#: A shell that is late by so much catches up, in seconds; the pace is that much slower, so that the limit holds.
_LATE_S = 1.0
_MINUTE_S = 60.0


class Pace:
    """At most so many in any minute, evenly. The first one comes after a wait, so that a restart brings no more either.

    Args:
        limit_a_minute: 0: no limit.
    """

    def __init__(self, limit_a_minute: int, now_s: float) -> None:
        self._spacing_s = (_MINUTE_S + _LATE_S) / limit_a_minute if limit_a_minute else 0.0
        #: When the next one may go.
        self.due_s = now_s + self._spacing_s

    def take(self, now_s: float) -> None:
        """One goes, at `due_s` or later."""
        self.due_s = max(self.due_s, now_s - _LATE_S) + self._spacing_s


class Rate:
    """How many in the last minute."""

    def __init__(self) -> None:
        #: Seconds, and how many in each.
        self._seconds: deque[tuple[int, int]] = deque()

    def add(self, now_s: float) -> None:
        """One more."""
        second = int(now_s)
        if self._seconds and self._seconds[-1][0] == second:
            second, count = self._seconds.pop()
            self._seconds.append((second, count + 1))
        else:
            self._seconds.append((second, 1))
            self._forget(now_s)

    def a_minute(self, now_s: float) -> float:
        """The last minute's; of a shorter time, what a minute would bring."""
        self._forget(now_s)
        if not self._seconds:
            return 0.0
        over_s = min(max(now_s - self._seconds[0][0], 1.0), _MINUTE_S)
        return sum(count for _, count in self._seconds) * _MINUTE_S / over_s

    def _forget(self, now_s: float) -> None:
        while self._seconds and self._seconds[0][0] < now_s - _MINUTE_S:
            self._seconds.popleft()
