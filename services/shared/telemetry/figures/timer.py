"""What reads all figures every so often, on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from services.shared.telemetry.figures.reading import NewestReading, Reading


class ReadingTimer:
    """Runs on the loop until it is closed; where there is none, it does nothing."""

    def __init__(self, read: Callable[[], Reading | None], newest: NewestReading) -> None:
        self._read, self._newest = read, newest
        self._timer: asyncio.TimerHandle | None = None
        with contextlib.suppress(RuntimeError):  # figures that are made outside of a loop
            self._loop = asyncio.get_running_loop()
            self._plan()

    def _plan(self) -> None:
        self._timer = self._loop.call_later(self._newest.interval_s, self._look)

    def _look(self) -> None:
        self._plan()
        if (reading := self._read()) is not None:
            self._newest.put(reading)

    def close(self) -> None:
        """It reads no more."""
        if self._timer is not None:
            self._timer.cancel()
