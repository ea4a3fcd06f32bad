"""ReadLog: records to who asks for them, from memory or disk, as the bytes that are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from services.pusher.log.frames import Run
from services.pusher.log.store import LogDamagedError, LogSealedError, NotInLogError
from services.pusher.log.tail import LogTail
from services.shared.serving.errors import DataLossError, FailedPreconditionError, OutOfRangeError

_BYTES_MAX = 1 << 20


class LogReading:
    """Reads runs, and waits for new ones."""

    def __init__(self, tail: LogTail) -> None:
        self._tail = tail
        #: Set, and replaced by a new one, on each new run.
        self._grown = asyncio.Event()

    def added(self, run: Run) -> None:
        """There are new records."""
        self._grown.set()
        self._grown = asyncio.Event()

    async def follow(self, first_position: int, last_position: int) -> AsyncIterator[bytes]:
        """Frames from `first_position` to `last_position`, as encoded ReadLogResponses; 0: on and on as they come.

        Raises:
            OutOfRangeError: A position is no longer, or not yet, in the log.
            DataLossError: A record is damaged; those before it were given.
            FailedPreconditionError: A record is sealed, and its key is not here.
        """
        ends = self._tail.ends
        endless = last_position == 0
        if not ends.first <= first_position <= ends.last + (1 if endless else 0):
            raise _not_there(first_position, "first_position", ends.first, ends.last)
        if not endless and not first_position <= last_position <= ends.last:
            raise _not_there(last_position, "last_position", first_position, ends.last)
        position = first_position
        while endless or position <= last_position:
            grown = self._grown
            if position > self._tail.ends.last:
                await grown.wait()
                continue
            run = await self._read(position, last_position or self._tail.ends.last)
            yield run.data
            position = run.last_position + 1

    async def _read(self, first_position: int, last_position: int) -> Run:
        try:
            return await self._tail.read(first_position, last_position, _BYTES_MAX)
        except NotInLogError as error:
            raise OutOfRangeError(str(error), field="first_position", value=str(first_position)) from error
        except LogSealedError as error:
            raise FailedPreconditionError(str(error), reason="LOG_SEALED") from error
        except LogDamagedError as error:
            if error.position <= first_position:
                raise DataLossError(str(error), reason="LOG_DAMAGED") from error
            return await self._read(first_position, error.position - 1)


def _not_there(position: int, field: str, first: int, last: int) -> OutOfRangeError:
    return OutOfRangeError(
        f"{field} {position} is not in the log: ask for {first} to {last}", field=field, value=str(position)
    )
