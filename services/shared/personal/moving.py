"""Rows of a vault, written anew by the secret in force: a member's at once, so that he is never in two places."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from services.shared.files.sealed.errors import SealDamagedError
from services.shared.personal.erasing import HAS_VALUE, delete_blanks, keep_salt, stored_salt
from services.shared.personal.generations import Generations
from services.shared.personal.row_forms import CLEAR_ROWS, Place, RowForm

_BEHIND_ALL: Final = b"\xff" * 4


class Tended(NamedTuple):
    """What came of a look at all that is written otherwise than it would be now."""

    moved: int
    #: Members of whom something is damaged: they stay where they are.
    damaged: int
    #: Whether the end was reached.
    is_done: bool


def move_values(
    db: sqlite3.Connection, old: RowForm, new: RowForm, place: Place, stored: object
) -> tuple[Place, bytes]:
    """A member's salt, as it is stored there, and his values: where they are now, and the salt. In a transaction.

    Raises SealDamagedError; nothing was changed then.
    """
    member_id, salt = old.salt_of(place, stored)
    to = new.place(member_id)
    query = f"SELECT number, token, value FROM kept WHERE member_id = ? AND {HAS_VALUE}"
    kept = db.execute(query, (place,)).fetchall()
    values = [
        (to, new.value_in(to, number, token, old.value_of(place, number, token, value)), number)
        for number, token, value in kept
    ]
    delete_blanks(db, place)
    db.execute("DELETE FROM salts WHERE member_id = ?", (place,))
    keep_salt(db, to, new.salt_in(to, member_id, salt))
    db.executemany("UPDATE kept SET member_id = ?, value = ? WHERE number = ?", values)
    return to, salt


def erased_id(db: sqlite3.Connection, form: RowForm, place: Place) -> str:
    """Who was erased. Raises SealDamagedError."""
    found = None
    if form is not CLEAR_ROWS:
        found = db.execute("SELECT sealed FROM erased_ids WHERE member_id = ?", (place,)).fetchone()
    return form.id_of(place, found and found[0])


def keep_erased_id(db: sqlite3.Connection, form: RowForm, place: Place, member_id: str) -> None:
    """Who was erased, where the place does not say it. In a transaction."""
    if sealed := form.id_in(place, member_id):
        db.execute("INSERT OR REPLACE INTO erased_ids VALUES (?, ?)", (place, sealed))


def forget_erased_id(db: sqlite3.Connection, form: RowForm, place: Place) -> None:
    """As if nobody had been erased there. In a transaction."""
    if form is not CLEAR_ROWS:
        db.execute("DELETE FROM erased_ids WHERE member_id = ?", (place,))


class Mover:
    """Goes through what an older secret sealed, or what is clear, from one end to the other, and again."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._after: Place = ""
        self._damaged = 0

    def move(self, db: sqlite3.Connection, most: int) -> Tended:
        """So many members at most. In a transaction. Raises SealKeyError."""
        new = self._generations.forms(db)[0]
        # Sealed rows stand behind all clear ones, and those of the newest secret behind all others.
        begin, high = (self._after or b"", _BEHIND_ALL) if new is CLEAR_ROWS else (self._after, new.bounds[0])
        found = db.execute(
            "SELECT member_id FROM salts WHERE member_id > ? AND member_id < ? "
            "UNION SELECT member_id FROM erased WHERE member_id > ? AND member_id < ? ORDER BY 1 LIMIT ?",
            (begin, high, begin, high, most),
        ).fetchall()
        moved = 0
        for (place,) in found:
            try:
                moved += self._move(db, new, place)
            except SealDamagedError:
                self._damaged += 1
        if len(found) == most:
            self._after = found[-1][0]
            return Tended(moved, self._damaged, is_done=False)
        tended = Tended(moved, self._damaged, is_done=True)
        self._after, self._damaged = "", 0
        return tended

    def _move(self, db: sqlite3.Connection, new: RowForm, place: Place) -> bool:
        """Whether there was more than blanks."""
        old = self._generations.form_of(db, place)
        salt = stored_salt(db, place)
        if salt is not None:
            move_values(db, old, new, place, salt)
        delete_blanks(db, place)
        is_erased = db.execute("SELECT 1 FROM erased WHERE member_id = ?", (place,)).fetchone() is not None
        if is_erased:
            member_id = erased_id(db, old, place)
            to = new.place(member_id)
            db.execute("UPDATE erased SET member_id = ? WHERE member_id = ?", (to, place))
            forget_erased_id(db, old, place)
            keep_erased_id(db, new, to, member_id)
        return is_erased or salt is not None
