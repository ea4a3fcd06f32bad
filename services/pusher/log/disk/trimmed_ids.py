"""Ids of trimmed records, between the log's database, which says what counts, and the files that hold them."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from services.pusher.log.ids.archive import IdArchive, Merge, RunRow
from services.pusher.log.ids.keys import UNKNOWN_CONTENT, recognized
from services.pusher.log.store import LogDamagedError, StoreFullError
from services.pusher.log.stored.frames import update_bytes
from services.shared.domain.sentences import with_mend
from services.shared.files.open_file import OpenFile
from services.shared.wire.record import RecordDamagedError

logger = logging.getLogger(__name__)

#: Each claim has numbers of its own for so many runs of ids.
_CLAIM_BITS = 32


class TrimmedIds:
    """The archive of one log. What is done with `writer` is part of the caller's transaction.

    Raises:
        LogDamagedError: A file of ids is gone or cut short.
    """

    def __init__(self, folder: Path, writer: sqlite3.Connection) -> None:
        self._archive = IdArchive(folder, _rows(writer))

    def refresh(self, writer: sqlite3.Connection) -> None:
        """Those that others have written by now. Raises LogDamagedError."""
        self._archive.refresh(_rows(writer))

    def own(self, claims: int) -> None:
        """This process writes from now on, by the claim of that number."""
        self._archive.own((claims - 1) << _CLAIM_BITS)

    @property
    def size_bytes(self) -> int:
        """What they take on disk."""
        return self._archive.size_bytes

    @property
    def files(self) -> list[OpenFile]:
        """The files that hold them."""
        return self._archive.files

    def find(self, update_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Position and content hash of those that are here; quick where none is. Raises LogDamagedError."""
        return self._archive.find(update_ids)

    def checks(self, bytes_max: int) -> list[Callable[[], None]]:
        """See `LogStore.id_checks`."""
        return self._archive.checks(bytes_max)

    @staticmethod
    def known(
        gone: dict[str, tuple[int, int]], update_ids: Sequence[str], contents: Sequence[bytes]
    ) -> dict[str, tuple[int, bytes]]:
        """What `find` found, as `place` takes it. Raises LogDamagedError where nothing can be said of a content."""
        for update_id, (position, content) in gone.items():
            if content == UNKNOWN_CONTENT:
                text = f"log record at position {position}, of {update_id}, was damaged before it was trimmed"
                raise LogDamagedError(text, position)
        return recognized(gone, update_ids, contents)

    def write(self, writer: sqlite3.Connection, first: int, end: int) -> RunRow:
        """Writes what stays of the records from `first` to before `end`, before they are deleted.

        Raises:
            LogDamagedError: Records are missing.
            StoreFullError: The disk.
        """
        rows = writer.execute(
            "SELECT position, update_id, frame FROM log WHERE position < ? ORDER BY position", (end,)
        ).fetchall()
        if len(rows) != end - first:
            raise LogDamagedError(f"of log records {first} to {end - 1}, {end - first - len(rows)} are missing", first)
        contents: list[bytes | None] = []
        for position, _, frame in rows:
            try:
                contents.append(update_bytes(position, frame))
            except RecordDamagedError as error:
                logger.error("%s: its id is kept, what it was can't be", error)
                contents.append(None)
        try:
            return self._archive.write([update_id for _, update_id, _ in rows], contents, first)
        except OSError as error:
            raise StoreFullError(f"can't keep the ids of trimmed records: {with_mend(error)}") from error

    @staticmethod
    def count_in(writer: sqlite3.Connection, row: RunRow) -> None:
        """What was written counts from this transaction on."""
        writer.execute("INSERT INTO id_runs VALUES (?, ?)", row)

    def take(self, row: RunRow) -> None:
        """That transaction is on disk."""
        self._archive.take(row)

    # -- merging

    def merge(self, is_over: Callable[[], bool]) -> tuple[Merge, RunRow] | None:
        """Writes a merged run, where one is due, until it is over. Raises StoreFullError, LogDamagedError."""
        merge = self._archive.merge_due()
        if merge is None:
            return None
        try:
            return merge, self._archive.merge(merge, is_over)
        except OSError as error:
            raise StoreFullError(f"can't merge the ids of trimmed records: {with_mend(error)}") from error

    @staticmethod
    def count_merged(writer: sqlite3.Connection, merge: Merge, row: RunRow) -> None:
        """The merged run counts from this transaction on, and those it is made of do not."""
        writer.executemany("DELETE FROM id_runs WHERE number = ?", [(old.number,) for old in merge.olds])
        writer.execute("INSERT INTO id_runs VALUES (?, ?)", row)

    def take_merged(self, merge: Merge, row: RunRow) -> None:
        """That transaction is on disk."""
        self._archive.replace(merge, row)


def _rows(writer: sqlite3.Connection) -> list[RunRow]:
    return [RunRow(*row) for row in writer.execute("SELECT number, level FROM id_runs")]
