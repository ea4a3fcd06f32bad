"""Whether the log that this pusher writes was moved elsewhere, though nobody pushes: who asks is told so before an
update is refused."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from services.pusher.log.fencing.fence import LogElsewhereError
from services.pusher.log.store import LogStore, LogStoreError
from services.pusher.log.writer import LogWriter
from services.shared.serving.background import Background

#: How often, in seconds.
LOOK_S: Final = 2.0


class MovedWatch:
    """Ends the pusher once its log is elsewhere."""

    def __init__(self, store: LogStore, writer: LogWriter, background: Background) -> None:
        self._store, self._writer, self._background = store, writer, background

    async def run(self) -> None:
        """For as long as the pusher runs; not over another engine than SQLite, whose logs nobody moves."""
        while self._store.durability().store == "sqlite":
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """One look."""
        with suppress(LogStoreError):  # a disk that fails: whoever writes next is told
            fence = await self._writer.run(self._store.fence)
            if fence.elsewhere:
                self._background.end(LogElsewhereError(fence.epoch, fence.elsewhere))
