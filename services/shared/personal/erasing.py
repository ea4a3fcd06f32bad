"""What is erased is overwritten where it stands, at its own length, and stays as a blank row.

Were the row deleted, SQLite would move its neighbours together, and what a page had of a row before that is in nobody's
reach: its secure deletion does not overwrite it, and a later erasure finds the row alone. Nothing else moves rows: new
ones stand behind all others. A vault that is written by another key is made anew as a whole, without blanks
(`moving.py`).
"""

from __future__ import annotations

import sqlite3
from typing import Final

from services.shared.personal.row_forms import Place

#: Of `kept`: rows that have a value. A blank one's number stands in its token's place, behind spaces.
HAS_VALUE: Final = "token > '!'"
_HAS_SALT: Final = "salt != zeroblob(length(salt))"


def stored_salt(db: sqlite3.Connection, place: Place) -> object | None:
    """A member's salt, as it is stored; None where there is none, or none any more."""
    found = db.execute(f"SELECT salt FROM salts WHERE member_id = ? AND {_HAS_SALT}", (place,)).fetchone()
    return None if found is None else found[0]


def keep_salt(db: sqlite3.Connection, place: Place, stored: bytes) -> None:
    """In the place of another one, or of a blank. In a transaction."""
    db.execute(
        "INSERT INTO salts VALUES (?, ?) ON CONFLICT (member_id) DO UPDATE SET salt = excluded.salt", (place, stored)
    )


def blank_values(db: sqlite3.Connection, place: Place) -> int:
    """Overwrites all that is kept of a member; how many values. In a transaction."""
    found = db.execute(
        "SELECT number, length(token), typeof(value) = 'text', length(CAST(value AS BLOB)) FROM kept "
        f"WHERE member_id = ? AND {HAS_VALUE}",
        (place,),
    ).fetchall()
    db.executemany(
        "UPDATE kept SET token = ?, value = ? WHERE number = ?",
        [(f"{number:>{width}}", " " * size if text else bytes(size), number) for number, width, text, size in found],
    )
    return len(found)


def blank_salt(db: sqlite3.Connection, place: Place) -> None:
    """Overwrites a member's salt, if there is one. In a transaction."""
    db.execute("UPDATE salts SET salt = zeroblob(length(salt)) WHERE member_id = ?", (place,))


def delete_blanks(db: sqlite3.Connection, place: Place) -> None:
    """For who makes the file anew afterwards. In a transaction."""
    db.execute(f"DELETE FROM kept WHERE member_id = ? AND NOT {HAS_VALUE}", (place,))
    db.execute(f"DELETE FROM salts WHERE member_id = ? AND NOT {_HAS_SALT}", (place,))
