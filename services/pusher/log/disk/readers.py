"""What is read of the log's SQLite file, from any thread."""

from __future__ import annotations

import logging
import queue
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from google.protobuf.message import DecodeError

from fasttree.v1 import types_pb2
from services.pusher.log.disk.database import connect, damage_between, errors_told
from services.pusher.log.disk.statements import NAMED, READ, READ_ROWS
from services.pusher.log.frames import Run
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import (
    LogDamagedError,
    LogEnds,
    LogGoneError,
    LogStoreError,
    NotInLogError,
    StoredImport,
    read_imports,
)
from services.pusher.log.stored.frames import check_run, sound_updates
from services.shared.domain.limits import UPDATE_ID_LENGTH_MAX
from services.shared.wire.record import RecordDamagedError, checksum

logger = logging.getLogger(__name__)


class Readers:
    """Connections for reading, as many as reads go on at once.

    Args:
        gone: Which of the log's files is no longer in its place; empty where all are.
        ends: The log's, as they are known at the moment.
    """

    def __init__(self, path: Path, settings: LogSettings, gone: Callable[[], str], ends: Callable[[], LogEnds]) -> None:
        self._path, self._settings, self._gone, self._ends = path, settings, gone, ends
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()

    def told(self) -> AbstractContextManager[None]:
        """Turns SQLite's errors into the store's."""
        return errors_told(self._path)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """One, for one read."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            if problem := self._gone():  # what is there now may be another log
                raise LogGoneError(problem) from None
            with self.told():
                connection = connect(self._path, self._settings)
                connection.execute("PRAGMA cache_size = -2048")
        try:
            yield connection
        finally:
            self._idle.put(connection)

    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        """See `LogStore.read`."""
        ends = self._ends()
        if not ends.first <= first_position <= ends.last:
            raise NotInLogError(f"position {first_position} is not in the log ({ends.first} to {ends.last})")
        last_position = min(last_position, ends.last, first_position + READ_ROWS - 1)
        with self.connection() as reader:
            try:
                count, data = reader.execute(READ, (first_position, last_position)).fetchone()
                if count != last_position - first_position + 1:
                    raise RecordDamagedError("a record is missing")
                run = check_run(first_position, data)
                if len(run.ends) != count:
                    raise RecordDamagedError("a record holds more than one")
            except (RecordDamagedError, sqlite3.DatabaseError) as error:
                raise self._damage(reader, first_position, last_position, error) from error
        return run.cut(first_position, last_position, bytes_max)

    def _damage(self, reader: sqlite3.Connection, first: int, last: int, error: Exception) -> LogStoreError:
        """What exactly is wrong between two positions, after something was."""
        begin = self._ends().first
        with self.told():  # another process may have trimmed it, which this one has not seen yet
            begin = max(begin, reader.execute("SELECT min(position) FROM log").fetchone()[0] or begin)
        if begin > first:
            return NotInLogError(f"position {first} is no longer in the log: it begins at {begin}")
        return damage_between(reader, self._path, first, last, error)

    def update_id_at(self, position: int) -> str:
        """See `LogStore.update_id_at`."""
        first, last = self._ends()
        if not first <= position <= last:
            return ""  # it may be larger than SQLite's numbers are
        with self.connection() as reader, self.told():
            row = reader.execute("SELECT update_id FROM log WHERE position = ?", (position,)).fetchone()
        return row[0] if row is not None else ""

    def named(self, prefix: str) -> list[tuple[int, bytes]]:
        """See `LogStore.named`."""
        between = (prefix, prefix + "~" * UPDATE_ID_LENGTH_MAX)  # ids are of ASCII, whose last one that prints is "~"
        with self.connection() as reader, self.told():
            return sound_updates(reader.execute(NAMED, between), logger.error)

    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        """See `LogStore.rule_records`."""
        found: list[tuple[int, types_pb2.Update]] = []
        with self.connection() as reader, self.told():
            for position, content, crc32 in reader.execute("SELECT * FROM rules ORDER BY position"):
                try:
                    if checksum(position, content) != crc32:
                        raise DecodeError("its checksum is wrong")
                    found.append((position, types_pb2.Update.FromString(content)))
                except DecodeError as error:
                    raise LogDamagedError(
                        f"the record of a rule at position {position} in {self._path} is damaged: {error}", position
                    ) from error
        return found

    def imports(self) -> list[StoredImport]:
        """See `LogStore.imports`."""
        with self.connection() as reader, self.told():
            return read_imports(reader.execute("SELECT * FROM imports ORDER BY import_id"), str(self._path))

    def position_marked_until(self, running_s: float) -> int:
        """The newest position that was marked by that running time; 0 if none was."""
        with self.connection() as reader, self.told():
            found = reader.execute("SELECT max(position) FROM time_marks WHERE stored_at <= ?", (running_s,)).fetchone()
        return found[0] or 0

    def close(self) -> None:
        """Ends them."""
        while not self._idle.empty():
            self._idle.get_nowait().close()
