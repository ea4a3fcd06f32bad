"""Tasks that run for as long as the pusher does. One that fails ends the process: there is no half a pusher."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Background:
    """Starts tasks, and notices when one fails."""

    def __init__(self) -> None:
        #: Set once a task has failed; `error` says how.
        self.failed = asyncio.Event()
        self.error: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs it. It may end by itself, or be cancelled; any other exception counts as a failure of the process."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self.error = task.exception()
        logger.critical("%s failed", task.get_name(), exc_info=self.error)
        self.failed.set()

    async def stop(self) -> None:
        """Cancels what still runs, and waits for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
