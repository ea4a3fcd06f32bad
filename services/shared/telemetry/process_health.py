"""What holds a process up: garbage collection, and whatever else keeps its event loop from its turn."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections import deque
from typing import Any

#: Of a loop's delays and the collector's pauses, the longest of so many seconds is told.
WINDOW_S = 60.0
_LOOK_S = 0.25


class Longest:
    """The largest of the last minute: in six parts, so that nothing is kept for each."""

    _PARTS = 6

    def __init__(self) -> None:
        self._parts: deque[float] = deque([0.0] * self._PARTS, self._PARTS)
        self._begun_s = time.monotonic()

    def note(self, value: float) -> None:
        """One more."""
        self._turn()
        if value > self._parts[-1]:
            self._parts[-1] = value

    @property
    def value(self) -> float:
        """The largest."""
        self._turn()
        return max(self._parts)

    def _turn(self) -> None:
        passed = int((time.monotonic() - self._begun_s) / (WINDOW_S / self._PARTS))
        if passed:
            self._parts.extend([0.0] * min(passed, self._PARTS))
            self._begun_s += passed * WINDOW_S / self._PARTS


class GarbageWatch:
    """How long garbage collection stopped this process; one for all that ask."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self.runs = 0
        self.longest = Longest()
        self._begun_s = 0.0
        gc.callbacks.append(self._hear)

    def _hear(self, phase: str, info: dict[str, Any]) -> None:
        now_s = time.perf_counter()
        if phase == "start":
            self._begun_s = now_s
            return
        took_s = now_s - self._begun_s
        self.total_s += took_s
        self.runs += 1
        self.longest.note(took_s)


class LoopWatch:
    """How long the event loop kept a timer waiting. Runs on the loop until it is closed."""

    def __init__(self) -> None:
        self.longest = Longest()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        with contextlib.suppress(RuntimeError):  # figures that are made outside of a loop have none
            self._loop = asyncio.get_running_loop()
            self._plan()

    def _plan(self) -> None:
        assert self._loop is not None
        self._due_s = self._loop.time() + _LOOK_S
        self._timer = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        assert self._loop is not None
        self.longest.note(max(0.0, self._loop.time() - self._due_s))
        self._plan()

    def close(self) -> None:
        """It looks no more."""
        if self._timer is not None:
            self._timer.cancel()


#: Of this process.
GARBAGE = GarbageWatch()
