"""What the pusher may forget: old records of the log, and old import files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from fasttree.v1 import types_pb2
from services.pusher.fanout.events import Trimmed
from services.pusher.fanout.progress import NodeReplication
from services.pusher.fanout.replication import Replication
from services.pusher.imports.catalog import ImportCatalog, first_needed
from services.pusher.imports.files import ImportFiles
from services.pusher.imports.settings import RetentionSettings
from services.pusher.log.store import LogEnds, LogStore, StoreFullError
from services.pusher.log.writer import LogWriter

logger = logging.getLogger(__name__)

_TRIM_RECORDS = 2000  # a few milliseconds of the writer's time


def first_kept(
    ends: LogEnds,
    old_position: int,
    imports: Iterable[types_pb2.ImportManifest],
    nodes: Iterable[NodeReplication],
    *,
    away_since: float,
    started_at: float,
) -> int:
    """The oldest position that has to stay in the log.

    Args:
        ends: Of the log.
        old_position: The newest one that is old enough to go.
        imports: Those that a node may still have to be built from. Without any, a new node needs the whole log.
        nodes: Those known.
        away_since: A node that was not seen since then takes a snapshot when it comes back.
        started_at: When the pusher started: a node that it never saw counts as seen then.
    """
    needs = [first_needed(manifest) for manifest in imports] or [ends.first]
    needs += [
        # One that was never seen by this process may lack anything.
        node.applied_position + 1 if node.ever_stood else ends.first
        for node in nodes
        if node.connected or (started_at if node.seen_at is None else node.seen_at) >= away_since
    ]
    return max(ends.first, min([old_position + 1, ends.last, *needs]))


class Retention:
    """Forgets it, now and then."""

    def __init__(
        self,
        settings: RetentionSettings,
        store: LogStore,
        writer: LogWriter,
        catalog: ImportCatalog,
        files: ImportFiles,
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
            except (OSError, StoreFullError) as error:
                logger.error("can't remove what is no longer needed: %s; tries again", error)

    async def look(self) -> None:
        """Forgets what nothing needs any more. Raises OSError or StoreFullError where the disk fails."""
        async with self._catalog.adding:
            needed = self._catalog.needed(self._settings.imports_kept)
            kept = [self._files.path(manifest) for manifest in needed]
            removed = await asyncio.to_thread(self._files.remove_all_but, kept)
        if removed:
            logger.info("removed import files that are no longer needed: %s", ", ".join(sorted(removed)))
        old = await asyncio.to_thread(self._store.position_at, time.time() - self._settings.retention_age_s)
        first = first_kept(
            self._store.ends(),
            old,
            # An import that no node has taken yet may turn out bad: nothing can be built from it so far.
            needed if self._catalog.in_force else [],
            list(self._replication.nodes.values()),
            away_since=time.monotonic() - self._settings.retention_away_s,
            started_at=self._started_at,
        )
        while (first_now := self._store.ends().first) < first:
            await self._writer.run(lambda: self._store.trim(first, _TRIM_RECORDS))
            self._tell(Trimmed(self._store.ends().first))
            if self._store.ends().first == first_now:
                break
