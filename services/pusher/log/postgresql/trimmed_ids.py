"""Ids of trimmed records: the same runs as beside a log in SQLite (`ids/archive.py`), kept by the server in pieces.

A table of all ids would be a tree of random keys, of which each new id touches another page: with a hundred million of
them, every page that a push touches has to be read, and is written whole to the WAL after each checkpoint. So a table
has the ids of records that are kept alone, and what is trimmed goes into runs, which are written once and merged.

1. What counts is `id_runs`, changed under the fence in the transaction that deletes the records. A piece that belongs
   to no run there is what a crash or a merge left, and goes, under the fence too, a few with each trim.
2. Each pusher has a copy of every run in a folder of its own, and the filter in memory: a push of new ids asks neither
   disk nor server. The copy is fetched when the log is opened, followed and claimed; what is there already stays, if
   its header, in which the checksum of all its checksums is, is the one that the server has. What counts no longer, and
   what a claim that is over left here, goes as the copy changes.
3. A copy that is damaged is fetched anew; only what the server has damaged is an error.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from services.pusher.log.ids.archive import IdArchive, Merge, RunRow, run_path
from services.pusher.log.ids.runs import HEADER_BYTES, Entries, Run, write_copy
from services.pusher.log.store import LogDamagedError, StoreFullError
from services.shared.domain.sentences import with_mend
from services.shared.files.durable import make_folder
from services.shared.postgresql.connecting import Connection

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Rows of a statement that may be run again.
Rows = Callable[[str, Any], list[tuple[Any, ...]]]

_MEND: Final = "the server has it so: bring back a whole copy of that"
PIECE_BYTES: Final = 1 << 20
#: Of pieces that belong to no run, so many go with each trim.
_GONE_MAX: Final = 4
#: Each claim has numbers of its own for so many runs.
_CLAIM_BITS: Final = 32
#: Looks at the runs, where they are merged while they are fetched.
_LOOKS: Final = 5


class _StoredRun(NamedTuple):
    """How the server has a run."""

    header: bytes
    pieces: int


class _MergedMeanwhileError(Exception):
    """A run is gone from the server."""


class TrimmedIds:
    """The archive of one log: what the server has, and this process's copy. For the writer's thread, but for `merge`.

    Args:
        folder: For the copy.
        tables: The schema, quoted.
        rows: On connections of its own, from any thread.
    """

    def __init__(self, folder: Path, tables: str, rows: Rows) -> None:
        self._folder, self._tables, self._rows = folder, tables, rows
        self._archive = IdArchive(folder, [], _MEND)
        #: What a look through the copy met.
        self._met: tuple[Callable[[], None], LogDamagedError] | None = None
        #: The runs that counted once are here.
        self._is_copied = False

    # -- the copy

    def refresh(self, rows: Rows, claims: int) -> None:
        """The runs that count by now are here. `claims`: so many there were before that. Raises LogDamagedError,
        StoreFullError, and what `rows` does."""
        for looks_left in reversed(range(_LOOKS)):
            stored, before = self._stored(rows), self._archive.rows
            if self._is_copied and stored.keys() == set(before):
                return
            try:
                with _room(self._folder):
                    self._copy(stored, rows)
                    self._archive.forget(before, _first_number(claims))
            except _MergedMeanwhileError as error:
                if not looks_left:
                    raise LogDamagedError(f"{error}; bring back a whole copy of the server") from error
            else:
                self._is_copied = True
                return

    def _stored(self, rows: Rows) -> dict[RunRow, _StoredRun]:
        found = rows(f"SELECT number, level, header, pieces FROM {self._tables}.id_runs ORDER BY number", None)
        return {RunRow(number, level): _StoredRun(bytes(header), pieces) for number, level, header, pieces in found}

    def _copy(self, stored: dict[RunRow, _StoredRun], rows: Rows) -> None:
        for row in stored.keys() - set(self._archive.rows):
            if not self._is_here(row, stored[row]):
                self._fetch(row, stored[row], rows)
        try:
            self._archive.refresh(list(stored))
        except LogDamagedError as error:
            self._mend(stored, rows, error)
            self._archive.refresh(list(stored))

    def _is_here(self, row: RunRow, stored: _StoredRun) -> bool:
        try:
            with run_path(self._folder, row.number).open("rb") as file:
                return file.read(HEADER_BYTES) == stored.header
        except FileNotFoundError:
            return False

    def _fetch(self, row: RunRow, stored: _StoredRun, rows: Rows) -> None:
        ask = f"SELECT bytes FROM {self._tables}.id_pieces WHERE run = %s AND piece = %s"

        def pieces() -> Iterator[bytes]:
            for piece in range(stored.pieces):
                found = rows(ask, (row.number, piece))
                if not found:
                    raise _MergedMeanwhileError(f"piece {piece} of run {row.number} of ids is missing")
                yield found[0][0]

        make_folder(self._folder)
        write_copy(run_path(self._folder, row.number), pieces())

    def _mend(self, stored: dict[RunRow, _StoredRun], rows: Rows, error: LogDamagedError) -> None:
        """Fetches again what is damaged in the copy."""
        logger.warning("%s: that is a copy, and is fetched anew", error)
        for row, each in stored.items():
            try:
                Run(run_path(self._folder, row.number)).check()
            except LogDamagedError:
                self._fetch(row, each, rows)

    def checks(self, bytes_max: int) -> list[Callable[[], None]]:
        """Looks through the copy; what they meet is for `mend_copy`. On any thread."""
        return [partial(self._look, check) for check in self._archive.checks(bytes_max)]

    def _look(self, check: Callable[[], None]) -> None:
        try:
            check()
        except LogDamagedError as error:
            self._met = check, error

    def mend_copy(self) -> None:
        """Fetches anew what was met damaged. Raises LogDamagedError where the server has it so, StoreFullError."""
        met, self._met = self._met, None
        if met is not None:
            check, error = met
            self._fetch_again(error)
            check()

    def own(self, claims: int) -> None:
        """This process writes from now on, by the claim of that number. Raises StoreFullError."""
        with _room(self._folder):
            self._archive.own(_first_number(claims))

    # -- looking up

    def find(self, update_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Position and content hash of those that are here; quick where none is. Raises LogDamagedError."""
        return self._mended(lambda: self._archive.find(update_ids))

    def _mended(self, call: Callable[[], Result]) -> Result:
        """What reads the copy; once more, where that was damaged."""
        try:
            return call()
        except LogDamagedError as error:
            self._fetch_again(error)
        return call()

    def _fetch_again(self, error: LogDamagedError) -> None:
        with _room(self._folder):
            self._mend(self._stored(self._rows), self._rows, error)
        self._archive.reopen()

    # -- keeping

    def write(self, entries: Entries) -> RunRow:
        """Writes a run here; it counts once `count_in` and `take` are told. Raises StoreFullError."""
        with _room(self._folder):
            return self._archive.write_entries(entries)

    def count_in(self, connection: Connection, row: RunRow) -> None:
        """What was written counts from this transaction on."""
        path = run_path(self._folder, row.number)
        for piece, data in _pieces(path):
            connection.execute(self._add_piece, (row.number, piece, data))
        self._count(connection, row)
        connection.execute(
            f"DELETE FROM {self._tables}.id_pieces WHERE (run, piece) IN ("
            f"SELECT run, piece FROM {self._tables}.id_pieces "
            f"WHERE NOT EXISTS (SELECT 1 FROM {self._tables}.id_runs WHERE number = run) LIMIT {_GONE_MAX})"
        )

    @property
    def _add_piece(self) -> str:
        # Where an answer is lost, it is said again.
        conflict = "ON CONFLICT (run, piece) DO UPDATE SET bytes = excluded.bytes"
        return f"INSERT INTO {self._tables}.id_pieces VALUES (%s, %s, %s) {conflict}"

    def _count(self, connection: Connection, row: RunRow) -> None:
        with run_path(self._folder, row.number).open("rb") as file:
            header = file.read(HEADER_BYTES)
            pieces = -(-os.fstat(file.fileno()).st_size // PIECE_BYTES)
        there = f"SELECT count(*) FROM {self._tables}.id_pieces WHERE run = %s"
        if connection.execute(there, (row.number,)).fetchone() != (pieces,):
            raise StoreFullError("pieces of merged ids went before they counted; they are merged again")
        connection.execute(f"INSERT INTO {self._tables}.id_runs VALUES (%s, %s, %s, %s)", (*row, header, pieces))

    def take(self, row: RunRow) -> None:
        """That transaction is committed."""
        self._archive.take(row)

    # -- merging

    def merge(self, is_over: Callable[[], bool]) -> tuple[Merge, RunRow] | None:
        """Writes a merged run, here and in pieces that do not count yet, where one is due. On any thread.

        Raises:
            StoreFullError, LogDamagedError: Nothing has changed.
        """
        made = self._mended(lambda: self._merge(is_over))
        if made is not None:
            for piece, data in _pieces(run_path(self._folder, made[1].number)):
                if is_over():
                    raise StoreFullError("whoever merged steps down")
                self._rows(f"{self._add_piece} RETURNING piece", (made[1].number, piece, data))
        return made

    def _merge(self, is_over: Callable[[], bool]) -> tuple[Merge, RunRow] | None:
        merge = self._archive.merge_due()
        if merge is None:
            return None
        with _room(self._folder):
            return merge, self._archive.merge(merge, is_over)

    def count_merged(self, connection: Connection, merge: Merge, row: RunRow) -> None:
        """The merged run counts from this transaction on, and those it is made of do not."""
        olds = [old.number for old in merge.olds]
        gone = connection.execute(f"DELETE FROM {self._tables}.id_runs WHERE number = ANY(%s)", (olds,)).rowcount
        if gone != len(olds):
            raise StoreFullError("others have merged the same ids; see to them again")
        self._count(connection, row)

    def take_merged(self, merge: Merge, row: RunRow) -> None:
        """That transaction is committed."""
        self._archive.replace(merge, row)


def _first_number(claims: int) -> int:
    """Of the runs of the claim of that number."""
    return max(claims - 1, 0) << _CLAIM_BITS


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreFullError(f"can't keep ids of trimmed records in {folder}: {with_mend(error)}") from error


def _pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        piece = 0
        while data := file.read(PIECE_BYTES):
            yield piece, data
            piece += 1
