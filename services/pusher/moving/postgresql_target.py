"""A log moved to PostgreSQL: a schema that no pusher may write before all is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from services.pusher.log.ids.runs import Run as IdRun
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.postgresql.writing import Transaction
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogEnds
from services.pusher.moving.target import CopyTarget, Small


class PostgresqlTarget(CopyTarget):
    """The copy.

    Args:
        folder: Its own; nothing is kept in it.
    """

    def __init__(self, folder: Path, settings: LogSettings, cluster: str) -> None:
        self._schema = PostgresqlLog(folder, settings, cluster)
        super().__init__(self._schema)
        self.place = f"schema {settings.postgresql.log_schema} at {self._schema.place}"
        self._tables = f'"{settings.postgresql.log_schema}"'

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

        self._schema.write(write)

    def keep(self, name: str, value: str) -> None:
        self._write((_KEEP, (name, value)))

    def kept(self, name: str) -> str:
        rows = self._schema.rows(f"SELECT value FROM {self._tables}.meta WHERE name = %s", (name,))
        return str(rows[0][0]) if rows else ""

    def begin_at(self, first_position: int) -> None:
        self._write(
            ("DELETE FROM {tables}.records WHERE position < %s", (first_position,)),
            ends=LogEnds(first_position, first_position - 1),
        )

    def add_ids(self, path: Path) -> int:
        run = IdRun(path)
        if not self.kept(f"copied_{path.name}"):
            whole = _KEEP.format(tables=self._tables), (f"copied_{path.name}", "whole")
            for first in range(0, run.count, _RUN_IDS):
                last = min(first + _RUN_IDS, run.count)
                self._schema.add_ids(run.read(first, last), *[whole] * (last == run.count))
        return run.count

    def _become(self, log_id: str, small: Small, ends: LogEnds, epoch: int, holder: str) -> None:
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


#: Ids of one transaction; its pusher merges what they make.
_RUN_IDS: Final = 1 << 20
_SMALL = ("rules", "imports", "time_marks", "replaced_logs")
_KEEP = "INSERT INTO {tables}.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
