"""The vault: one SQLite file with every personal value. The pusher's, which is written, and nodes' copies of it.

- Each change has a number, 1, 2, 3, …; a copy has all of them up to one. What was erased has none any more: whoever
  copies from the beginning never hears of it.
- A change is on disk when its call returns. What is erased is overwritten (`secure_delete`), and the journal that had
  it is gone: no file has it then.
- Of a member who was erased, an import file brings nothing back: it has what updates have brought since, or nothing.
- A copy has all that is in the vault, salts too, so that it can be put in the vault's place.
- One process writes, for short moments; others may read meanwhile, and write between.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.shared.files.sqlite_words import sqlite_words
from services.shared.personal.tokens import SALT_BYTES, is_token, token_of

FILE_NAME: Final = "personal.db"
_VERSION: Final = 1
#: The longest wait for another process's write, in seconds, where nobody says another.
WAIT_S: Final = 10.0
#: Tokens that SQLite is asked for at once.
_ASKED_MAX: Final = 500
_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS meta (
    only INTEGER PRIMARY KEY CHECK (only = 1), vault_id TEXT NOT NULL, last INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS salts (member_id TEXT PRIMARY KEY, salt BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY, member_id TEXT NOT NULL, token TEXT NOT NULL UNIQUE, value TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS kept_of ON kept (member_id);
CREATE TABLE IF NOT EXISTS erased (
    member_id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, update_id TEXT NOT NULL, position INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


class VaultError(Exception):
    """The file can't be read or written: one line, with the mend."""


class Cell(NamedTuple):
    """One value of one member."""

    member_id: str
    column: str
    value: str


class Change(NamedTuple):
    """A value, or a member's erasure: then there is no token."""

    number: int
    member_id: str
    token: str = ""
    value: str = ""
    #: What the member's tokens are made with.
    salt: bytes = b""


class Erasure(NamedTuple):
    """The newest one of a member."""

    number: int
    #: Of the log's record; the id is empty in a copy, the position 0 until the log has it.
    update_id: str
    position: int


