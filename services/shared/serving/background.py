"""Tasks that run for as long as a process does. One that fails ends the process: there is no half a service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)
#: How long a task may take to end before it is cancelled once more, in seconds.
_CANCELLED_AGAIN_S = 1.0


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
        """Cancels what still runs, and waits for its end.

        More than once: a call of grpcio that fails in the moment in which its task is cancelled tells of its failure
        alone, and whoever makes it again goes on.
        """
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_CANCELLED_AGAIN_S)
