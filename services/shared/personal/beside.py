"""SQLite's own temporary files of a vault: in its folder, and no longer than they are needed.

Else it has none (`temp_store = MEMORY`): what would be in them is of members, and would lie in a folder that all users
have. Only what would hold a whole vault in memory is done by way of one. SQLite makes it for its owner alone (0600) and
takes its name away before anything is in it, so that it ends with the process, however that ends; of one that is killed
between the two, the empty file stays, until the vault is opened again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: What SQLite calls them.
_NAMES: Final = "etilqs_*"
#: Where they are is a matter of the whole process.
_turn = threading.Lock()


@contextmanager
def files_beside(db: sqlite3.Connection, folder: Path) -> Iterator[None]:
    """What a connection does meanwhile may take files in the place of memory. Not in a transaction."""
    with _turn:
        (before,) = db.execute("PRAGMA temp_store_directory").fetchone() or ("",)
        try:
            _say_folder(db, str(folder.resolve()))
            # A library that does not know that word would take a folder that others have.
            if db.execute("PRAGMA temp_store_directory").fetchone():
                db.execute("PRAGMA temp_store = FILE").close()
            yield
        finally:
            db.execute("PRAGMA temp_store = MEMORY").close()
            _say_folder(db, before)


def sweep(folder: Path) -> None:
    """Takes away what one who was killed has left; one that is in use has no name."""
    for left in folder.glob(_NAMES):
        with suppress(OSError):  # another one did it, or it can't be: it is empty
            if left.stat().st_size == 0:
                left.unlink()


def _say_folder(db: sqlite3.Connection, name: str) -> None:
    quoted = name.replace("'", "''")
    db.execute(f"PRAGMA temp_store_directory = '{quoted}'").close()
