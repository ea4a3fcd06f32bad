"""What is known to be damaged in the log: whoever meets a damaged record, it is known from then on, and the whole log
is read through, slowly, so that damage is met before somebody needs the record; and what is kept of trimmed ids behind
it, so that it is met before an update comes again.

The newest records come from memory, and nodes that are up to date need no others: without this, a damaged log would be
found by the first node that was away for long.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from services.pusher.log.store import LogDamagedError, LogSealedError, LogStore, LogStoreError, NotInLogError

logger = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Store = TypeVar("Store", bound=LogStore)

#: The look takes about a millisecond of each second.
PIECE_BYTES: Final = 256 << 10
PIECE_PAUSE_S: Final = 1.0
#: From one look through the whole log to the next.
ROUND_PAUSE_S: Final = 60.0
#: Where the damage is not one record's, or a key is missing: so many are passed over.
_PASSED_OVER = 512


def notes_damage(
    method: Callable[Concatenate[Store, Parameters], Result],
) -> Callable[Concatenate[Store, Parameters], Result]:
    """For a store's methods: the damage that one meets is known from then on."""

    @functools.wraps(method)
    def noting(self: Store, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return method(self, *args, **kwargs)
        except LogDamagedError as error:
            self.damage.note(error)
            raise

    return noting


class LogCheck:
    """Reads the log through, piece by piece, round by round."""

    def __init__(
        self, store: LogStore, *, piece_pause_s: float = PIECE_PAUSE_S, round_pause_s: float = ROUND_PAUSE_S
    ) -> None:
        self._store = store
        self._piece_pause_s, self._round_pause_s = piece_pause_s, round_pause_s
        self._said = ""
        #: What this round could not open first, for want of a key.
        self._sealed = ""

    async def run(self) -> None:
        """For as long as the pusher runs."""
        while True:
            position, self._sealed = self._store.ends().first, ""
            while position <= self._store.ends().last:
                position = await self._look(position)
                await asyncio.sleep(self._piece_pause_s)
            self._store.damage.sealed = self._sealed
            for check in self._store.id_checks(PIECE_BYTES):
                await self._look_at_ids(check)
                await asyncio.sleep(self._piece_pause_s)
            await asyncio.sleep(self._round_pause_s)

    async def _look(self, position: int) -> int:
        """Reads a piece; returns where the next one begins."""
        try:
            run = await asyncio.to_thread(self._store.read, position, self._store.ends().last, PIECE_BYTES)
        except NotInLogError:  # trimmed meanwhile
            return max(position + 1, self._store.ends().first)
        except LogDamagedError as error:
            self._say(str(error))
            return error.position + 1 if error.position >= position else position + _PASSED_OVER
        except LogSealedError as error:
            if not self._sealed:
                self._sealed = self._store.damage.sealed = str(error)
                self._say(f"not all of the log can be read: {error}")
            return position + _PASSED_OVER
        except LogStoreError as error:
            self._say(f"the log can't be looked through: {error}; tries again")
            return position
        return run.last_position + 1

    async def _look_at_ids(self, check: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(check)
        except LogDamagedError as error:
            self._store.damage.note(error)
            self._say(str(error))

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            logger.error("%s", line)
