"""The log in PostgreSQL: what a pusher asks for, as transactions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from services.pusher.log.damage import notes_damage
from services.pusher.log.disk.end_mark import Found, read_mark
from services.pusher.log.engine.engine_log import EngineLog, Known, NewUpdates, Taken
from services.pusher.log.fencing.fence import COPYING, Fence
from services.pusher.log.frames import Run
from services.pusher.log.ids.keys import UNKNOWN_CONTENT, keys_of, recognized
from services.pusher.log.ids.runs import Entries
from services.pusher.log.postgresql.connecting import Connecting
from services.pusher.log.postgresql.copying import id_rows, record_rows, signed, unsigned
from services.pusher.log.postgresql.promise import promised
from services.pusher.log.postgresql.readers import Readers
from services.pusher.log.postgresql.schema import prepare
from services.pusher.log.postgresql.trimmed_ids import TrimmedIds
from services.pusher.log.postgresql.writing import Transaction, Writer
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import (
    REPLACED_MAX,
    Durability,
    KnownDamage,
    LogDamagedError,
    LogEnds,
    StoredImport,
)
from services.pusher.log.stored.frames import update_bytes
from services.shared.clock import RunningTime
from services.shared.postgresql.connecting import Connection
from services.shared.wire.record import RecordDamagedError, checksum

#: How often a mark is made of how old positions are, how often the running time is kept, how often sizes are asked for.
_TIME_MARK_S: Final = 30.0
_KEEP_TIME_S: Final = 600.0
_LOOK_S: Final = 30.0
#: Some updates take so much.
_ROOM_BYTES: Final = 64 * 1024
#: Of another log: the settings that lead to it, and what else there is to do.
_MENDS: Final = ("pusher.log_url and pusher.log_schema", "bring back a whole copy of the schema")


class PostgresqlLog(EngineLog):
    """The log in one schema of a database.

    Args:
        folder: Exists; the mark of what was promised is kept there, outside of the server.
        cluster: The schema is that one's, or new.

    Raises:
        LogDamagedError: The log is not the one that was promised, or has lost its end.
        LogStoreError: The server refuses, or the schema is another cluster's.
        StoreFullError: The server can't be reached.
    """

    _id_taken = (psycopg.errors.UniqueViolation,)
    _readers: Readers

    def __init__(
        self, folder: Path, settings: LogSettings, cluster: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.damage = KnownDamage()
        options = settings.postgresql
        self._waits_for = options.log_synchronous_commit
        self._monotonic = monotonic
        self._tables = f'"{options.log_schema}"'
        self._connecting = Connecting(settings.log_url, options)
        self._writer = Writer(self._connecting, options)
        self._readers = Readers(self._connecting, options.log_schema, self.ends)
        self._ids = TrimmedIds(folder / "postgresql-ids", self._tables, self._readers.rows)
        self._mark_path = folder / "log.end"
        self._size_bytes = 0
        self._looks_again_at_s = -math.inf
        promise = read_mark(self._mark_path)
        at_once = time.monotonic()  # who opens tries again by itself, and can say meanwhile what it waits for
        try:
            self._writer.patiently(lambda: prepare(self._writer.connection(), options.log_schema, cluster), at_once)
            self._writer.patiently(lambda: self._look(self._writer.connection()), at_once)
            self._writer.patiently(lambda: self._look_at_promise(self._writer.connection()), at_once)
            place = f"schema {options.log_schema} at {self._connecting.place}"
            there = Found(place, self.log_id, self._ends.last, *_MENDS, is_copy=self._holder == COPYING)
            self._check_promise(promise, there, self._holder)
        except BaseException:
            self.close()
            raise

    def _look(self, connection: Connection) -> None:
        """What the server says now."""
        tables = self._tables
        meta: dict[str, str] = dict(connection.execute(f"SELECT name, value FROM {tables}.meta").fetchall())
        self.log_id = str(meta["log_id"])
        rows = connection.execute(f"SELECT log_id, reason FROM {tables}.replaced_logs ORDER BY number").fetchall()
        self.replaced_log_ids = tuple(log_id for log_id, _ in rows)[-REPLACED_MAX:]
        self.adopted_reason = str(rows[-1][1]) if rows else ""
        marked = connection.execute(f"SELECT max(stored_at) FROM {tables}.time_marks").fetchall()[0][0]
        self._time = RunningTime(max(marked or 0.0, float(meta.get("running_s", 0))), self._monotonic)
        self._marked_at, self._kept_at = -math.inf, self._time.now_s()
        fence = connection.execute(f"SELECT first, last, claims, holder FROM {tables}.fence").fetchall()[0]
        first, last, claims, self._holder = fence
        self._ends = LogEnds(first, last)
        self._ids.refresh(lambda statement, values: connection.execute(statement, values).fetchall(), claims)
        self._has_old_ids = connection.execute(f"SELECT EXISTS (SELECT 1 FROM {tables}.old_ids)").fetchone() == (True,)
        self._look_at_mark()

    # -- who writes

    @property
    def _held(self) -> Fence | None:
        return self._writer.held

    def fence(self) -> Fence:
        return self._writer.row().fence

    @notes_damage
    def claim(self, epoch: int, holder: str = "") -> None:
        # Most of them, before others' writes wait for it.
        self._ids.refresh(self._writer.read, self._writer.row().fence.claims)
        fence = self._writer.claim(epoch, holder, self._look)
        self._ids.own(fence.claims)
        self._ends = self._writer.ends
        self._open_mark()

    @notes_damage
    def follow(self, position: int, bytes_max: int) -> Run | None:
        self._writer.patiently(lambda: self._look(self._writer.connection()))
        if position == self._ends.last:
            return None
        return self._readers.read(position + 1, self._ends.last, bytes_max)

    @property
    def place(self) -> str:
        """The server, in words."""
        return self._connecting.place

    def write(self, body: Callable[[Transaction], Any]) -> Any:
        """One transaction, as `Writer.write`: for who moves a log here."""
        result = self._writer.write(body)
        self._ends = self._writer.ends
        return result

    # -- the log

    def rows(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """What else is read, for who moves a log here. Raises LogStoreError."""
        return self._readers.rows(statement, values)

    def _taken(self, update_ids: Sequence[str]) -> Taken | None:
        return self._find_gone(update_ids) or None

    def _insert(self, first: int, updates: NewUpdates, rules: Sequence[tuple[int, bytes]]) -> None:
        last = first + len(updates.frames) - 1
        records = record_rows(first, updates.update_ids, updates.frames)
        ids = id_rows(first, updates.update_ids, updates.contents)
        now = self._time.now_s()
        is_marked = now - self._marked_at >= _TIME_MARK_S

        def insert(transaction: Transaction) -> None:
            connection, tables = transaction.connection, self._tables
            _copy(connection, f"{tables}.kept_ids (update_id, position, content_hash)", ids)
            _copy(connection, f"{tables}.records (position, update_id, frame)", records)
            for index, content in rules:
                row = (first + index, content, checksum(first + index, content))
                connection.execute(f"INSERT INTO {tables}.rules VALUES (%s, %s, %s)", row)
            if is_marked:
                connection.execute(
                    f"INSERT INTO {tables}.time_marks VALUES (%s, %s) ON CONFLICT (position) DO NOTHING", (last, now)
                )
            transaction.ends = transaction.ends._replace(last=last)

        self.write(insert)
        if is_marked:
            self._marked_at = now

    def _check_claim(self) -> None:
        self._writer.check_claim()

    def _known(self, update_ids: Sequence[str], contents: Sequence[bytes], taken: Taken) -> Known:
        known: Known = {}
        gone = dict(taken)
        for update_id, (position, content) in gone.items():
            if content == UNKNOWN_CONTENT:
                text = f"log record at position {position}, of {update_id}, was damaged before it was trimmed"
                raise LogDamagedError(text, position)
        for update_id, position, content, frame in self._find(update_ids):
            if frame is None:
                gone[update_id] = (position, unsigned(content))
                continue
            try:
                known[update_id] = (position, update_bytes(position, bytes(frame)))
            except RecordDamagedError as error:
                raise LogDamagedError(f"{error} in {self._connecting.place}", position) from error
        return {**known, **recognized(gone, update_ids, contents)}

    def _find_gone(self, update_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Position and content hash of those ids whose records were trimmed."""
        return {**self._ids.find(update_ids), **self._find_old(update_ids)}

    def _find_old(self, update_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Position and content hash of those ids that came with a log that was moved here."""
        if not self._has_old_ids:
            return {}
        keys = keys_of(update_ids)
        wanted = list(zip(map(signed, keys.high.tolist()), keys.low.tolist(), strict=True))
        rows = self._readers.rows(
            f"SELECT old_ids.high, old_ids.low, position, content_hash FROM {self._tables}.old_ids "
            "JOIN unnest(%s::bigint[], %s::bigint[]) AS asked (high, low) USING (high, low)",
            ([high for high, _ in wanted], [low for _, low in wanted]),
        )
        found = {(high, low): (position, unsigned(content)) for high, low, position, content in rows}
        return {update_id: found[key] for update_id, key in zip(update_ids, wanted, strict=True) if key in found}

    def _find(self, update_ids: Sequence[str]) -> list[tuple[Any, ...]]:
        return self._readers.rows(
            f"SELECT kept_ids.update_id, kept_ids.position, content_hash, frame FROM {self._tables}.kept_ids "
            f"LEFT JOIN {self._tables}.records USING (position) WHERE kept_ids.update_id = ANY(%s)",
            (list(update_ids),),
        )

    @notes_damage
    def find(self, update_ids: Sequence[str]) -> set[str]:
        rows = self._readers.rows(
            f"SELECT update_id FROM {self._tables}.kept_ids WHERE update_id = ANY(%s)", (list(update_ids),)
        )
        return {*(row[0] for row in rows), *self._find_gone(update_ids)}

    # -- what else is written

    @notes_damage
    def trim(self, first_position: int, count_max: int) -> int:
        first, last = self._ends
        end = self._trims_to(first_position, count_max)
        if end <= first:
            return 0

        update_ids, entries = self._old_entries(first, end)
        row = self._ids.write(entries)

        def trim(transaction: Transaction) -> None:
            connection, tables = transaction.connection, self._tables
            connection.execute(f"DELETE FROM {tables}.records WHERE position < %s", (end,))
            connection.execute(f"DELETE FROM {tables}.kept_ids WHERE update_id = ANY(%s)", (update_ids,))
            connection.execute(f"DELETE FROM {tables}.time_marks WHERE position < %s", (end,))
            self._ids.count_in(connection, row)
            transaction.ends = LogEnds(end, last)

        self.write(trim)
        self._ids.take(row)
        return end - first

    def _old_entries(self, first: int, end: int) -> tuple[list[str], Entries]:
        """The ids of records from `first` to before `end`, and what is kept of them. Raises LogDamagedError."""
        found = self._readers.rows(f"SELECT update_id FROM {self._tables}.records WHERE position < %s", (end,))
        update_ids = [str(row[0]) for row in found]
        rows = self._readers.rows(
            f"SELECT update_id, position, content_hash FROM {self._tables}.kept_ids WHERE update_id = ANY(%s)",
            (update_ids,),
        )
        if len(rows) != end - first:
            self._check_claim()  # it may be another pusher that has trimmed them
            text = f"of log records {first} to {end - 1}, {end - first - len(rows)} are missing"
            raise LogDamagedError(text, first)
        update_ids = [str(row[0]) for row in rows]
        positions = np.array([row[1] for row in rows], dtype=np.int64).view(np.uint64)
        contents = np.array([row[2] for row in rows], dtype=np.int64).view(np.uint64)
        return update_ids, Entries(*keys_of(update_ids), contents, positions)

    @notes_damage
    def merge_ids(self, is_over: Callable[[], bool] = bool) -> Callable[[], None] | None:
        merged = self._ids.merge(is_over)
        if merged is None:
            return None

        def take_merged() -> None:
            self.write(lambda transaction: self._ids.count_merged(transaction.connection, *merged))
            self._ids.take_merged(*merged)

        return take_merged

    def add_ids(self, entries: Entries, *further: tuple[str, Any]) -> None:
        """Ids that were trimmed elsewhere, for who moves a log here: with further statements, all or nothing."""
        row = self._ids.write(entries)

        def add(transaction: Transaction) -> None:
            self._ids.count_in(transaction.connection, row)
            for statement, values in further:
                transaction.connection.execute(statement, values)

        self.write(add)
        self._ids.take(row)

    def id_checks(self, bytes_max: int) -> Sequence[Callable[[], None]]:
        return self._ids.checks(bytes_max)

    def keep_time(self) -> None:
        now = self._time.now_s()
        if now - self._kept_at >= _KEEP_TIME_S:
            self.write(lambda transaction: self._set(transaction, "running_s", str(now)))
            self._kept_at = now

    def _set(self, transaction: Transaction, name: str, value: str) -> None:
        transaction.connection.execute(
            f"INSERT INTO {self._tables}.meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def try_room(self) -> None:
        def write(transaction: Transaction) -> None:
            # As a push would: each table has room, and rights, of its own.
            connection, tables = transaction.connection, self._tables
            self._set(transaction, "room", "x" * _ROOM_BYTES)
            connection.execute(f"INSERT INTO {tables}.records VALUES (0, '', '')")
            connection.execute(f"INSERT INTO {tables}.kept_ids VALUES ('', 0, 0)")
            connection.execute(f"DELETE FROM {tables}.records WHERE position = 0")
            connection.execute(f"DELETE FROM {tables}.kept_ids WHERE update_id = ''")

        self.write(write)
        self.write(
            lambda transaction: transaction.connection.execute(f"DELETE FROM {self._tables}.meta WHERE name = 'room'")
        )

    def adopt(self, log_id: str, replaced_log_ids: Sequence[str], reason: str) -> None:
        def adopt(transaction: Transaction) -> None:
            for replaced in replaced_log_ids:
                transaction.connection.execute(
                    f"INSERT INTO {self._tables}.replaced_logs "
                    f"SELECT coalesce(max(number), 0) + 1, %s, %s FROM {self._tables}.replaced_logs",
                    (replaced, reason),
                )
            self._set(transaction, "log_id", log_id)

        self.write(adopt)
        self._adopted(log_id, replaced_log_ids, reason)

    def save_import(self, stored: StoredImport) -> None:
        row = (stored.status.manifest.import_id, stored.taken, stored.status.SerializeToString())
        self.write(
            lambda transaction: transaction.connection.execute(
                f"INSERT INTO {self._tables}.imports VALUES (%s, %s, %s) ON CONFLICT (import_id) "
                "DO UPDATE SET taken = excluded.taken, status = excluded.status",
                row,
            )
        )

    # -- upkeep

    def durability(self) -> Durability:
        """See `LogStore`: as of the last look."""
        return self._durability

    def waits_for(self) -> str:
        return self._writer.waits_for

    def _look_at_promise(self, connection: Connection) -> None:
        """What a commit waits for, by the server's settings."""
        rows = connection.execute(
            "SELECT current_setting('synchronous_standby_names'), current_setting('fsync') = 'on', "
            "current_setting('server_version')"
        ).fetchall()
        standbys, syncs, version = rows[0]
        self._durability = promised(standbys, syncs, version, self._waits_for, self._connecting.place)

    def size_bytes(self) -> int:
        """See `LogStore`: as of the last look; nobody waits for the server."""
        return self._size_bytes

    @notes_damage
    def tend(self) -> None:
        """Looks how large the tables are; sees to what a look through the copies of ids met."""
        self._ids.mend_copy()
        now_s = self._monotonic()
        if now_s < self._looks_again_at_s:
            return
        self._looks_again_at_s = now_s + _LOOK_S
        self._writer.patiently(lambda: self._look_at_promise(self._writer.connection()))
        sizes = self._readers.rows(
            "SELECT sum(pg_total_relation_size(format('%%I.%%I', schemaname, tablename)::regclass))::bigint "
            "FROM pg_tables WHERE schemaname = %s",
            (self._tables.strip('"'),),
        )
        self._size_bytes = int(sizes[0][0] or 0)
        self._keep_mark()

    def close(self) -> None:
        self._readers.close()
        self._writer.close()
        self._close_mark()


def _copy(connection: Connection, columns: str, rows: bytes) -> None:
    with connection.cursor() as cursor, cursor.copy(f"COPY {columns} FROM STDIN (FORMAT binary)") as copy:
        copy.write(rows)
