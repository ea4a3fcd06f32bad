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
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from services.pusher.log.damage import notes_damage
from services.pusher.log.disk.database import errors_told
from services.pusher.log.disk.end_mark import Found, Promise, check_there, read_mark
from services.pusher.log.disk.log_files import LogFiles
from services.pusher.log.disk.readers import Readers
from services.pusher.log.disk.statements import (
    FINDS,
    INSERTS,
    KEEP_TIME_S,
    KEPT_TIME,
    ROOM_BYTES,
    TIME_MARK_S,
    pieces,
)
from services.pusher.log.disk.trimmed_ids import TrimmedIds
from services.pusher.log.disk.wal_checkpointer import WalCheckpointer
from services.pusher.log.disk.writing import FencedWriter, read_fence
from services.pusher.log.engine.engine_log import EngineLog, Known, NewUpdates, Taken
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.frames import Run
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import (
    REPLACED_MAX,
    Durability,
    KnownDamage,
    LogDamagedError,
    LogEnds,
    StoredImport,
    StoreFullError,
)
from services.pusher.log.stored.frames import update_bytes
from services.shared.clock import RunningTime
from services.shared.domain.sentences import with_mend
from services.shared.wire.record import RecordDamagedError, checksum

logger = logging.getLogger(__name__)


class SqliteLog(EngineLog):
    """The log in `folder/log.db`.

    Args:
        folder: Exists, and is this process's own (a lock on it is the caller's duty).
        settings: The writer's page cache (the index of ids should fit), and how large the file may get.
        cluster: Whose log it is, which whoever claims it notes there; empty: nothing is noted.
        monotonic: Seconds of a clock that never jumps: ages are counted by it.

    Raises:
        LogDamagedError: The file is no log, or has lost its end.
        LogStoreError: The file is a log of a newer version.
        StoreFullError: It can't be created or opened.
    """

    _id_taken = (sqlite3.IntegrityError,)
    _readers: Readers

    def __init__(
        self,
        folder: Path,
        settings: LogSettings | None = None,
        cluster: str = "",
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = folder / "log.db"
        self._cluster = cluster
        self.damage = KnownDamage()
        self._told = partial(errors_told, self.path)
        self._settings = settings or LogSettings()
        self._monotonic = monotonic
        self._mark_path = folder / "log.end"
        promise = read_mark(self._mark_path)
        check_there(promise, self.path)
        self._writer = FencedWriter(self.path, self._settings)
        try:
            self._open(folder, promise)
        except BaseException:
            self._writer.close()  # whoever tries again must not find it in use
            raise
        self._readers = Readers(self.path, self._settings, self._files.problem, self.ends)
        #: From the first claim on.
        self._checkpointer: WalCheckpointer | None = None

    def _open(self, folder: Path, promise: Promise) -> None:
        """Reads what the file says of itself, and holds it against what was promised."""
        with self._told():
            self._writer.prepare()
            self._ids = TrimmedIds(folder / "ids", self._writer.connection)
            self._files = LogFiles(self.path, self._ids, self.damage, self._monotonic)
            self._look()
        self._check_promise(promise, Found(self.path, self.log_id, self._ends.last), self.fence().holder)

    def _look(self) -> None:
        """What the file says now."""
        self.log_id = str(self._writer.execute("SELECT value FROM meta WHERE name = 'log_id'").fetchone()[0])
        first, last = self._writer.execute("SELECT min(position), max(position) FROM log").fetchone()
        kept = self._writer.execute(KEPT_TIME).fetchone()[0]
        replaced = self._writer.execute("SELECT log_id, reason FROM replaced_logs ORDER BY number").fetchall()
        self.replaced_log_ids = tuple(log_id for log_id, _ in replaced)[-REPLACED_MAX:]
        self.adopted_reason = str(replaced[-1][1]) if replaced else ""
        self._ends = LogEnds(first or 1, last or 0)
        self._time = RunningTime(kept or 0.0, self._monotonic)
        #: When a mark was made last by this process, and when the running time was kept.
        self._marked_at = -math.inf
        self._kept_at = self._time.now_s()
        self._look_at_mark()

    # -- who writes

    @property
    def _held(self) -> Fence | None:
        return self._writer.held

    def fence(self) -> Fence:
        with self._told():
            return read_fence(self._writer.connection)

    @notes_damage
    def claim(self, epoch: int, holder: str = "") -> None:
        self._files.check()
        fence = self._writer.claim(epoch, holder, self._look_claiming)
        try:
            self._begin_to_write(fence)
        except OSError as error:
            raise StoreFullError(f"can't write beside {self.path}: {with_mend(error)}") from error

    def _look_again(self) -> None:
        self._ids.refresh(self._writer.connection)
        self._look()

    def _look_claiming(self) -> None:
        self._look_again()
        self._writer.note_cluster(self._cluster)

    def _begin_to_write(self, fence: Fence) -> None:
        self._ids.own(fence.claims)
        self._open_mark()
        if self._checkpointer is None:
            self._checkpointer = WalCheckpointer(self.path)
            self._checkpointer.start()

    @notes_damage
    def follow(self, position: int, bytes_max: int) -> Run | None:
        self._files.check()
        with self._told():
            self._look_again()
        if position == self._ends.last:
            return None
        return self._readers.read(position + 1, self._ends.last, bytes_max)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._files.check()
        with self._writer.transaction() as writer:
            yield writer

    # -- the log

    def _taken(self, update_ids: Sequence[str]) -> Taken | None:
        self._files.check()
        return self._ids.find(update_ids) or None

    def _insert(self, first: int, updates: NewUpdates, rules: Sequence[tuple[int, bytes]]) -> None:
        frames = updates.frames
        values: list[Any] = [None] * (3 * len(frames))
        values[0::3] = range(first, first + len(frames))
        values[1::3] = updates.update_ids
        values[2::3] = frames
        now = self._time.now_s()
        if len(frames) in INSERTS and now - self._marked_at < TIME_MARK_S and not rules and self._writer.writes_at_once:
            # One statement is a transaction by itself, and lets go of the interpreter lock once, not three times.
            self._writer.insert(first, values)
            self._ends = LogEnds(self._ends.first, first + len(frames) - 1)
            return
        with self._transaction() as writer:
            for offset, rows in pieces(len(frames)):
                self._writer.insert(first + offset, values[3 * offset : 3 * (offset + rows)])
            for index, content in rules:
                row = (first + index, content, checksum(first + index, content))
                writer.execute("INSERT INTO rules VALUES (?, ?, ?)", row)
            if now - self._marked_at >= TIME_MARK_S:
                writer.execute("INSERT OR REPLACE INTO time_marks VALUES (?, ?)", (first + len(frames) - 1, now))
        if now - self._marked_at >= TIME_MARK_S:
            self._marked_at = now
        self._ends = LogEnds(self._ends.first, first + len(frames) - 1)

    def _known(self, update_ids: Sequence[str], contents: Sequence[bytes], taken: Taken) -> Known:
        return {**self._find(update_ids), **self._ids.known(taken, update_ids, contents)}

    def _check_claim(self) -> None:
        with self._told():
            self._writer.check()

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

    # -- what else is written

    @notes_damage
    def trim(self, first_position: int, count_max: int) -> int:
        first, last = self._ends
        end = self._trims_to(first_position, count_max)
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
    def merge_ids(self, is_over: Callable[[], bool] = bool) -> Callable[[], None] | None:
        merged = self._ids.merge(is_over)
        if merged is None:
            return None

        def take_merged() -> None:
            with self._transaction() as writer:
                self._ids.count_merged(writer, *merged)
            self._ids.take_merged(*merged)

        return take_merged

    def id_checks(self, bytes_max: int) -> Sequence[Callable[[], None]]:
        return self._ids.checks(bytes_max)

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
        self._adopted(log_id, replaced_log_ids, reason)

    def save_import(self, stored: StoredImport) -> None:
        row = (stored.status.manifest.import_id, stored.taken, stored.status.SerializeToString())
        with self._transaction() as writer:
            writer.execute("INSERT OR REPLACE INTO imports VALUES (?, ?, ?)", row)

    def durability(self) -> Durability:
        return Durability("sqlite", False, f"on the disk of one machine, in {self.path.parent}: as safe as that disk")

    def size_bytes(self) -> int:
        """See `LogStore`: the file and its WAL."""
        wal = self.path.with_name("log.db-wal")
        return sum(file.stat().st_size for file in (self.path, wal) if file.exists()) + self._ids.size_bytes

    def tend(self) -> None:
        """Finishes a checkpoint whose bulk is done, so that the WAL starts again from its beginning; looks after the
        log's files."""
        if self._checkpointer is None or self._mark is None:
            return
        self._checkpointer.finish(self._writer.connection)
        if self._files.look():
            self._mark.keep()
            if self.damage.gone:  # it may be the WAL alone
                self._checkpointer.finish(self._writer.connection, at_once=True)

    def close(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.stop()
        self._readers.close()
        self._writer.close()
        if self._mark is not None:
            self._mark.close()