class Vault:
    """One file. Any thread may use it; calls block.

    Raises:
        VaultError: From every call.
    """

    def __init__(self, path: Path, vault_id: str = "", *, wait_s: float = WAIT_S) -> None:
        """Made where it is not there. `vault_id`: of a new file; empty: another one than any there was. `wait_s`: for
        another process's write."""
        self._path = path
        self._turn = threading.Lock()
        with self._told():
            self._open = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=wait_s)
            # Before anything is written: what is deleted is overwritten, and a journal does not outlive its write.
            for pragma in ("secure_delete = ON", "journal_mode = DELETE", "synchronous = FULL", "temp_store = MEMORY"):
                self._open.execute(f"PRAGMA {pragma}").close()
            self._prepare(vault_id or uuid.uuid4().hex)

    def _prepare(self, vault_id: str) -> None:
        (version,) = self._open.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise VaultError(f"{self._path} has version {version}, this program knows {_VERSION}: use a newer one")
        if version < _VERSION:
            self._open.executescript(f"BEGIN IMMEDIATE; {_TABLES}")
            self._open.execute("INSERT OR IGNORE INTO meta VALUES (1, ?, 0)", (vault_id,))
            self._open.execute("COMMIT")

    def close(self) -> None:
        """Ends."""
        with self._turn:
            self._open.close()

    @property
    def vault_id(self) -> str:
        """Numbers of two vaults can't be compared."""
        return str(self._one("SELECT vault_id FROM meta"))

    @property
    def last(self) -> int:
        """The newest change."""
        return int(self._one("SELECT last FROM meta"))

    def put(self, cells: Sequence[Cell], *, of_a_file: bool = False) -> list[str]:
        """Keeps values; their tokens, in order, empty for empty ones. `of_a_file`: of whom was erased nothing new is
        taken, and the token is empty."""
        with self._writing() as db:
            salts: dict[str, bytes | None] = {}
            barred: set[str] = set()
            for member_id in {each.member_id for each in cells}:
                if of_a_file and _found(db, "SELECT 1 FROM erased WHERE member_id = ?", member_id):
                    barred.add(member_id)
                salts[member_id] = self._salt(db, member_id, make=member_id not in barred)
            number = last = self._last(db)
            tokens = []
            for cell in cells:
                token = _token(cell, salts[cell.member_id])
                if token and not _found(db, "SELECT 1 FROM kept WHERE token = ?", token):
                    if cell.member_id in barred:
                        token = ""
                    else:
                        number += 1
                        db.execute("INSERT INTO kept VALUES (?, ?, ?, ?)", (number, cell.member_id, token, cell.value))
                tokens.append(token)
            if number != last:
                db.execute("UPDATE meta SET last = ?", (number,))
        return tokens

    def tokens(self, cells: Sequence[Cell]) -> list[str]:
        """What `put` gives, of values that were kept before; keeps nothing. Empty where that is not known any more."""
        with self._writing() as db:
            return [_token(cell, self._salt(db, cell.member_id, make=False)) for cell in cells]

    @staticmethod
    def _salt(db: sqlite3.Connection, member_id: str, *, make: bool) -> bytes | None:
        found = _found(db, "SELECT salt FROM salts WHERE member_id = ?", member_id)
        if found is not None or not make:
            return found and bytes(found[0])
        salt = os.urandom(SALT_BYTES)
        db.execute("INSERT INTO salts VALUES (?, ?)", (member_id, salt))
        return salt

    def erase(self, member_id: str, update_id: str) -> tuple[int, int]:
        """Lets go of all that there is of a member, for good: the number of the erasure, and of values. `update_id`: of
        the record that the log gets of it; an erasure of before is a part of this one."""
        with self._writing() as db:
            number = self._last(db) + 1
            values = self._erase(db, number, member_id, update_id)
            db.execute("UPDATE meta SET last = ?", (number,))
        return number, values

    @staticmethod
    def _erase(db: sqlite3.Connection, number: int, member_id: str, update_id: str = "") -> int:
        values = db.execute("DELETE FROM kept WHERE member_id = ?", (member_id,)).rowcount
        db.execute("DELETE FROM salts WHERE member_id = ?", (member_id,))
        db.execute("INSERT OR REPLACE INTO erased VALUES (?, ?, ?, 0)", (member_id, number, update_id))
        return values

    def logged(self, update_id: str, position: int) -> None:
        """The log has the record of an erasure."""
        with self._writing() as db:
            db.execute("UPDATE erased SET position = ? WHERE update_id = ?", (position, update_id))

    def not_logged(self) -> list[tuple[str, str]]:
        """Erasures of which the log has no record yet, so far as is known here: ids and members."""
        found = self._all(
            "SELECT update_id, member_id FROM erased WHERE position = 0 AND update_id != '' ORDER BY number"
        )
        return [(str(update_id), str(member_id)) for update_id, member_id in found]

    def erasure(self, member_id: str) -> Erasure | None:
        """A member's newest erasure; None where there is none."""
        found = self._all("SELECT number, update_id, position FROM erased WHERE member_id = ?", member_id)
        return Erasure(*found[0]) if found else None

    def values_of(self, member_id: str) -> int:
        """How many there are of a member."""
        return int(self._one("SELECT count(*) FROM kept WHERE member_id = ?", member_id))

    def values(self, tokens: Sequence[str]) -> dict[str, str]:
        """The values of those that have one."""
        found: dict[str, str] = {}
        for begin in range(0, len(tokens), _ASKED_MAX):
            part = tokens[begin : begin + _ASKED_MAX]
            marks = ",".join("?" * len(part))
            found.update(self._all(f"SELECT token, value FROM kept WHERE token IN ({marks})", *part))
        return found

    def revealed(self, texts: Sequence[str]) -> list[str]:
        """The values of those that are tokens, empty where there is none; the others as they are."""
        tokens = {text for text in texts if is_token(text)}
        if not tokens:
            return list(texts)
        known = self.values(list(tokens))
        return [known.get(text, "") if text in tokens else text for text in texts]

    def changes(self, after: int, most: int) -> list[Change]:
        """The changes after a number, in order, `most` at once."""
        rows = self._all(
            "SELECT number, member_id, token, value, salt FROM kept JOIN salts USING (member_id) WHERE number > ? "
            "UNION ALL SELECT number, member_id, '', '', x'' FROM erased WHERE number > ? ORDER BY number LIMIT ?",
            after, after, most,
        )  # fmt: skip
        return [Change(*row) for row in rows]

    def take(self, changes: Sequence[Change], last: int) -> None:
        """A copy takes changes in, and has all of them up to `last` then."""
        with self._writing() as db:
            for number, member_id, token, value, salt in changes:
                if token:
                    db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (number, member_id, token, value))
                    db.execute("INSERT OR REPLACE INTO salts VALUES (?, ?)", (member_id, salt))
                else:
                    self._erase(db, number, member_id)
            db.execute("UPDATE meta SET last = ?", (last,))

    @staticmethod
    def _last(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT last FROM meta").fetchone()[0])

    def _one(self, query: str, *given: object) -> Any:
        return self._all(query, *given)[0][0]

    def _all(self, query: str, *given: object) -> list[Any]:
        with self._turn, self._told(), closing(self._open.execute(query, given)) as found:
            return found.fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._told():
            self._open.execute("BEGIN IMMEDIATE")
            try:
                yield self._open
            except BaseException:
                self._open.execute("ROLLBACK")
                raise
            self._open.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            words = sqlite_words(error)
            raise VaultError(
                f"personal columns: {self._path}: {words}; make room there, or bring back a copy"
            ) from error


def _token(cell: Cell, salt: bytes | None) -> str:
    return token_of(salt, cell.column, cell.value) if cell.value and salt is not None else ""


def _found(db: sqlite3.Connection, query: str, given: str) -> Any:
    return db.execute(query, (given,)).fetchone()
