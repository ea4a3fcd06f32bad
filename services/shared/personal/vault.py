"""The vault: one SQLite file with every personal value. The pusher's, which is written, and nodes' copies of it.

- Each change has a number, 1, 2, 3, …; a copy has all of them up to one. What was erased has none any more: whoever
  copies from the beginning never hears of it.
- A change is on disk when its call returns. What is erased is overwritten (`erasing.py`), and the journal that had it
  is gone: no file has it then.
- Of a member who was erased, an import file brings nothing back: it has what updates have brought since, or nothing.
- A copy has all that is in the vault, salts too, so that it can be put in the vault's place.
- Where this process has keys, ids, values and salts are sealed in the file (`row_forms.py`), by the key in force when
  its owner looked last (`follow_key`, `tend`). Tokens, numbers, and ids and positions of erasures' records are not.
- One process writes, for short moments; others may read meanwhile, and write between.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sqlite_words import sqlite_with_mend
from services.shared.personal.beside import sweep
from services.shared.personal.erasing import HAS_VALUE, blank_salt, blank_values, keep_salt, stored_salt
from services.shared.personal.generations import CLEAR_VERSION, SEALED_VERSION, Generations, version_of
from services.shared.personal.moving import (
    Mover,
    Tended,
    erased_id,
    forget_erased_id,
    keep_erased_id,
    move_values,
)
from services.shared.personal.row_forms import Place, RowForm
from services.shared.personal.tokens import SALT_BYTES, is_token, token_of

FILE_NAME: Final = "personal.db"
#: The longest wait for another process's write, in seconds, where nobody says another.
WAIT_S: Final = 10.0
#: Tokens that SQLite is asked for at once.
_ASKED_MAX: Final = 500
#: Members that are written anew at once: whoever else writes waits meanwhile.
_TENDED_AT_ONCE: Final = 200
_VALUES_OF: Final = f"SELECT count(*) FROM kept WHERE member_id = ? AND {HAS_VALUE}"
_CHANGES: Final = f"""
SELECT number, member_id, token, value, salt FROM kept JOIN salts USING (member_id) WHERE number > ? AND {HAS_VALUE}
UNION ALL SELECT number, member_id, '', '', x'' FROM erased WHERE number > ? ORDER BY number LIMIT ?
"""
_TABLES: Final = (
    "CREATE TABLE meta (only INTEGER PRIMARY KEY CHECK (only = 1), vault_id TEXT NOT NULL, last INTEGER NOT NULL)",
    "CREATE TABLE salts (member_id TEXT PRIMARY KEY, salt BLOB NOT NULL)",
    "CREATE TABLE kept (number INTEGER PRIMARY KEY, member_id TEXT NOT NULL, token TEXT NOT NULL UNIQUE, "
    "value TEXT NOT NULL)",
    "CREATE INDEX kept_of ON kept (member_id)",
    "CREATE TABLE erased (member_id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, update_id TEXT NOT NULL, "
    "position INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version = {CLEAR_VERSION}",
)


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
        self._generations = Generations(path)
        self._mover = Mover(self._generations)
        with self._told():
            sweep(path.parent)
            self._open = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=wait_s)
            # Before anything is written: what is deleted is overwritten, and a journal does not outlive its write.
            for pragma in ("secure_delete = ON", "journal_mode = DELETE", "synchronous = FULL", "temp_store = MEMORY"):
                self._open.execute(f"PRAGMA {pragma}").close()
        self._prepare(vault_id or uuid.uuid4().hex)

    def _prepare(self, vault_id: str) -> None:
        with self._reading() as db:
            version = version_of(db)
        if version > SEALED_VERSION:
            raise VaultError(
                f"{self._path} has version {version}, this program knows {SEALED_VERSION}: use a newer one"
            )
        if version < CLEAR_VERSION:
            with self._writing() as db:
                if version_of(db) < CLEAR_VERSION:  # nobody else made it meanwhile
                    for statement in _TABLES:
                        db.execute(statement).close()
                    db.execute("INSERT INTO meta VALUES (1, ?, 0)", (vault_id,))
                    self._generations.follow_key(db)

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

    def follow_key(self) -> None:
        """For the file's owner, before it writes: what is written from now on is sealed as this process seals."""
        with self._reading() as db:
            is_settled = self._generations.is_settled(db)
        if not is_settled:
            with self._writing() as db:
                self._generations.follow_key(db)

    def tend(self, most: int = _TENDED_AT_ONCE) -> Tended:
        """For the file's owner, now and then: some members who are written by another key than seals now, or clear
        though one does, are written anew. Once nothing is left by a key, the file does not need it any more."""
        with self._reading() as db:
            if self._generations.is_settled(db):
                return Tended(0, 0, is_done=True)
        with self._writing() as db:
            self._generations.follow_key(db)
            tended = self._mover.move(db, most)
        if tended.is_done:
            with self._reading() as db:
                self._generations.take_remains_away(db)
            with self._writing() as db:
                self._generations.clear_out(db)
        return tended

    def put(self, cells: Sequence[Cell], *, of_a_file: bool = False) -> list[str]:
        """Keeps values; their tokens, in order, empty for empty ones. `of_a_file`: of whom was erased nothing new is
        taken, and the token is empty."""
        with self._writing() as db:
            forms = self._generations.forms(db)
            salts: dict[str, tuple[Place, bytes] | None] = {}
            barred: set[str] = set()
            for member_id in {each.member_id for each in cells}:
                if of_a_file and self._is_erased(db, forms, member_id):
                    barred.add(member_id)
                salts[member_id] = self._salt(db, forms, member_id, make=member_id not in barred)
            number = last = self._last(db)
            tokens = []
            for cell in cells:
                place, salt = salts[cell.member_id] or ("", None)
                token = _token(cell, salt)
                if token and not _found(db, "SELECT 1 FROM kept WHERE token = ?", token):
                    if cell.member_id in barred:
                        token = ""
                    else:
                        number += 1
                        stored = forms[0].value_in(place, number, token, cell.value)
                        db.execute("INSERT INTO kept VALUES (?, ?, ?, ?)", (number, place, token, stored))
                tokens.append(token)
            if number != last:
                db.execute("UPDATE meta SET last = ?", (number,))
        return tokens

    def tokens(self, cells: Sequence[Cell]) -> list[str]:
        """What `put` gives, of values that were kept before; keeps nothing. Empty where that is not known any more."""
        with self._writing() as db:
            forms = self._generations.forms(db)
            salts = {each.member_id: self._salt(db, forms, each.member_id, make=False) for each in cells}
            return [_token(cell, found and found[1]) for cell in cells for found in (salts[cell.member_id],)]

    @staticmethod
    def _is_erased(db: sqlite3.Connection, forms: Sequence[RowForm], member_id: str) -> bool:
        return any(_found(db, "SELECT 1 FROM erased WHERE member_id = ?", form.place(member_id)) for form in forms)

    @staticmethod
    def _salt(
        db: sqlite3.Connection, forms: Sequence[RowForm], member_id: str, *, make: bool
    ) -> tuple[Place, bytes] | None:
        """Where a member's values are, and the salt. `make`: he gets one, and what is there is as it is to be now."""
        found = _stored_salt(db, forms, member_id)
        if found is None:
            return Vault._keep_salt(db, forms[0], member_id, os.urandom(SALT_BYTES)) if make else None
        form, place, stored = found
        if make and form is not forms[0]:
            return move_values(db, form, forms[0], place, stored)
        return place, form.salt_of(place, stored)[1]

    @staticmethod
    def _keep_salt(db: sqlite3.Connection, form: RowForm, member_id: str, salt: bytes) -> tuple[Place, bytes]:
        place = form.place(member_id)
        keep_salt(db, place, form.salt_in(place, member_id, salt))
        return place, salt

    def erase(self, member_id: str, update_id: str) -> tuple[int, int]:
        """Lets go of all that there is of a member, for good: the number of the erasure, and of values. `update_id`: of
        the record that the log gets of it; an erasure of before is a part of this one."""
        with self._writing() as db:
            number = self._last(db) + 1
            values = self._erase(db, self._generations.forms(db), number, member_id, update_id)
            db.execute("UPDATE meta SET last = ?", (number,))
        return number, values

    @staticmethod
    def _erase(
        db: sqlite3.Connection, forms: Sequence[RowForm], number: int, member_id: str, update_id: str = ""
    ) -> int:
        values = 0
        for form in forms:
            place = form.place(member_id)
            values += blank_values(db, place)
            blank_salt(db, place)
            db.execute("DELETE FROM erased WHERE member_id = ?", (place,))
            forget_erased_id(db, form, place)
        place = forms[0].place(member_id)
        db.execute("INSERT INTO erased VALUES (?, ?, ?, 0)", (place, number, update_id))
        keep_erased_id(db, forms[0], place, member_id)
        return values

    def logged(self, update_id: str, position: int) -> None:
        """The log has the record of an erasure."""
        with self._writing() as db:
            db.execute("UPDATE erased SET position = ? WHERE update_id = ?", (position, update_id))

    def not_logged(self) -> list[tuple[str, str]]:
        """Erasures of which the log has no record yet, so far as is known here: ids and members."""
        with self._reading() as db:
            found = db.execute(
                "SELECT update_id, member_id FROM erased WHERE position = 0 AND update_id != '' ORDER BY number"
            ).fetchall()
            return [(str(update_id), self._erased_id(db, place)) for update_id, place in found]

    def _erased_id(self, db: sqlite3.Connection, place: Place) -> str:
        return erased_id(db, self._generations.form_of(db, place), place)

    def erasure(self, member_id: str) -> Erasure | None:
        """A member's newest erasure; None where there is none."""
        with self._reading() as db:
            for form in self._generations.forms(db):
                query = "SELECT number, update_id, position FROM erased WHERE member_id = ?"
                if found := _found(db, query, form.place(member_id)):
                    return Erasure(*found)
        return None

    def values_of(self, member_id: str) -> int:
        """How many there are of a member."""
        with self._reading() as db:
            places = [form.place(member_id) for form in self._generations.forms(db)]
            return sum(_found(db, _VALUES_OF, place)[0] for place in places)

    def values(self, tokens: Sequence[str]) -> dict[str, str]:
        """The values of those that have one."""
        found: dict[str, str] = {}
        for begin in range(0, len(tokens), _ASKED_MAX):
            part = tokens[begin : begin + _ASKED_MAX]
            marks = ",".join("?" * len(part))
            with self._reading() as db:
                rows = db.execute(f"SELECT number, member_id, token, value FROM kept WHERE token IN ({marks})", part)
                for number, place, token, value in rows.fetchall():
                    found[token] = self._generations.form_of(db, place).value_of(place, number, token, value)
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
        with self._reading() as db:
            return [self._change(db, *row) for row in db.execute(_CHANGES, (after, after, most)).fetchall()]

    def _change(
        self, db: sqlite3.Connection, number: int, place: Place, token: str, stored: object, salt: object
    ) -> Change:
        if not token:
            return Change(number, self._erased_id(db, place))
        form = self._generations.form_of(db, place)
        member_id, opened = form.salt_of(place, salt)
        return Change(number, member_id, token, form.value_of(place, number, token, stored), opened)

    def take(self, changes: Sequence[Change], last: int) -> None:
        """A copy takes changes in, and has all of them up to `last` then."""
        with self._writing() as db:
            forms = self._generations.forms(db)
            places: dict[str, Place] = {}
            for number, member_id, token, value, salt in changes:
                if not token:
                    self._erase(db, forms, number, member_id)
                    places.pop(member_id, None)
                    continue
                if member_id not in places:
                    found = _stored_salt(db, forms, member_id)
                    if found is not None and found[0] is not forms[0]:
                        move_values(db, found[0], forms[0], *found[1:])
                    places[member_id], _ = self._keep_salt(db, forms[0], member_id, salt)
                place = places[member_id]
                stored = forms[0].value_in(place, number, token, value)
                db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", (number, place, token, stored))
            db.execute("UPDATE meta SET last = ?", (last,))

    @staticmethod
    def _last(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT last FROM meta").fetchone()[0])

    def _one(self, query: str) -> Any:
        with self._reading() as db:
            return db.execute(query).fetchone()[0]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._told():
            yield self._open

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._told():
            self._open.execute("BEGIN IMMEDIATE")
            try:
                yield self._open
                self._open.execute("COMMIT")
            except BaseException:
                if self._open.in_transaction:  # SQLite itself ends one at which the disk fails
                    self._open.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise VaultError(f"personal columns: {self._path}: {sqlite_with_mend(error)}") from error
        except SealKeyError as error:
            raise VaultError(f"personal columns: {error}") from error
        except SealDamagedError as error:
            raise VaultError(f"personal columns: {self._path}: {error}; bring back a copy") from error


def _token(cell: Cell, salt: bytes | None) -> str:
    return token_of(salt, cell.column, cell.value) if cell.value and salt is not None else ""


def _found(db: sqlite3.Connection, query: str, given: Place) -> Any:
    return db.execute(query, (given,)).fetchone()


def _stored_salt(
    db: sqlite3.Connection, forms: Sequence[RowForm], member_id: str
) -> tuple[RowForm, Place, object] | None:
    """A member's salt, as it is stored, and where."""
    for form in forms:
        place = form.place(member_id)
        if (salt := stored_salt(db, place)) is not None:
            return form, place, salt
    return None
