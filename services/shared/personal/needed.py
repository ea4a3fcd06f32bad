"""Which keys a folder's vault needs, for a start and for people. Whatever is there stays as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.sealed.keys import Keys
from services.shared.files.sealed.own import watch_needs
from services.shared.files.sealed.records import key_id_of, opens
from services.shared.files.sealed.survey import NO_KEY, check_keys, unopened_files
from services.shared.files.sqlite_words import sqlite_words
from services.shared.personal.erasing import HAS_VALUE
from services.shared.personal.generations import Generations, stored_secrets
from services.shared.personal.row_forms import CLEAR_ROWS, Place, sealed_bounds
from services.shared.personal.vault import FILE_NAME, VaultError


def check_folder(folder: Path, lacking: Callable[[Path, Keys], set[str]] | None = None) -> None:
    """For a start: whether every key is here that something in a folder needs; who takes one away later is told of it.
    Blocks.

    Args:
        folder: The process's own.
        lacking: As `keys_lacking`, of more than that.

    Raises:
        SealKeyError: One is not.
    """
    check_keys(folder)
    check_vault(folder)
    watch_needs(folder, lacking or keys_lacking)


def check_vault(folder: Path) -> None:
    """For a start: whether every key is here that the vault in a folder needs, if there is one. Blocks.

    Raises:
        SealKeyError: One is not.
    """
    with _opened(folder / FILE_NAME) as db:
        if db is not None:
            try:
                Generations(folder / FILE_NAME).forms(db)
            except (sqlite3.Error, SealDamagedError):
                return  # whoever opens it finds out, and says so


def values_by_key(folder: Path) -> dict[str, int]:
    """How many values of a folder's vault each key has sealed, by its id, empty for those that are clear. A key that is
    needed for something else there has 0; one that nothing needs is not in it. Blocks. Raises VaultError."""
    path = folder / FILE_NAME
    found: dict[str, int] = {}
    try:
        with _opened(path) as db:
            if db is None or not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'kept'").fetchone():
                return found
            if (clear := _values(db, CLEAR_ROWS.bounds)) is not None:
                found[""] = clear
            for generation, secret in stored_secrets(db):
                if not secret:  # as long as it stands there, parts of what was clear may
                    found.setdefault("", 0)
                else:
                    key_id = key_id_of(secret) or NO_KEY
                    found[key_id] = found.get(key_id, 0) + (_values(db, sealed_bounds(generation)) or 0)
    except sqlite3.Error as error:
        raise VaultError(f"{path} can't be read as a vault: {sqlite_words(error)}") from error
    return found


def unopened_values(folder: Path, keys: Keys) -> set[str]:
    """The ids of keys that something in a folder's vault was sealed by, and that are not among these, or are others
    there. Blocks. Raises VaultError."""
    path = folder / FILE_NAME
    try:
        with _opened(path) as db:
            secrets = [] if db is None else [secret for _, secret in stored_secrets(db) if secret]
    except sqlite3.Error as error:
        raise VaultError(f"{path} can't be read as a vault: {sqlite_words(error)}") from error
    return {key_id_of(secret) for secret in secrets if not opens(keys, secret)}


def keys_lacking(folder: Path, keys: Keys) -> set[str]:
    """For a process that goes on: the ids of keys that it would lack at a start with these alone, by a folder's files
    and vault. What can't be read is for whoever needs it. Blocks."""
    found: set[str] = set()
    for look in (partial(unopened_files, aside=False), unopened_values):
        with suppress(OSError, VaultError):
            found |= look(folder, keys)
    return found


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """None where there is none. It may be written: by what rolls back a write that was broken off."""
    if not path.exists():
        yield None
        return
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection:
        yield connection


def _values(db: sqlite3.Connection, bounds: tuple[Place, Place]) -> int | None:
    """How many there are; None where there is nothing at all, no erasure either."""
    where = "WHERE member_id >= ? AND member_id < ?"
    (count,) = db.execute(f"SELECT count(*) FROM kept {where} AND {HAS_VALUE}", bounds).fetchone()
    others = (db.execute(f"SELECT 1 FROM {table} {where} LIMIT 1", bounds).fetchone() for table in ("salts", "erased"))
    return int(count) if count or any(others) else None
