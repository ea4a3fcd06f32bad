"""The log's SQLite file: how it is opened, its tables, and what its errors mean."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogDamagedError, LogStoreError, StoreFullError
from services.pusher.log.stored.frames import update_bytes
from services.shared.files.sqlite_words import primary_code, sqlite_with_mend, sqlite_words
from services.shared.wire.record import RecordDamagedError

SCHEMA_VERSION = 3
#: Made where they are not there yet: a log of an earlier version gets the newer ones.
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (position INTEGER PRIMARY KEY, update_id TEXT NOT NULL UNIQUE, frame BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS time_marks (position INTEGER PRIMARY KEY, stored_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS rules (position INTEGER PRIMARY KEY, content BLOB NOT NULL, crc32 INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS imports (import_id INTEGER PRIMARY KEY, taken INTEGER NOT NULL, status BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS id_runs (number INTEGER PRIMARY KEY, level INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS replaced_logs (number INTEGER PRIMARY KEY, log_id TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fence (
    only INTEGER PRIMARY KEY CHECK (only = 1), epoch INTEGER NOT NULL, holder TEXT NOT NULL, claims INTEGER NOT NULL
);
"""
#: A clock may be off by so much and still be right, in seconds.
_CLOCKS_DIFFER_S = 3_600.0
#: The disk is full or fails, or the file is in use.
NO_ROOM = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def errors_told(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into the store's."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        code = primary_code(error)
        if code in NO_ROOM:
            raise StoreFullError(f"can't write {path}: {sqlite_with_mend(error)}") from error
        if code in _DAMAGED:
            raise LogDamagedError(f"{path} is damaged: {sqlite_words(error)}; bring back a whole copy") from error
        raise


def connect(path: Path, settings: LogSettings, *, make: bool = False) -> sqlite3.Connection:
    """A connection for reading and writing. `make`: the file, where there is none."""
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={'rwc' if make else 'rw'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10.0,
        cached_statements=64,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    connection.execute(f"PRAGMA cache_size = -{settings.log_cache_mib * 1024}")
    if settings.log_pages_max:
        connection.execute(f"PRAGMA max_page_count = {settings.log_pages_max}")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Makes the tables, and brings a file of an earlier version to this one.

    Raises:
        LogStoreError: The file is of a newer version.
        LogDamagedError: It is no log's.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise LogStoreError(f"{path} has version {version}, this program knows {SCHEMA_VERSION}: use a newer one")
    # The tables and the version are written together: a file of some other program's gets nothing of ours.
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not {"meta", "log"} <= tables if version else tables:
        raise LogDamagedError(
            f"{path} is no log but an SQLite file of something else: bring back a whole copy (fasttree log restore), "
            "or move it away"
        )
    if version == SCHEMA_VERSION:
        connection.executescript(_TABLES)  # writes nothing where they are there: a full disk can be opened
        return
    connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {SCHEMA_VERSION};")
    connection.execute("INSERT OR IGNORE INTO fence VALUES (1, 0, '', 0)")
    if version == 0:
        # Of two that make it at one moment, the first one's.
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('log_id', ?)", (uuid.uuid4().hex,))
    elif version == 1:
        # Version 1 has readings of the wall clock for marks; running time goes on from the newest. One of the future is
        # of a clock that had jumped: by it, every other record would be older than it is.
        connection.execute("DELETE FROM time_marks WHERE stored_at > ?", (time.time() + _CLOCKS_DIFFER_S,))
    connection.execute("COMMIT")


def damage_between(reader: sqlite3.Connection, path: Path, first: int, last: int, error: Exception) -> LogDamagedError:
    """What exactly is wrong between two positions, after something was."""
    for position in range(first, last + 1):
        try:
            row = reader.execute("SELECT frame FROM log WHERE position = ?", (position,)).fetchone()
            if row is None:
                return LogDamagedError(f"log record at position {position} is missing from {path}", position)
            update_bytes(position, row[0])
        except RecordDamagedError as damage:
            return LogDamagedError(f"{damage} in {path}", position)
        except sqlite3.DatabaseError as damage:
            text = f"log record at position {position} can't be read from {path}: {damage}"
            return LogDamagedError(text, position)
    return LogDamagedError(f"log records at positions {first} to {last} can't be read from {path}: {error}")
