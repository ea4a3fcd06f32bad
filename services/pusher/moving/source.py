"""The log that is moved: an SQLite file, read beside the pusher that writes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from fasttree.v1 import types_pb2
from services.pusher.log.disk.writing import read_cluster, read_fence
from services.pusher.log.fencing.fence import COPY, MOVED, Fence
from services.pusher.log.ids.runs import Run
from services.pusher.log.inspection import log_path, runs_of
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogDamagedError, LogEnds, LogStoreError
from services.pusher.log.stored.frames import opened_frame
from services.shared.files.sqlite_words import sqlite_words
from services.shared.wire.record import RecordDamagedError

#: Records of one piece.
PIECE = 1_000


class Piece(NamedTuple):
    """Records that follow each other; both have one entry for each."""

    first_position: int
    update_ids: list[str]
    frames: list[bytes]


class SqliteSource:
    """Reads the log of a pusher's folder. Raises LogStoreError where there is none, or it can't be read."""

    def __init__(self, folder: Path) -> None:
        self._path = log_path(folder)
        self._folder = self._path.parent
        self._connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        tables = {name for (name,) in self._rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if "fence" not in tables:
            raise self._too_early()
        self.log_id = str(self._rows("SELECT value FROM meta WHERE name = 'log_id'")[0][0])

    def _too_early(self) -> LogStoreError:
        return LogStoreError(f"{self._path} is of an earlier version: start its pusher once with this one")

    def check_cluster(self, cluster: str) -> None:
        """Raises LogStoreError where it is the log of another one, or nobody knows whose."""
        noted = read_cluster(self._connection)
        if noted and noted != cluster:
            raise LogStoreError(f"{self._path} is the log of cluster {noted}, not of {cluster}: set --cluster {noted}")
        # One that an earlier version has begun to move can be claimed by no pusher; its copy knows whose it is.
        if not noted and not self.fence().holder.startswith(MOVED):
            raise self._too_early()

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise LogStoreError(f"{self._path} can't be read: {sqlite_words(error)}") from error

    def ends(self) -> LogEnds:
        """As of now."""
        first, last = self._rows("SELECT min(position), max(position) FROM log")[0]
        return LogEnds(first or 1, last or 0)

    def fence(self) -> Fence:
        """Who writes it."""
        return read_fence(self._connection)

    def piece(self, first_position: int) -> Piece:
        """Records from there on, as far as they are there, none of them sealed."""
        rows = self._rows(
            "SELECT position, update_id, frame FROM log WHERE position BETWEEN ? AND ? ORDER BY position",
            (first_position, first_position + PIECE - 1),
        )
        try:
            frames = [opened_frame(position, frame) for position, _, frame in rows]
        except RecordDamagedError as error:
            raise LogDamagedError(f"{error} in {self._path}") from error
        return Piece(rows[0][0] if rows else 0, [row[1] for row in rows], frames)

    def id_files(self) -> list[Path]:
        """Those with the ids of trimmed records."""
        return runs_of(self._connection, self._folder / "ids")

    def old_ids(self) -> int:
        """How many ids of trimmed records there are."""
        return sum(Run(path).count for path in self.id_files())

    def table(self, name: str) -> list[tuple[Any, ...]]:
        """All of a small table, in the order of its first column."""
        return self._rows(f"SELECT * FROM {name} ORDER BY 1")

    def personal_columns(self) -> list[str]:
        """Those that records say are personal."""
        records = [types_pb2.Update.FromString(content) for _, content, _ in self.table("rules")]
        return [each.column_declared.name for each in records if each.column_declared.personal]

    def running_s(self) -> str:
        """How far the log's running time is kept."""
        rows = self._rows("SELECT value FROM meta WHERE name = 'running_s'")
        return str(rows[0][0]) if rows else "0"

    def moves_to(self, place: str, copy_id: str, instead_of: str = "") -> bool:
        """Whether it was moved to that copy before, so that nothing but it may become the log. `instead_of`: a copy
        that is given up for this one.

        Raises:
            LogStoreError: It was moved to another one.
        """
        fence = self.fence()
        if not fence.holder.startswith(MOVED):
            return False
        before, _, moved_id = fence.holder.removeprefix(MOVED).rpartition(COPY)
        if moved_id == copy_id:
            return True
        if not instead_of or moved_id != instead_of:
            raise LogStoreError(
                f"this log was moved to {before or moved_id} already: go on there. Only where what is there was "
                "lost before the command said `moved`, and no pusher ever had it, "
                f"--instead-of {moved_id} --finish moves the log to {place}"
            )
        return False

    def end_here(self, place: str, copy_id: str, instead_of: str = "") -> None:
        """Nobody writes this log any more, whatever they know of it: it goes on in one place alone, by that copy of it.

        Raises:
            LogStoreError: As `moves_to`, or as `LogStore.claim`.
        """
        if self.moves_to(place, copy_id, instead_of):
            return
        fence, log = self.fence(), SqliteLog(self._folder)
        try:
            log.claim(fence.epoch + 1, f"{MOVED}{place}{COPY}{copy_id}")
        finally:
            log.close()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()
