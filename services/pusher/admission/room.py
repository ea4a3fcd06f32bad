"""Looks for room after a push found none: nobody has to push for the pusher to be ready again."""

from __future__ import annotations

import asyncio
from typing import Final

from services.pusher.admission.events import RoomFound
from services.pusher.admission.runner import AdmissionRunner
from services.pusher.log.store import LogStore, LogStoreError
from services.pusher.log.writer import LogWriter

#: How often, in seconds.
LOOK_S: Final = 2.0


class RoomWatch:
    """While the log is full, tries now and then whether it still is."""

    def __init__(self, store: LogStore, writer: LogWriter, admission: AdmissionRunner) -> None:
        self._store, self._writer, self._admission = store, writer, admission

    async def run(self) -> None:
        """For as long as the pusher runs."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """One try, where the log is full."""
        if not self._admission.core.full:
            return
        try:
            await self._writer.run(self._store.try_room)
        except LogStoreError:
            return  # the push that found it out has said so
        self._admission.handle(RoomFound())
