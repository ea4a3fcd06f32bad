"""The time that a shell tells its core, and the timer that wakes it: given at construction, for tests to turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call to come."""

    def cancel(self) -> None:
        """It does not come."""


class Clock(Protocol):
    """Seconds of one monotonic clock."""

    def now_s(self) -> float:
        """The time now."""

    def call_at(self, at_s: float, callback: Callable[[], object]) -> Timer:
        """Calls at that time, or as soon as can be where it has passed; never before this returns."""


class MonotonicClock:
    """The machine's clock, and timers of the running event loop."""

    def now_s(self) -> float:
        """As `time.monotonic`."""
        return time.monotonic()

    def call_at(self, at_s: float, callback: Callable[[], object]) -> Timer:
        """A timer of the loop: late rather than early."""
        return asyncio.get_running_loop().call_later(max(0.0, at_s - time.monotonic()), callback)
