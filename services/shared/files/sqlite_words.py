"""What SQLite's errors mean, in words for operators."""

from __future__ import annotations

import sqlite3
from typing import Final

_WORDS: Final = {
    sqlite3.SQLITE_FULL: "there is no room",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_READONLY: "it may not be written",
    sqlite3.SQLITE_PERM: "it may not be opened",
    sqlite3.SQLITE_BUSY: "another process has it",
    sqlite3.SQLITE_LOCKED: "another process has it",
    sqlite3.SQLITE_CORRUPT: "its pages are damaged",
    sqlite3.SQLITE_NOTADB: "it is no database",
    sqlite3.SQLITE_NOMEM: "memory is short",
}


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where it gave none."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def was_moved(error: sqlite3.Error) -> bool:
    """Whether the file is no longer in its place. SQLite sees that with a rollback journal, not with a WAL."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED


def sqlite_words(error: sqlite3.Error) -> str:
    """What is wrong, in a few words; SQLite's own where nobody thought of it."""
    if was_moved(error):
        return "it was removed or moved while it is in use"
    return _WORDS.get(primary_code(error), str(error))
