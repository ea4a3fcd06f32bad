"""What the pusher may forget: old records of the log, and old import files."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from services.pusher.fanout.events import Trimmed
from services.pusher.fanout.replication import Replication
from services.pusher.import_store.kept import KeptImports
from services.pusher.imports.catalog import ImportCatalog, history_of
from services.pusher.imports.history import PastImport
from services.pusher.imports.settings import RetentionSettings
from services.pusher.log.store import LogStore, LogStoreError
from services.pusher.log.writer import LogWriter
from services.shared.domain.sentences import counted
from services.shared.objects.objects import StoreAwayError

logger = logging.getLogger(__name__)

_TRIM_RECORDS = 2000  # a few milliseconds of the writer's time
#: Files that a line of the log names, at most.
_TOLD_MAX = 5


class Retention:
    """Forgets it, now and then."""

    def __init__(
        self,
        settings: RetentionSettings,
        store: LogStore,
        writer: LogWriter,
        catalog: ImportCatalog,
        files: KeptImports,
        replication: Replication,
        tell: Callable[[Trimmed], None],
    ) -> None:
        """`tell` hears of each new beginning of the log."""
        self._settings = settings
        self._store, self._writer, self._catalog, self._files = store, writer, catalog, files
        self._replication = replication
        self._tell = tell
        self._started_at = time.monotonic()

    async def run(self) -> None:
        """For as long as the pusher runs."""
        while True:
            await asyncio.sleep(self._settings.retention_poll_s)
            try:
                await self.look()
            except (OSError, LogStoreError, StoreAwayError) as error:
                logger.error("can't remove what is no longer needed: %s; tries again", error)

    async def look(self) -> None:
        """Forgets what nothing needs any more. Raises OSError, LogStoreError or StoreAwayError."""
        async with self._catalog.changing:
            await self._trim()
            await self._remove_files()

    async def _remove_files(self) -> None:
        needed = [self._catalog.status(each.import_id).manifest for each in self.needed()]
        # What others have too is removed by what the log itself says: this pusher may have been replaced, or know of
        # something that was not written yet.
        stored = {each.status.manifest.import_id: each for each in await asyncio.to_thread(self._store.imports)}
        in_log = history_of(stored.values()).needed(self._settings.imports_kept)
        in_store = [stored[each.import_id].status.manifest for each in in_log]
        removed = await self._files.forget(needed, in_store, max(stored, default=0))
        if removed:
            which = ", ".join(sorted(removed)[:_TOLD_MAX]) + (", …" if len(removed) > _TOLD_MAX else "")
            logger.info("removed what is no longer needed, %s: %s", counted(len(removed), "import file"), which)

    def needed(self) -> list[PastImport]:
        """The imports whose files are kept."""
        return self._catalog.history.needed(self._settings.imports_kept)

    async def _trim(self) -> None:
        await self._writer.run(self._store.keep_time)
        old = await asyncio.to_thread(self._store.position_older_than, self._settings.retention_age_s)
        first = self._catalog.history.first_kept(
            self._store.ends(),
            old,
            list(self._replication.nodes.values()),
            taken_max=self._settings.imports_kept,
            away_since=time.monotonic() - self._settings.retention_away_s,
            started_at=self._started_at,
        )
        while (first_now := self._store.ends().first) < first:
            await self._writer.run(lambda: self._store.trim(first, _TRIM_RECORDS))
            self._tell(Trimmed(self._store.ends().first))
            if self._store.ends().first == first_now:
                break
        while (take_merged := await self._merged()) is not None:
            await self._writer.run(take_merged)

    async def _merged(self) -> Callable[[], None] | None:
        """Ended and waited for by whoever steps down: the folder is then another log's that is opened in this process,
        and a large merge takes minutes."""
        is_over = threading.Event()
        merging = asyncio.ensure_future(asyncio.to_thread(self._store.merge_ids, is_over.is_set))
        try:
            return await asyncio.shield(merging)
        except asyncio.CancelledError:
            is_over.set()
            await asyncio.wait([merging])
            raise
