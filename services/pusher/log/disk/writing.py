"""The one connection that writes the log's SQLite file, and the claim under which it does. For the writer's thread."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.pusher.log.disk.database import NO_ROOM, connect, errors_told, prepare
from services.pusher.log.disk.statements import INSERTS
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import DeposedError, LogDamagedError
from services.shared.files.sqlite_words import primary_code

logger = logging.getLogger(__name__)


def read_fence(connection: sqlite3.Connection) -> Fence:
    """Who may write."""
    return Fence(*connection.execute("SELECT epoch, holder, claims FROM fence").fetchone())


def read_cluster(connection: sqlite3.Connection) -> str:
    """Whose log it is; empty where no pusher of a version that notes it has claimed it."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'cluster'").fetchone()
    return str(row[0]) if row else ""


class FencedWriter:
    """Reads and writes; nothing is written but under the newest claim.

    Args:
        path: Of the file, which is made where there is none.
    """

    def __init__(self, path: Path, settings: LogSettings) -> None:
        self._path, self._settings = path, settings
        with errors_told(path):
            self.connection = connect(path, settings, make=True)
        #: What this process claimed; None until it has, and where it is known to be deposed.
        self.held: Fence | None = None
        #: What the claim replaces, where the disk was full: it is written with the first write.
        self._due_after: Fence | None = None

    def prepare(self) -> None:
        """Makes the tables. Raises as `database.prepare`."""
        prepare(self.connection, self._path)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement that reads."""
        return self.connection.execute(statement, values)

    # -- the claim

    def claim(self, epoch: int, holder: str, look: Callable[[], None]) -> Fence:
        """Claims the log; returns the fence that it made. `look`: reads what others have stored, in the transaction.

        Raises as `LogStore.claim`, and what `look` does.
        """
        with errors_told(self._path):
            self.connection.execute("BEGIN IMMEDIATE")  # nobody else writes until it ends: what is read now stays so
            try:
                before = read_fence(self.connection)
                fence = before.claimed(epoch, holder)
                look()
                self._write_fence(fence)
                self.connection.execute("COMMIT")
                self.held, self._due_after = fence, None
            except sqlite3.Error as error:
                self._roll_back()
                if primary_code(error) not in NO_ROOM or (before.epoch, before.holder) != (epoch, holder):
                    raise
                self.held, self._due_after = fence, before
            except BaseException:
                self._roll_back()
                raise
        return fence

    def _write_fence(self, fence: Fence) -> None:
        self.connection.execute("UPDATE fence SET epoch = ?, holder = ?, claims = ?", fence)

    def note_cluster(self, cluster: str) -> None:
        """Whose log it is, in the transaction of the claim."""
        if cluster and cluster != read_cluster(self.connection):
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('cluster', ?)", (cluster,))

    def check(self) -> None:
        """Raises DeposedError where this process may not write."""
        stored = read_fence(self.connection)
        try:
            if self._due_after is None:
                stored.check(self.held)
            elif stored != self._due_after:  # somebody's claim may have come to the same count
                raise DeposedError(stored.epoch)
        except DeposedError:
            self.held = self._due_after = None
            raise

    # -- writes

    @property
    def writes_at_once(self) -> bool:
        """Whether a statement is enough: not where the claim is still to be written with it."""
        return self.held is not None and self._due_after is None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the body's writes, or none, and none but under the newest claim; on disk when it is left."""
        with errors_told(self._path):
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                self.check()
                if self.held is not None and self._due_after is not None:
                    self._write_fence(self.held)
                yield self.connection
                self.connection.execute("COMMIT")
                self._due_after = None
            except BaseException:
                self._roll_back()
                raise

    def insert(self, first: int, values: Sequence[Any]) -> None:
        """One statement's rows, the first at position `first`, if that follows the last one and the claim holds: by
        itself, a transaction of its own.

        Raises:
            sqlite3.IntegrityError: An id is in the log; nothing was stored.
            DeposedError, LogDamagedError: Nothing was stored.
        """
        rows = len(values) // 3
        claims = self.held.claims if self.held is not None else -1
        with errors_told(self._path):
            if self.connection.execute(INSERTS[rows], [*values, claims, first - 1 or None]).rowcount == rows:
                return
            self.check()
        raise LogDamagedError(f"{self._path} does not end at position {first - 1}, up to where it was written")

    def _roll_back(self) -> None:
        if not self.connection.in_transaction:
            return
        try:
            self.connection.execute("ROLLBACK")
        except sqlite3.Error:
            # A connection that can't roll back can't be trusted: a new one starts from what is on disk.
            logger.exception("can't roll back; opens %s anew", self._path)
            self.connection.close()
            self.connection = connect(self._path, self._settings)

    def close(self) -> None:
        """Ends the connection."""
        self.connection.close()
