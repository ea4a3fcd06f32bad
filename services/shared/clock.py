"""The time that a shell tells its core, the timer that wakes it, and what may be decided by which clock.

| clock | what it is good for |
|---|---|
| monotonic (`Clock`) | waits, leases, time-outs: it never jumps, and means nothing in another process |
| running time (`RunningTime`) | ages on disk: how long something has been kept while the process ran |
| wall clock | what people read; never for what can't be taken back |
| settled wall clock (`SettledWallClock`) | what the calendar decides, such as that a day is over |

A wall clock is set by hand, by a virtual machine that wakes up, by a time server that is wrong for two minutes. So an
age is never a difference of two of its readings, and a date that matters is believed only after it has kept step with
the monotonic clock for a while.
"""

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


class RunningTime:
    """Seconds of an age that outlives processes: grows with the monotonic clock alone, from where the last one kept it.

    The time between two processes does not count: nobody can say how long that was. So it is never too much, whatever
    the wall clock did, and it never stands still while a process runs.
    """

    def __init__(self, kept_s: float = 0.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`kept_s`: what the process before had come to, as far as it was kept."""
        self._monotonic = monotonic
        self._base_s = kept_s - monotonic()

    def now_s(self) -> float:
        """How far it is now."""
        return self._base_s + self._monotonic()


class SettledWallClock:
    """Wall-clock time that is believed once it has kept step with the monotonic clock for `settle_s`.

    A step of the wall clock is followed only when it has lasted for so long; until then the time goes on as before it.
    It is told both clocks now and then (`note`); what happens between two tellings is not seen, so a telling every few
    seconds is what it takes to see a step that is taken back.
    """

    #: How long a step has to last before it is believed, in seconds.
    SETTLE_S = 600.0
    #: The two clocks may drift apart by so much from one telling to the next, in seconds: a time server that slews.
    DRIFT_MAX_S = 2.0

    def __init__(self, settle_s: float = SETTLE_S) -> None:
        self._settle_s = settle_s
        #: Wall clock less monotonic clock: as it is believed (None before anything is), and as it was told last.
        self._believed_s: float | None = None
        self._told_s: float | None = None
        #: Since when, by the monotonic clock, what was told has been one and the same.
        self._told_since_s = 0.0

    def note(self, wall_s: float, monotonic_s: float) -> float | None:
        """Both clocks as they are now. Returns the time that may be believed, in seconds since 1970; None: none yet."""
        offset_s = wall_s - monotonic_s
        if self._told_s is None or abs(offset_s - self._told_s) > self.DRIFT_MAX_S:
            self._told_since_s = monotonic_s
        self._told_s = offset_s
        if monotonic_s - self._told_since_s >= self._settle_s:
            self._believed_s = offset_s
        return None if self._believed_s is None else monotonic_s + self._believed_s
