"""The log in one SQLite file: the embedded engine.

Why it is fast enough: one multi-row statement instead of one a row (the interpreter lock is let go once, for all of
SQLite's work), one fsync for a group of pushes, and no look-up of ids beforehand: a duplicate fails the statement on
the unique index, and only then is looked up. Checkpoints run on a connection of their own (`wal_checkpointer.py`).

Why it is safe: WAL with synchronous=FULL (an fsync of the WAL a commit). SQLite cuts off a damaged end of a WAL in
silence when it opens one; `end_mark.py` keeps, outside of SQLite, up to which position was promised, so that such a
loss is an error here.
"""

from __future__ import annotations

import logging
import math
import queue
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from fasttree.v1 import types_pb2
from services.pusher.log.damage import notes_damage
from services.pusher.log.disk.database import connect, damage_between, errors_told, prepare
from services.pusher.log.disk.end_mark import EndMark, Promise, check_promise, check_there, read_mark
from services.pusher.log.disk.log_files import LogFiles
from services.pusher.log.disk.statements import (
    FINDS,
    INSERTS,
    KEEP_TIME_S,
    KEPT_TIME,
    NAMED,
    READ,
    READ_ROWS,
    ROOM_BYTES,
    TIME_MARK_S,
    pieces,
)
from services.pusher.log.disk.trimmed_ids import TrimmedIds
from services.pusher.log.disk.wal_checkpointer import WalCheckpointer
from services.pusher.log.frames import Run, check_run, run_of, sound_updates, update_bytes
from services.pusher.log.placing import place
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import (
    REPLACED_MAX,
    Appended,
    KnownDamage,
    LogDamagedError,
    LogEnds,
    LogGoneError,
    LogStore,
    LogStoreError,
    NotInLogError,
    StoredImport,
    read_imports,
)
from services.shared.clock import RunningTime
from services.shared.domain.limits import UPDATE_ID_LENGTH_MAX
from services.shared.wire.record import RecordDamagedError, checksum, encode_frames

logger = logging.getLogger(__name__)


