"""The file of members who want no messages: one a line, with a channel behind a tab or without.

    10420
    10421<tab>sms

It counts as a whole: a file with a fault in it is told, and the one before goes on to count.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from services.shared.domain.members import id_problem
from services.shared.domain.sentences import quoted, system_words
from services.shared.files.watched_folder import look_of

logger = logging.getLogger(__name__)
LINES_MAX: Final = 5_000_000
_LINE_BYTES_MAX: Final = 1_000


class OptOutsError(ValueError):
    """A file that can't count: one line with the place and the mend."""


def read_opt_outs(path: Path, channels: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Members and channels, "" for all of them. Blocks. Raises OptOutsError, OSError."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LINE_BYTES_MAX + 1):
            number += 1
            if number > LINES_MAX or len(line) > _LINE_BYTES_MAX:
                raise OptOutsError(
                    f"line {number}: a file has {LINES_MAX:,} lines of {_LINE_BYTES_MAX:,} bytes at most"
                )
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise OptOutsError(f"line {number}: it is not UTF-8: save it as UTF-8") from None
            if not text.strip() or text.startswith("#"):
                continue
            member_id, _, channel = (part.strip() for part in text.partition("\t"))
            if problem := id_problem(member_id):
                raise OptOutsError(f"line {number}: {problem}")
            if channel and channel not in channels:
                raise OptOutsError(
                    f"line {number}: there is no channel {quoted(channel)}: {', '.join(sorted(channels))}"
                )
            yield member_id, channel


class OptOutFile:
    """Watches the file. `changed`: is given it when it is another one; raises as `read_opt_outs`."""

    def __init__(self, path: Path, poll_s: float, changed: Callable[[Path], Awaitable[None]]) -> None:
        self._path, self._poll_s, self._changed = path, poll_s, changed
        self._taken: tuple[int, ...] | None = None
        #: Why it does not count as it is; empty: it does.
        self.problem = ""

    async def take(self) -> None:
        """Takes it as it is now. Raises OptOutsError, OSError."""
        look = look_of(await asyncio.to_thread(self._path.stat))
        await self._changed(self._path)
        self._taken, self.problem = look, ""

    async def watch(self) -> None:
        """On and on: takes it once it has changed, and has not gone on to change since the last look."""
        seen = self._taken
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                look = look_of(await asyncio.to_thread(self._path.stat))
                if look == seen and look != self._taken:
                    await self.take()
                    logger.info("%s counts as it is now", self._path)
                seen = look
            except (OptOutsError, OSError) as error:
                said = f"{self._path}: {system_words(error) if isinstance(error, OSError) else error}"
                if said != self.problem:
                    logger.error("%s; the one before goes on to count", said)
                self.problem = said
                self._taken = seen if isinstance(error, OptOutsError) else self._taken
