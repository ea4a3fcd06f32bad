"""A clock that stands still until a test turns it."""

from __future__ import annotations

from collections.abc import Callable


class TurnedTimer:
    """A call to come."""

    def __init__(self, at_s: float, callback: Callable[[], object]) -> None:
        self.at_s = at_s
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """It does not come."""
        self.cancelled = True


class TurnedClock:
    """Calls whoever waits, in order, each at its own time, while it is turned past them."""

    def __init__(self, now_s: float = 100.0) -> None:
        self._now_s = now_s
        self._timers: list[TurnedTimer] = []

    def now_s(self) -> float:
        """Where it was turned to."""
        return self._now_s

    def call_at(self, at_s: float, callback: Callable[[], object]) -> TurnedTimer:
        """Comes when the clock is turned there."""
        self._timers.append(TurnedTimer(at_s, callback))
        return self._timers[-1]

    def turn(self, seconds: float) -> None:
        """Time passes for a process that is awake."""
        until_s = self._now_s + seconds
        while due := [timer for timer in self._timers if not timer.cancelled and timer.at_s <= until_s]:
            first = min(due, key=lambda timer: timer.at_s)
            self._timers.remove(first)
            self._now_s = max(self._now_s, first.at_s)
            first.callback()
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        self._now_s = until_s
