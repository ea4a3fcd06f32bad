"""What SQLite's errors mean and what mends them, in words for operators."""

from __future__ import annotations

import sqlite3
from typing import Final

from services.shared.domain.sentences import DISK_MEND, RIGHTS_MEND, ROOM_MEND

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

_SQLITE_MENDS: Final = {
    sqlite3.SQLITE_FULL: ROOM_MEND,
    # Also of a full disk, where the file that could not grow is the index of its own log.
    sqlite3.SQLITE_IOERR: "look after that disk, or make room there",
    sqlite3.SQLITE_CANTOPEN: RIGHTS_MEND,
    sqlite3.SQLITE_READONLY: RIGHTS_MEND,
    sqlite3.SQLITE_PERM: RIGHTS_MEND,
    sqlite3.SQLITE_BUSY: "end that one, or try again",
    sqlite3.SQLITE_LOCKED: "end that one, or try again",
    sqlite3.SQLITE_CORRUPT: "bring back a whole copy",
    sqlite3.SQLITE_NOTADB: "bring back a whole copy",
    sqlite3.SQLITE_NOMEM: "allow this process more",
}


def sqlite_with_mend(error: sqlite3.Error) -> str:
    """What is wrong, and what ends that: "there is no room; make room there"."""
    mend = "put it back" if was_moved(error) else _SQLITE_MENDS.get(primary_code(error), DISK_MEND)
    return f"{sqlite_words(error)}; {mend}"


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
