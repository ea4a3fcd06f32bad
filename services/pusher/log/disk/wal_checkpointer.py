"""Moves SQLite's write-ahead log into the database without holding up commits.

A thread with a connection of its own copies what is committed (PASSIVE: it never blocks a writer). Under a steady
load it never catches the very end, so the WAL would never start again from its beginning, and grow: once it is large
and only a few pages are left, the writer copies those between two commits (`finish`), which takes about as long as a
commit.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

logger = logging.getLogger(__name__)

_INTERVAL_S = 0.5
_BEGIN_BYTES = 4 << 20
_LARGE_PAGES = 8192  # 32 MiB
_LEFT_PAGES_MAX = 1024


class WalCheckpointer:
    """The thread. `finish` is for the writer's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._ended = threading.Event()
        self._finish = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wal-checkpointer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after the checkpoint under way."""
        self._ended.set()
        self._thread.join()

    def finish(self, writer: sqlite3.Connection, *, at_once: bool = False) -> None:
        """Copies the last pages, if that is due or wanted. Blocks for about as long as a commit."""
        if self._finish.is_set() or at_once:
            self._finish.clear()
            try:
                writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:
                logger.warning("can't finish a checkpoint of %s: %s; tries again", self._path, error)

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=1.0)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        while not self._ended.wait(_INTERVAL_S):
            try:
                self._copy(connection)
            except (sqlite3.Error, OSError) as error:
                # A full disk, say. Nothing is lost: what is committed stays in the WAL, and the next round tries again.
                logger.warning("can't checkpoint %s: %s; tries again", self._path, error)
        connection.close()

    def _copy(self, connection: sqlite3.Connection) -> None:
        if not self._wal.exists() or self._wal.stat().st_size < _BEGIN_BYTES:
            return
        _, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages >= _LARGE_PAGES and pages - copied <= _LEFT_PAGES_MAX:
            self._finish.set()
