"""Looks for room after a push found none, or no right: nobody has to push for the pusher to be ready again."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from services.pusher.admission.events import RoomFound
from services.pusher.admission.runner import AdmissionRunner
from services.pusher.log.store import LogStore, LogStoreError
from services.pusher.log.writer import LogWriter

logger = logging.getLogger(__name__)

#: How often, in seconds.
LOOK_S: Final = 2.0


class RoomWatch:
    """While the log is full, tries now and then whether it still is."""

    def __init__(self, store: LogStore, writer: LogWriter, admission: AdmissionRunner) -> None:
        self._store, self._writer, self._admission = store, writer, admission
        self._told = ""

    async def run(self) -> None:
        """For as long as the pusher runs."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """One try, where the log is full."""
        found = self._admission.core.full
        if not found:
            if self._told:
                logger.info("pushes are taken again")
            self._told = ""
            return
        if found != self._told:
            self._told = found
            logger.error("pushes are refused: %s", found)
        try:
            await self._writer.run(self._store.try_room)
        except LogStoreError:
            return
        self._admission.handle(RoomFound())
