"""Where a log is moved to: a schema of PostgreSQL, which no pusher may write before all is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from services.pusher.log.fencing.fence import COPYING
from services.pusher.log.frames import update_bytes
from services.pusher.log.ids.runs import Run as IdRun
from services.pusher.log.postgresql.copying import signed
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.postgresql.writing import Transaction
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogDamagedError, LogEnds, LogStoreError
from services.pusher.moving.source import Piece
from services.shared.wire.record import RecordDamagedError

_IDS_AT_ONCE = 10_000


class Small(NamedTuple):
    """What is copied with the last step; rows as the source has them."""

    rules: list[tuple[Any, ...]]
    imports: list[tuple[Any, ...]]
    time_marks: list[tuple[Any, ...]]
    replaced_logs: list[tuple[Any, ...]]
    running_s: str


class PostgresqlTarget:
    """The copy. What it has outlives this process: another one goes on from there.

    Args:
        folder: Its own; nothing is kept in it.
    """

    def __init__(self, folder: Path, settings: LogSettings, cluster: str, log_id: str) -> None:
        self._log = PostgresqlLog(folder, settings, cluster)
        self._tables = f'"{settings.postgresql.log_schema}"'
        fence, ends = self._log.fence(), self._log.ends()
        begun = self._kept("copied_log_id")
        if fence.holder != COPYING and (fence.claims or ends.last):
            self._log.close()
            raise LogStoreError(f"schema {settings.postgresql.log_schema} holds a log already: name an empty one")
        if begun not in ("", log_id):
            self._log.close()
            raise LogStoreError(f"a copy of log {begun} was begun in that schema, not of {log_id}: name an empty one")
        self._log.claim(max(fence.epoch, 1), COPYING)
        if not begun:
            self.keep("copied_log_id", log_id)

    @property
    def last_position(self) -> int:
        return self._log.ends().last

    def _write(
        self, *statements: tuple[str, Any], ends: LogEnds | None = None, to: tuple[int, str] | None = None
    ) -> None:
        def write(transaction: Transaction) -> None:
            for statement, values in statements:
                transaction.connection.execute(statement.format(tables=self._tables), values)
            if ends is not None:
                transaction.ends = ends
            if to is not None:
                transaction.epoch, transaction.holder = to

        self._log.write(write)

    def _kept(self, name: str) -> str:
        rows = self._log.rows(f"SELECT value FROM {self._tables}.meta WHERE name = %s", (name,))
        return str(rows[0][0]) if rows else ""

    def keep(self, name: str, value: str) -> None:
        """Keeps a word of this copy."""
        self._write((_KEEP, (name, value)))

    def kept(self, name: str) -> str:
        """It; empty where there is none."""
        return self._kept(name)

    def begin_at(self, first_position: int) -> None:
        """The next record is that one: those before it are trimmed by now."""
        self._write(
            ("DELETE FROM {tables}.records WHERE position < %s", (first_position,)),
            ends=LogEnds(first_position, first_position - 1),
        )

    def add(self, piece: Piece) -> None:
        """Stores records, and reads them back. Raises LogDamagedError where one is not what it was."""
        try:
            contents = [
                update_bytes(position, frame) for position, frame in enumerate(piece.frames, piece.first_position)
            ]
        except RecordDamagedError as error:
            raise LogDamagedError(f"{error}, in the log that is to be moved") from error
        appended = self._log.append(piece.update_ids, contents)
        last = piece.first_position + len(contents) - 1
        if appended.run is None or list(appended.positions) != list(range(piece.first_position, last + 1)):
            raise LogDamagedError(f"of positions {piece.first_position} to {last}, an id is in the copy already")
        self.check(piece)

    def check(self, piece: Piece) -> None:
        """Reads records back. Raises LogDamagedError where one is not what it was."""
        data, read = b"".join(piece.frames), b""
        position, last = piece.first_position, piece.first_position + len(piece.frames) - 1
        while position <= last:
            run = self._log.read(position, last, len(data))
            read += run.data
            position = run.last_position + 1
        if read != data:
            raise LogDamagedError(f"the copy differs from the log between positions {piece.first_position} and {last}")

    def add_ids(self, path: Path) -> int:
        """Adds a file of ids of trimmed records, unless it is here; returns how many it has. Raises LogDamagedError."""
        run = IdRun(path)
        if not self._kept(f"copied_{path.name}"):
            for rows in _rows_of(run):
                self._write((_ADD_IDS, rows))
            self.keep(f"copied_{path.name}", "whole")
        return run.count

    def finish(self, log_id: str, small: Small, ends: LogEnds, epoch: int, holder: str) -> None:
        """The last step, all of it or nothing: from then on it is the log, and its pusher's."""
        if ends.last != self.last_position:
            raise LogStoreError(f"the copy ends at {self.last_position}, the log at {ends.last}: copy again")
        steps: list[tuple[str, Any]] = [(f"DELETE FROM {{tables}}.{name}", None) for name in _SMALL]
        steps += [("INSERT INTO {tables}.rules VALUES (%s, %s, %s)", row) for row in small.rules]
        steps += [
            ("INSERT INTO {tables}.imports VALUES (%s, %s, %s)", (number, bool(taken), status))
            for number, taken, status in small.imports
        ]
        steps += [("INSERT INTO {tables}.time_marks VALUES (%s, %s)", row) for row in small.time_marks]
        steps += [("INSERT INTO {tables}.replaced_logs VALUES (%s, %s, %s)", row) for row in small.replaced_logs]
        steps += [(_KEEP, ("running_s", small.running_s)), (_KEEP, ("log_id", log_id))]
        steps.append(("DELETE FROM {tables}.meta WHERE name LIKE 'copied%%'", ()))
        steps.append(("DELETE FROM {tables}.records WHERE position < %s", (ends.first,)))
        self._write(*steps, ends=ends, to=(epoch, holder))

    def close(self) -> None:
        """Ends its connections."""
        self._log.close()


_SMALL = ("rules", "imports", "time_marks", "replaced_logs")
_KEEP = "INSERT INTO {tables}.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_ADD_IDS = (
    "INSERT INTO {tables}.old_ids (high, low, position, content_hash) "
    "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING"
)


def _rows_of(run: IdRun) -> Iterator[tuple[list[int], list[int], list[int], list[int]]]:
    for first in range(0, run.count, _IDS_AT_ONCE):
        high, low, contents, positions = run.read(first, min(first + _IDS_AT_ONCE, run.count))
        yield (
            [signed(each) for each in high.tolist()],
            low.tolist(),
            positions.tolist(),
            [signed(each) for each in contents.tolist()],
        )