class SqliteLog(LogStore):
    """The log in `folder/log.db`.

    Args:
        folder: Exists, and is this process's own (a lock on it is the caller's duty).
        settings: The writer's page cache (the index of ids should fit), and how large the file may get.
        monotonic: Seconds of a clock that never jumps: ages are counted by it.

    Raises:
        LogDamagedError: The file is no log, or has lost its end.
        LogStoreError: The file is a log of a newer version.
        StoreFullError: It can't be created or opened.
    """

    def __init__(
        self, folder: Path, settings: LogSettings | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = folder / "log.db"
        self.damage = KnownDamage()
        self._told = partial(errors_told, self.path)
        self._settings = settings or LogSettings()
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        mark_path = folder / "log.end"
        promise = read_mark(mark_path)
        check_there(promise, self.path)
        with self._told():
            self._writer = connect(self.path, self._settings, make=True)
        try:
            self._open(folder, promise, mark_path, monotonic)
        except BaseException:
            self._writer.close()  # whoever tries again must not find it in use
            raise
        self._mark = EndMark(mark_path, self.log_id)
        if self.vouched_for:
            self._mark.write(self._ends.last)
        self._checkpointer = WalCheckpointer(self.path)
        self._checkpointer.start()

    def _open(self, folder: Path, promise: Promise, mark_path: Path, monotonic: Callable[[], float]) -> None:
        """Reads what the file says of itself, and holds it against what was promised."""
        with self._told():
            prepare(self._writer, self.path)
            self.log_id = str(self._writer.execute("SELECT value FROM meta WHERE name = 'log_id'").fetchone()[0])
            first, last = self._writer.execute("SELECT min(position), max(position) FROM log").fetchone()
            kept = self._writer.execute(KEPT_TIME).fetchone()[0]
            replaced = self._writer.execute("SELECT log_id, reason FROM replaced_logs ORDER BY number").fetchall()
            self._ids = TrimmedIds(folder / "ids", self._writer)
            self._files = LogFiles(self.path, self._ids, self.damage, monotonic)
        self.replaced_log_ids = tuple(log_id for log_id, _ in replaced)[-REPLACED_MAX:]
        self.adopted_reason = str(replaced[-1][1]) if replaced else ""
        self._ends = LogEnds(first or 1, last or 0)
        self._time = RunningTime(kept or 0.0, monotonic)
        #: When a mark was made last by this process, and when the running time was kept.
        self._marked_at = -math.inf
        self._kept_at = self._time.now_s()
        if not any(map(promise.is_of, self.replaced_log_ids)):  # else it died between an adoption and its first mark
            check_promise(promise, mark_path, self.path, self.log_id, self._ends.last)
        # The record that a new log begins with (position 1) is the pusher's own: nobody has a receipt for it.
        self.vouched_for = promise.position > 1 and promise.is_of(self.log_id)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the body's writes, or none; on disk when it is left."""
        self._files.check()
        with self._told():
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if not self._writer.in_transaction:
            return
        try:
            self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            # A connection that can't roll back can't be trusted: a new one starts from what is on disk.
            logger.exception("can't roll back; opens %s anew", self.path)
            self._writer.close()
            self._writer = connect(self.path, self._settings)

    # -- the log

    def ends(self) -> LogEnds:
        return self._ends

    @notes_damage
    def append(self, update_ids: Sequence[str], contents: Sequence[bytes], rules: Sequence[int] = ()) -> Appended:
        self._files.check()
        gone = self._ids.find(update_ids)
        if gone:
            return self._append_unknown(update_ids, contents, gone, rules)
        try:
            run = self._insert(update_ids, contents, [(index, contents[index]) for index in rules])
        except sqlite3.IntegrityError:
            return self._append_unknown(update_ids, contents, gone, rules)
        return Appended(run, range(run.first_position, run.last_position + 1))

    def _insert(
        self, update_ids: Sequence[str], contents: Sequence[bytes], rules: Sequence[tuple[int, bytes]] = ()
    ) -> Run:
        """Stores updates that should all be new. `rules`: by their distance from the first.

        Raises:
            sqlite3.IntegrityError: One is not; nothing was stored.
        """
        first = self._ends.last + 1
        frames = encode_frames(first, contents)
        values: list[Any] = [None] * (3 * len(frames))
        values[0::3] = range(first, first + len(frames))
        values[1::3] = update_ids
        values[2::3] = frames
        now = self._time.now_s()
        if len(frames) in INSERTS and now - self._marked_at < TIME_MARK_S and not rules:
            # One statement is a transaction by itself, and lets go of the interpreter lock once, not three times.
            with self._told():
                self._writer.execute(INSERTS[len(frames)], values)
            return self._inserted(first, frames)
        with self._transaction() as writer:
            for offset, rows in pieces(len(frames)):
                writer.execute(INSERTS[rows], values[3 * offset : 3 * (offset + rows)])
            for index, content in rules:
                row = (first + index, content, checksum(first + index, content))
                writer.execute("INSERT INTO rules VALUES (?, ?, ?)", row)
            if now - self._marked_at >= TIME_MARK_S:
                writer.execute("INSERT OR REPLACE INTO time_marks VALUES (?, ?)", (first + len(frames) - 1, now))
        if now - self._marked_at >= TIME_MARK_S:
            self._marked_at = now
        return self._inserted(first, frames)

    def _inserted(self, first: int, frames: list[bytes]) -> Run:
        """Frames are on disk, the first at position `first`."""
        run = run_of(first, frames)
        self._ends = LogEnds(self._ends.first, run.last_position)
        self._mark.write(run.last_position)
        return run

    def _append_unknown(
        self,
        update_ids: Sequence[str],
        contents: Sequence[bytes],
        gone: dict[str, tuple[int, int]],
        rules: Sequence[int],
    ) -> Appended:
        """Stores those updates that are new, after a look-up of all. `gone`: those whose records are trimmed."""
        first = self._ends.last + 1
        known = {**self._find(update_ids), **self._ids.known(gone, update_ids, contents)}
        placed = place(update_ids, contents, known, first)
        kept = [(placed.positions[index] - first, contents[index]) for index in rules]
        run = self._insert(list(placed.fresh), list(placed.fresh.values()), kept) if placed.fresh else None
        return Appended(run, placed.positions, placed.duplicates, placed.conflicts)

    def _find(self, update_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Position and content of those ids that are in the log."""
        found: dict[str, tuple[int, bytes]] = {}
        with self._told():
            for offset, rows in pieces(len(update_ids)):
                known = self._writer.execute(FINDS[rows], update_ids[offset : offset + rows])
                for position, update_id, frame in known:
                    try:
                        found[update_id] = (position, update_bytes(position, frame))
                    except RecordDamagedError as error:
                        raise LogDamagedError(str(error), position) from error
        return found

    @notes_damage
    def find(self, update_ids: Sequence[str]) -> set[str]:
        return {*self._find(update_ids), *self._ids.find(update_ids)}

    @notes_damage
    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        found: list[tuple[int, types_pb2.Update]] = []
        with self._reader() as reader, self._told():
            for position, content, crc32 in reader.execute("SELECT * FROM rules ORDER BY position"):
                try:
                    if checksum(position, content) != crc32:
                        raise DecodeError("its checksum is wrong")
                    found.append((position, types_pb2.Update.FromString(content)))
                except DecodeError as error:
                    raise LogDamagedError(
                        f"the record of a rule at position {position} in {self.path} is damaged: {error}", position
                    ) from error
        return found

    @notes_damage
    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        ends = self._ends
        if not ends.first <= first_position <= ends.last:
            raise NotInLogError(f"position {first_position} is not in the log ({ends.first} to {ends.last})")
        last_position = min(last_position, ends.last, first_position + READ_ROWS - 1)
        with self._reader() as reader:
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
        if self._ends.first > first:
            return NotInLogError(f"position {first} is no longer in the log: it begins at {self._ends.first}")
        return damage_between(reader, self.path, first, last, error)

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection for one read, from any thread."""
        try:
            connection = self._readers.get_nowait()
        except queue.Empty:
            if problem := self._files.problem():  # what is there now may be another log
                raise LogGoneError(problem) from None
            with self._told():
                connection = connect(self.path, self._settings)
                connection.execute("PRAGMA cache_size = -2048")
        try:
            yield connection
        finally:
            self._readers.put(connection)

    @notes_damage
    def update_id_at(self, position: int) -> str:
        first, last = self._ends
        if not first <= position <= last:
            return ""  # it may be larger than SQLite's numbers are
        with self._reader() as reader, self._told():
            row = reader.execute("SELECT update_id FROM log WHERE position = ?", (position,)).fetchone()
        return row[0] if row is not None else ""

    @notes_damage
    def named(self, prefix: str) -> list[tuple[int, bytes]]:
        between = (prefix, prefix + "~" * UPDATE_ID_LENGTH_MAX)  # ids are of ASCII, whose last one that prints is "~"
        with self._reader() as reader, self._told():
            return sound_updates(reader.execute(NAMED, between), logger.error)

    @notes_damage
    def trim(self, first_position: int, count_max: int) -> int:
        first, last = self._ends
        end = min(first_position, last, first + count_max)
        if end <= first:
            return 0
        with self._transaction() as writer:
            kept = self._ids.write(writer, first, end)
            writer.execute("DELETE FROM log WHERE position < ?", (end,))
            writer.execute("DELETE FROM time_marks WHERE position < ?", (end,))
            self._ids.count_in(writer, kept)
        self._ids.take(kept)
        self._ends = LogEnds(end, last)
        return end - first

    @notes_damage
    def merge_ids(self) -> Callable[[], None] | None:
        merged = self._ids.merge()
        if merged is None:
            return None

        def take_merged() -> None:
            with self._transaction() as writer:
                self._ids.count_merged(writer, *merged)
            self._ids.take_merged(*merged)

        return take_merged

    def position_older_than(self, age_s: float) -> int:
        """See `LogStore`. Known to about half a minute."""
        until_s = self._time.now_s() - age_s
        with self._reader() as reader, self._told():
            found = reader.execute("SELECT max(position) FROM time_marks WHERE stored_at <= ?", (until_s,)).fetchone()
        return found[0] or 0

    def keep_time(self) -> None:
        now = self._time.now_s()
        if now - self._kept_at < KEEP_TIME_S:
            return
        with self._transaction() as writer:
            writer.execute("INSERT OR REPLACE INTO meta VALUES ('running_s', ?)", (str(now),))
        self._kept_at = now

    def try_room(self) -> None:
        with self._transaction() as writer:
            writer.execute("INSERT OR REPLACE INTO meta VALUES ('room', zeroblob(?))", (ROOM_BYTES,))
        with self._transaction() as writer:
            writer.execute("DELETE FROM meta WHERE name = 'room'")

    def adopt(self, log_id: str, replaced_log_ids: Sequence[str], reason: str) -> None:
        with self._transaction() as writer:
            rows = [(replaced, reason) for replaced in replaced_log_ids]
            writer.executemany("INSERT INTO replaced_logs (log_id, reason) VALUES (?, ?)", rows)
            writer.execute("UPDATE meta SET value = ? WHERE name = 'log_id'", (log_id,))
        self.replaced_log_ids = (*self.replaced_log_ids, *replaced_log_ids)[-REPLACED_MAX:]
        self.log_id, self.adopted_reason, self.vouched_for = log_id, reason, True
        mark, self._mark = self._mark, EndMark(self.path.with_name("log.end"), log_id)
        mark.close()
        self._mark.write(self._ends.last)

    def save_import(self, stored: StoredImport) -> None:
        row = (stored.status.manifest.import_id, stored.taken, stored.status.SerializeToString())
        with self._transaction() as writer:
            writer.execute("INSERT OR REPLACE INTO imports VALUES (?, ?, ?)", row)

    @notes_damage
    def imports(self) -> list[StoredImport]:
        with self._reader() as reader, self._told():
            return read_imports(reader.execute("SELECT * FROM imports ORDER BY import_id"), str(self.path))

    def size_bytes(self) -> int:
        """See `LogStore`: the file and its WAL."""
        wal = self.path.with_name("log.db-wal")
        return sum(file.stat().st_size for file in (self.path, wal) if file.exists()) + self._ids.size_bytes

    def tend(self) -> None:
        """Finishes a checkpoint whose bulk is done, so that the WAL starts again from its beginning; looks after the
        log's files."""
        self._checkpointer.finish(self._writer)
        if self._files.look():
            self._mark.keep()
            if self.damage.gone:  # it may be the WAL alone
                self._checkpointer.finish(self._writer, at_once=True)

    def close(self) -> None:
        self._checkpointer.stop()
        while not self._readers.empty():
            self._readers.get_nowait().close()
        self._writer.close()
        self._mark.close()
