"""The journal's own thread: calls are made one after another, and their results come in that order."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from services.datatrax.messages.journal import Journal
from services.shared.serving.errors import ResourceExhaustedError

logger = logging.getLogger(__name__)
#: Between two tries while the disk is full, in seconds.
_AGAIN_S = 1.0

Asked = ParamSpec("Asked")
Result = TypeVar("Result")


class JournalThread:
    """Use `call(journal.load, …)`."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        #: Why the journal can't be written now; empty: it can, as far as is known.
        self.problem = ""

    async def call(self, function: Callable[Asked, Result], *args: Asked.args, **kwargs: Asked.kwargs) -> Result:
        """What it returns. Raises ResourceExhaustedError where the disk is full or fails."""

        def work() -> Result:
            try:
                return function(*args, **kwargs)
            except sqlite3.OperationalError as error:
                raise self.journal.told(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def patiently(self, function: Callable[Asked, Result], *args: Asked.args, **kwargs: Asked.kwargs) -> Result:
        """The same, tried until it can be done."""
        while True:
            try:
                result = await self.call(function, *args, **kwargs)
            except ResourceExhaustedError as error:
                if not self.problem:
                    logger.error("%s; tries again", error)
                self.problem = str(error)
                await asyncio.sleep(_AGAIN_S)
            else:
                self.problem = ""
                return result

    def close(self) -> None:
        """After what is under way. Blocks."""
        self._thread.shutdown()
        self.journal.close()
