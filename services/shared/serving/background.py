"""Tasks that run for as long as a process does. One that fails ends the process: there is no half a service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Background:
    """Starts named tasks, and notices when one fails."""

    def __init__(self) -> None:
        #: Set once the process must not go on.
        self.failed = asyncio.Event()
        #: What failed first, and the line that is told of it at the end.
        self.error: BaseException | None = None
        self.reason = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs it. It may end by itself, or be cancelled; any other exception counts as a failure of the process."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def fail(self, error: BaseException, what: str) -> None:
        """A defect: the process must not go on."""
        logger.critical("%s failed", what, exc_info=error)
        self._end(error, f"ended by a fault of its own: {error}")

    def end(self, error: BaseException) -> None:
        """The process must not go on, by no fault of its own; the error's text says why."""
        self._end(error, str(error))

    def _end(self, error: BaseException, reason: str) -> None:
        if self.error is None:
            self.error, self.reason = error, reason
        self.failed.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error, task.get_name())

    async def stop(self) -> None:
        """Cancels what still runs, and waits for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
