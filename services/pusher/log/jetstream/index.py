"""Which ids were ever taken, with the position and the hash of the content of each: made from the stream.

The newest are in memory; older ones in sorted files (`services/pusher/log/ids`) in a folder of this process, which is
made anew when the log is opened: the stream has it all. Pushers that share a state folder have one each in it, and what
was another's that is gone goes. Where the folder's disk is full they stay in memory: a record
that is stored in the stream is stored.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
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
from services.shared.domain.sentences import with_mend
from services.shared.files.durable import discard, make_folder

logger = logging.getLogger(__name__)

#: Ids in memory, before they are written to a file.
RECENT_MAX: Final = 1 << 17
_MEND: Final = "start this pusher anew: its index of ids is made from the stream then"
#: Files that a look-up may have to ask; beyond that they are merged at once.
_FILES_MAX: Final = 24


class IdIndex:
    """The index. Its methods belong to the writer's thread, but for `merge`.

    Args:
        place: Where its own folder is made.
        recent_max: So many ids stay in memory.
    """

    def __init__(self, place: Path, recent_max: int = RECENT_MAX) -> None:
        _tidy(place)
        #: As long as the lock on it is held, nobody removes it.
        self.folder = place / os.urandom(8).hex()
        with contextlib.suppress(OSError):  # where there is no disk, it stays in memory
            make_folder(self.folder)
        self._lock = _locked(self.folder)
        self._recent_max = recent_max
        self._archive = IdArchive(self.folder, [], _MEND)
        self._recent: dict[str, tuple[int, int]] = {}
        #: When they are to be written: later, where that failed.
        self._settles_at = recent_max
        #: What only the keys are known of, and no disk had room for.
        self._unwritten: dict[tuple[int, int], tuple[int, int]] = {}
        self._has_told = False
        #: A merge is done on another thread, one at a time.
        self._numbering = Lock()
        self._is_merging = False

    def add(self, first_position: int, update_ids: Sequence[str], hashes: Sequence[int]) -> None:
        """Ids whose positions follow each other."""
        positions = range(first_position, first_position + len(update_ids))
        self._recent.update(zip(update_ids, zip(positions, hashes, strict=True), strict=True))
        if len(self._recent) >= self._settles_at:
            self._settle()

    def _settle(self) -> None:
        """Writes those in memory to a file."""
        keys = keys_of(list(self._recent))
        found = np.array(list(self._recent.values()), dtype=np.uint64)
        if self._write(Entries(keys.high, keys.low, found[:, 1], found[:, 0])):
            self._recent = {}
        self._settles_at = len(self._recent) + self._recent_max

    def add_entries(self, entries: Entries) -> None:
        """Ids of which only the keys are known."""
        if not self._write(entries):
            high, low, contents, positions = (column.tolist() for column in entries)
            self._unwritten.update(zip(zip(high, low, strict=True), zip(positions, contents, strict=True), strict=True))

    def _write(self, entries: Entries) -> bool:
        """Whether there was room."""
        try:
            with self._numbering:
                self._archive.take(self._archive.write_entries(entries))
            while len(self._archive.files) > _FILES_MAX and (merge := self._merge_due()) is not None:
                self._replace(merge, self._merged(merge))
        except OSError as error:
            if not self._has_told:
                logger.warning("the index of ids stays in memory: %s takes nothing: %s", self.folder, with_mend(error))
            self._has_told = True
            return False
        self._has_told = False
        return True

    def find(self, update_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Position and content hash of those that are known. Raises LogDamagedError."""
        recent, unwritten = self._recent, self._unwritten
        found = self._archive.find(update_ids)
        if unwritten:
            keys = keys_of(update_ids)
            for update_id, *key in zip(update_ids, keys.high.tolist(), keys.low.tolist(), strict=True):
                if (entry := unwritten.get((key[0], key[1]))) is not None:
                    found[update_id] = entry
        found.update((update_id, recent[update_id]) for update_id in update_ids if update_id in recent)
        return found

    def checks(self, bytes_max: int) -> list[Callable[[], None]]:
        """See `LogStore.id_checks`."""
        return self._archive.checks(bytes_max)

    # -- merging

    def merge(self, is_over: Callable[[], bool]) -> Callable[[], None] | None:
        """As `LogStore.merge_ids`."""
        merge = self._merge_due()
        if merge is None:
            return None
        try:
            row = self._merged(merge, is_over)
        except OSError as error:
            raise StoreFullError(f"can't merge the index of ids in {self.folder}: {with_mend(error)}") from error
        return lambda: self._replace(merge, row)

    def _merge_due(self) -> Merge | None:
        with self._numbering:
            if self._is_merging:
                return None
            merge = self._archive.merge_due()
            self._is_merging = merge is not None
            return merge

    def _merged(self, merge: Merge, is_over: Callable[[], bool] = bool) -> RunRow:
        try:
            return self._archive.merge(merge, is_over)
        except BaseException:
            self._is_merging = False
            raise

    def _replace(self, merge: Merge, row: RunRow) -> None:
        try:
            self._archive.replace(merge, row)
        finally:
            self._is_merging = False

    def close(self) -> None:
        """It is gone with the process."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _tidy(place: Path) -> None:
    """Removes what is nobody's any more."""
    for left in list(place.glob("*")):
        lock = _locked(left)
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
        elif not left.is_dir():
            discard(left)


def _locked(folder: Path) -> int | None:
    """Holds a folder until that is closed, or the process ends. None: another one does, or there is none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
