"""By what a vault's rows are sealed: secrets of the file's own, each in the file, sealed by a key.

The rules
---------
1. Secrets are numbered. The newest is in force: what is written is written by it. One that is empty: what is written is
   clear. A file without any, version 1, is clear, and as it was before there were keys.
2. Another key in the first place, or none that seals, brings a new secret, never an old one sealed anew: whoever had
   the old key opens nothing that is written from then on. One process of a file does that (`follow_key`), so that two
   that read the keys' file at different moments don't take turns.
3. What older ones sealed is opened by them, and is written anew, a few members at a time (`moving.py`). SQLite leaves
   parts of rows that grow where they stood, so the file is written anew as a whole then: until that is done, its
   header says so. A secret of which nothing is left is taken out last; then nothing in the file needs its key.
4. What can't be opened changes nothing: without all keys that the file needs, nothing is written.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.sealed.own import key_to_seal
from services.shared.files.sealed.records import key_id_of, opened_record, sealed_frames
from services.shared.personal.beside import files_beside
from services.shared.personal.row_forms import (
    CLEAR_ROWS,
    SECRET_BYTES,
    Place,
    RowForm,
    SealedRows,
    generation_of,
)

#: Of files in which something is, or was, sealed; programs of before know 1.
CLEAR_VERSION: Final = 1
SEALED_VERSION: Final = 2
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS secrets (generation INTEGER PRIMARY KEY, secret BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS erased_ids (member_id BLOB PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID",
)
#: So that nothing that was sealed elsewhere passes for a secret.
_SECRETS_AT: Final = 1 << 63
_EMPTY: Final = b""
#: What a file's header says until it is written anew as a whole; else 0.
_WITH_REMAINS: Final = 1


class Generations:
    """The secrets of one open file. For whoever has its turn.

    Raises (whatever opens):
        SealKeyError: A key is not here.
        SealDamagedError: A secret is not what was sealed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        #: By generation: no number is given twice.
        self._opened: dict[int, RowForm] = {}

    def forms(self, db: sqlite3.Connection) -> list[RowForm]:
        """All in which anything may be written there; the first one is in force."""
        return [self._form(generation, secret) for generation, secret in stored_secrets(db)] or [CLEAR_ROWS]

    def form_of(self, db: sqlite3.Connection, place: Place) -> RowForm:
        """The one in which a row is written."""
        generation = generation_of(place)
        if generation is None:
            return CLEAR_ROWS
        known = self._opened.get(generation)
        if known is not None:
            return known
        secrets = dict(stored_secrets(db))
        if not secrets.get(generation):
            raise SealDamagedError("a row is damaged: what it was sealed by is not there")
        return self._form(generation, secrets[generation])

    def _form(self, generation: int, secret: bytes) -> RowForm:
        if secret == _EMPTY:
            return CLEAR_ROWS
        form = self._opened.get(generation)
        if form is None:
            try:
                opened = opened_record(_SECRETS_AT + generation, memoryview(secret), str(self._path))
            except SealDamagedError:
                opened = b""
            if len(opened) != SECRET_BYTES:
                raise SealDamagedError("the secret that its rows are sealed by is damaged")
            form = self._opened[generation] = SealedRows(generation, opened)
        return form

    def is_settled(self, db: sqlite3.Connection) -> bool:
        """Whether all is written by the key that seals now, and nothing is left of how it was written before."""
        secrets = stored_secrets(db)
        return len(secrets) <= 1 and _is_by_key_in_force(secrets) and not _has_remains(db)

    def follow_key(self, db: sqlite3.Connection) -> None:
        """Has a new secret in force where another key seals now than did, or none. In a transaction."""
        secrets = stored_secrets(db)
        if _is_by_key_in_force(secrets):
            return
        self.forms(db)  # all that is there can be opened
        is_any = db.execute("SELECT 1 FROM salts UNION ALL SELECT 1 FROM erased").fetchone() is not None
        if version_of(db) == CLEAR_VERSION:
            for table in _TABLES:
                db.execute(table)
            db.execute(f"PRAGMA user_version = {SEALED_VERSION}").close()
            if is_any and not db.execute("SELECT 1 FROM secrets").fetchone():
                db.execute("INSERT INTO secrets VALUES (0, ?)", (_EMPTY,))
        generation = db.execute("SELECT ifnull(max(generation), 0) FROM secrets").fetchone()[0] + 1
        new = _EMPTY
        if key_to_seal() is not None:
            (new,) = sealed_frames(_SECRETS_AT + generation, [os.urandom(SECRET_BYTES)])
        else:
            db.execute("DELETE FROM secrets WHERE secret = ?", (_EMPTY,))
        db.execute("INSERT INTO secrets VALUES (?, ?)", (generation, new))
        if is_any:
            db.execute(f"PRAGMA application_id = {_WITH_REMAINS}").close()

    def take_remains_away(self, db: sqlite3.Connection) -> None:
        """Writes the file anew as a whole, by way of a file beside it, where its header says so. Not in a transaction;
        it may be broken off at any point."""
        if _has_remains(db):
            with files_beside(db, self._path.parent):
                db.execute("VACUUM").close()

    def clear_out(self, db: sqlite3.Connection) -> None:
        """Takes away what nothing is sealed by any more, once there are no remains. In a transaction."""
        db.execute("PRAGMA application_id = 0").close()
        (_, newest), *older = stored_secrets(db)
        for generation, secret in older:
            if not _is_any(db, self._form(generation, secret).bounds):
                db.execute("DELETE FROM secrets WHERE generation = ?", (generation,))
        if newest == _EMPTY and len(stored_secrets(db)) == 1:
            db.execute(f"PRAGMA user_version = {CLEAR_VERSION}").close()


def version_of(db: sqlite3.Connection) -> int:
    """Of a file's tables."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _has_remains(db: sqlite3.Connection) -> bool:
    """Whether pages may have parts of rows as they were before they were written anew."""
    return bool(db.execute("PRAGMA application_id").fetchone()[0] == _WITH_REMAINS)


def stored_secrets(db: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """As they are in the file, the newest first, by their numbers; none: all is clear."""
    if version_of(db) < SEALED_VERSION:
        return []
    return db.execute("SELECT generation, secret FROM secrets ORDER BY generation DESC").fetchall()


def _is_by_key_in_force(secrets: list[tuple[int, bytes]]) -> bool:
    key = key_to_seal()
    return (key_id_of(secrets[0][1]) if secrets else "") == ("" if key is None else key.key_id)


def _is_any(db: sqlite3.Connection, bounds: tuple[Place, Place]) -> bool:
    return any(
        db.execute(f"SELECT 1 FROM {table} WHERE member_id >= ? AND member_id < ? LIMIT 1", bounds).fetchone()
        for table in ("kept", "salts", "erased")
    )
