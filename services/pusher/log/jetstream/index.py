"""Which ids were ever taken, with the position and the hash of the content of each: made from the stream.

The newest are in memory; older ones in sorted files (`services/pusher/log/ids`) in a folder of this process, which is
made anew when the log is opened: the stream has it all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np

from services.pusher.log.ids.archive import IdArchive, Merge, RunRow
from services.pusher.log.ids.keys import keys_of
from services.pusher.log.ids.runs import Entries
from services.pusher.log.store import StoreFullError

#: Ids in memory, before they are written to a file.
RECENT_MAX: Final = 1 << 17


class IdIndex:
    """The index. Its methods belong to the writer's thread, but for `merge`.

    Args:
        folder: Its own; what is in it goes.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self._folder = folder
        self._archive = IdArchive(folder, [])
        self._recent: dict[str, tuple[int, int]] = {}
        #: A merge is done on another thread, one at a time.
        self._numbering = Lock()
        self._is_merging = False

    def add(self, first_position: int, update_ids: Sequence[str], hashes: Sequence[int]) -> None:
        """Ids whose positions follow each other. Raises StoreFullError where the folder's disk is full."""
        self._recent.update(
            zip(
                update_ids,
                zip(range(first_position, first_position + len(update_ids)), hashes, strict=True),
                strict=True,
            )
        )
        if len(self._recent) >= RECENT_MAX:
            self._settle()

    def _settle(self) -> None:
        """Writes those in memory to a file."""
        keys = keys_of(list(self._recent))
        found = np.array(list(self._recent.values()), dtype=np.uint64)
        self.add_entries(Entries(keys.high, keys.low, found[:, 1], found[:, 0]))
        self._recent = {}

    def add_entries(self, entries: Entries) -> None:
        """Ids of which only the keys are known. Raises StoreFullError."""
        try:
            with self._numbering:
                self._archive.take(self._archive.write_entries(entries))
            while len(self._archive.files) > _FILES_MAX and (merge := self._merge_due()) is not None:
                self._replace(merge, self._merged(merge))
        except OSError as error:
            raise StoreFullError(f"can't keep the index of ids in {self._folder}: {error}; make room") from error

    def find(self, update_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Position and content hash of those that are known. Raises LogDamagedError."""
        recent = self._recent
        found = self._archive.find(update_ids)
        found.update((update_id, recent[update_id]) for update_id in update_ids if update_id in recent)
        return found

    # -- merging

    def merge(self) -> Callable[[], None] | None:
        """As `LogStore.merge_ids`."""
        merge = self._merge_due()
        if merge is None:
            return None
        try:
            row = self._merged(merge)
        except OSError as error:
            raise StoreFullError(f"can't merge the index of ids in {self._folder}: {error}; make room") from error
        return lambda: self._replace(merge, row)

    def _merge_due(self) -> Merge | None:
        with self._numbering:
            if self._is_merging:
                return None
            merge = self._archive.merge_due()
            self._is_merging = merge is not None
            return merge

    def _merged(self, merge: Merge) -> RunRow:
        try:
            return self._archive.merge(merge)
        except BaseException:
            self._is_merging = False
            raise

    def _replace(self, merge: Merge, row: RunRow) -> None:
        self._archive.replace(merge, row)
        self._is_merging = False

    def close(self) -> None:
        """It is gone with the process."""
        shutil.rmtree(self._folder, ignore_errors=True)


#: Files that a look-up may have to ask; beyond that they are merged at once.
_FILES_MAX: Final = 24
