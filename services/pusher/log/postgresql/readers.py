"""What is read of a log in PostgreSQL, from any thread: as many connections as reads go on at once."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from typing import Any

import psycopg
from google.protobuf.message import DecodeError

from fasttree.v1 import types_pb2
from services.pusher.log.frames import Run
from services.pusher.log.postgresql.connecting import Connecting
from services.pusher.log.store import (
    LogDamagedError,
    LogEnds,
    LogStoreError,
    NotInLogError,
    StoredImport,
    read_imports,
)
from services.pusher.log.stored.frames import check_run, sound_updates, update_bytes
from services.shared.domain.limits import UPDATE_ID_LENGTH_MAX
from services.shared.postgresql.connecting import Connection
from services.shared.wire.record import RecordDamagedError, checksum

logger = logging.getLogger(__name__)

#: Records of one read at most.
_READ_ROWS = 1000


class Readers:
    """Reads. `ends`: the log's, as they are known at the moment."""

    def __init__(self, connecting: Connecting, schema: str, ends: Callable[[], LogEnds]) -> None:
        self._connecting, self._ends = connecting, ends
        self._tables = f'"{schema}"'
        self._idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()

    def rows(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Rows of a statement that may be run again, and is where its connection has gone. Raises LogStoreError."""
        with self._connecting.told():
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return self._rows(self._connecting.connect(), statement, values)
            try:
                return self._rows(connection, statement, values)
            except psycopg.OperationalError:
                return self._rows(self._connecting.connect(), statement, values)

    def _rows(self, connection: Connection, statement: str, values: Any) -> list[tuple[Any, ...]]:
        try:
            with connection.cursor(binary=True) as cursor:
                found = cursor.execute(statement, values).fetchall()
        except psycopg.Error:
            connection.close()
            raise
        self._idle.put(connection)
        return found

    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        """See `LogStore.read`."""
        ends = self._ends()
        if not ends.first <= first_position <= ends.last:
            raise NotInLogError(f"position {first_position} is not in the log ({ends.first} to {ends.last})")
        last_position = min(last_position, ends.last, first_position + _READ_ROWS - 1)
        count, data = self.rows(
            f"SELECT count(*), string_agg(frame, ''::bytea ORDER BY position) FROM {self._tables}.records "
            "WHERE position BETWEEN %s AND %s",
            (first_position, last_position),
        )[0]
        try:
            if count != last_position - first_position + 1:
                raise RecordDamagedError("a record is missing")
            run = check_run(first_position, bytes(data))
            if len(run.ends) != count:
                raise RecordDamagedError("a record holds more than one")
        except RecordDamagedError as error:
            raise self._damage(first_position, last_position, error) from error
        return run.cut(first_position, last_position, bytes_max)

    def _damage(self, first: int, last: int, error: Exception) -> LogStoreError:
        """What exactly is wrong between two positions, after something was."""
        begin = max(self._ends().first, self.rows(f"SELECT first FROM {self._tables}.fence")[0][0])
        if begin > first:  # another process may have trimmed it, which this one has not seen yet
            return NotInLogError(f"position {first} is no longer in the log: it begins at {begin}")
        place = self._connecting.place
        for position in range(first, last + 1):
            found = self.rows(f"SELECT frame FROM {self._tables}.records WHERE position = %s", (position,))
            if not found:
                return LogDamagedError(f"log record at position {position} is missing from {place}", position)
            try:
                update_bytes(position, bytes(found[0][0]))
            except RecordDamagedError as damage:
                return LogDamagedError(f"{damage} in {place}", position)
        return LogDamagedError(f"log records at positions {first} to {last} can't be read from {place}: {error}")

    def update_id_at(self, position: int) -> str:
        """See `LogStore.update_id_at`."""
        first, last = self._ends()
        if not first <= position <= last:
            return ""  # it may be larger than PostgreSQL's numbers are
        found = self.rows(f"SELECT update_id FROM {self._tables}.records WHERE position = %s", (position,))
        return str(found[0][0]) if found else ""

    def named(self, prefix: str) -> list[tuple[int, bytes]]:
        """See `LogStore.named`."""
        found = self.rows(
            f"SELECT position, frame FROM {self._tables}.kept_ids JOIN {self._tables}.records USING (position) "
            "WHERE kept_ids.update_id BETWEEN %s AND %s ORDER BY position",
            (prefix, prefix + "~" * UPDATE_ID_LENGTH_MAX),  # ids are of ASCII, whose last one that prints is "~"
        )
        return sound_updates(((position, bytes(frame)) for position, frame in found), logger.error)

    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        """See `LogStore.rule_records`."""
        found: list[tuple[int, types_pb2.Update]] = []
        rows = self.rows(f"SELECT position, content, crc32 FROM {self._tables}.rules ORDER BY position")
        for position, content, crc32 in rows:
            try:
                if checksum(position, bytes(content)) != crc32:
                    raise DecodeError("its checksum is wrong")
                found.append((position, types_pb2.Update.FromString(bytes(content))))
            except DecodeError as error:
                text = f"the record of a rule at position {position} in {self._connecting.place} is damaged: {error}"
                raise LogDamagedError(text, position) from error
        return found

    def imports(self) -> list[StoredImport]:
        """See `LogStore.imports`."""
        rows = self.rows(f"SELECT import_id, taken, status FROM {self._tables}.imports ORDER BY import_id")
        return read_imports(((number, taken, bytes(status)) for number, taken, status in rows), self._connecting.place)

    def position_marked_until(self, running_s: float) -> int:
        """The newest position that was marked by that running time; 0 if none was."""
        found = self.rows(f"SELECT max(position) FROM {self._tables}.time_marks WHERE stored_at <= %s", (running_s,))
        return int(found[0][0] or 0)

    def close(self) -> None:
        """Ends them."""
        while not self._idle.empty():
            self._idle.get_nowait().close()
