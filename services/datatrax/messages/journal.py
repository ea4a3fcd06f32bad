"""What is known of every message and letter, in one SQLite file: on disk when a call returns.

WAL with synchronous=FULL, an fsync a transaction. Every function blocks; one thread calls them, one after another
(`journal_thread.py`), so that what is read is never older than what was told to be on disk before.

Texts and columns of a letter are kept while it waits or is dead, and go when it is sent. Of the newest finished
messages the letters are kept; of older ones nothing but the message and its counts, so that its id counts for good.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from services.datatrax.messages.events import Fate, Note, Phase
from services.shared.files.sqlite_words import primary_code, sqlite_with_mend, sqlite_words
from services.shared.serving.errors import ResourceExhaustedError
from services.shared.serving.process import StartupError

_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id TEXT NOT NULL UNIQUE,
    request BLOB NOT NULL,
    phase INTEGER NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    as_of BLOB NOT NULL DEFAULT x'',
    total INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    opted_out INTEGER NOT NULL DEFAULT 0,
    accepted_at REAL NOT NULL,
    finished_at REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS open_messages ON messages (seq) WHERE closed = 0;
CREATE TABLE IF NOT EXISTS letters (
    message INTEGER NOT NULL,
    number INTEGER NOT NULL,
    member_id TEXT NOT NULL,
    text TEXT NOT NULL,
    columns TEXT NOT NULL,
    fate INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (message, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS members ON letters (message, member_id);
CREATE INDEX IF NOT EXISTS waiting ON letters (message, number) WHERE fate = 0;
CREATE INDEX IF NOT EXISTS dead ON letters (message, number) WHERE fate = 2;
CREATE TABLE IF NOT EXISTS opt_outs (
    member_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    in_file INTEGER NOT NULL,
    PRIMARY KEY (member_id, channel, in_file)
) WITHOUT ROWID;
"""
_OPTED_OUT: Final = (
    "EXISTS (SELECT 1 FROM opt_outs WHERE opt_outs.member_id = letters.member_id AND opt_outs.channel IN ('', ?))"
)
_MESSAGE: Final = "(SELECT seq FROM messages WHERE message_id = ?)"
_ROW: Final = (
    "SELECT seq, message_id, request, phase, paused, reason, as_of, total, sent, dead, opted_out, accepted_at, "
    "finished_at FROM messages"
)
_COUNTED: Final = {Fate.SENT: "sent", Fate.DEAD: "dead", Fate.OPTED_OUT: "opted_out"}
#: Letters that are deleted at once: more would hold the others up.
_DELETED_AT_ONCE: Final = 20_000


class Row(NamedTuple):
    """A message."""

    seq: int
    message_id: str
    request: bytes
    phase: Phase
    paused: bool
    reason: str
    #: Empty until its audience is gathered.
    as_of: bytes
    total: int
    sent: int
    dead: int
    opted_out: int
    accepted_at: float
    finished_at: float

    @property
    def waiting(self) -> int:
        return self.total - self.sent - self.dead - self.opted_out


class LetterRow(NamedTuple):
    """A letter."""

    number: int
    member_id: str
    text: str
    columns: dict[str, str]
    opted_out: bool = False
    fate: Fate = Fate.WAITING
    attempts: int = 0
    reason: str = ""


class Journal:
    """The file `messages.db` of a folder that is this process's own. Raises StartupError where it can't be used."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "messages.db"
        try:
            self._database = sqlite3.connect(self.path, timeout=10.0, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise
        except sqlite3.Error as error:
            raise StartupError(
                f"{self.path}: {sqlite_words(error)}; bring back a whole copy, or move it away: then ids of messages "
                "that were sent are not known any more"
            ) from error

    def _prepare(self) -> None:
        for setting in ("journal_mode = WAL", "synchronous = FULL", "cell_size_check = ON", "cache_size = -16384"):
            self._database.execute(f"PRAGMA {setting}")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StartupError(f"{self.path} has version {version}, this program knows {_VERSION}: use a newer one")
        if problem := next((row[0] for row in self._database.execute("PRAGMA quick_check(1)") if row[0] != "ok"), ""):
            raise sqlite3.DatabaseError(problem)
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if tables and not version:
            raise StartupError(f"{self.path} is of some other program: set another datatrax.message_folder")
        self._database.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")

    def told(self, error: sqlite3.OperationalError) -> Exception:
        """What an error of SQLite means: that the disk is full or fails, or a fault of this program."""
        if primary_code(error) == sqlite3.SQLITE_ERROR:
            return error
        return ResourceExhaustedError(f"can't use {self.path}: {sqlite_with_mend(error)}", reason="DISK_FULL")

    def close(self) -> None:
        """It is not used any more."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the body's writes, or none; on disk when it is left."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    # -- messages

    def accept(self, message_id: str, request: bytes, accepted_at: float, open_max: int) -> tuple[Row, bool]:
        """Takes a message; returns what is known of that id, and whether it was known before.

        Raises:
            ResourceExhaustedError: As many as `open_max` are not finished yet.
        """
        known = self.row(message_id)
        if known is not None:
            return known, True
        with self._transaction() as database:
            count = database.execute("SELECT count(*) FROM messages WHERE closed = 0").fetchone()[0]
            if count >= open_max:
                raise ResourceExhaustedError(
                    f"{count} messages are not finished yet, as many as datatrax.messages_open_max allows: wait for "
                    "one, or cancel one",
                    reason="TOO_MANY_MESSAGES",
                )
            database.execute(
                "INSERT INTO messages (message_id, request, phase, accepted_at) VALUES (?, ?, ?, ?)",
                (message_id, request, Phase.GATHERING.value, accepted_at),
            )
        found = self.row(message_id)
        assert found is not None
        return found, False

    def row(self, message_id: str) -> Row | None:
        """What is known of a message."""
        return next(self._rows(f"{_ROW} WHERE message_id = ?", (message_id,)), None)

    def page(self, before: int, count: int) -> list[Row]:
        """Messages, the newest first: those taken before the one of that number."""
        return list(self._rows(f"{_ROW} WHERE seq < ? ORDER BY seq DESC LIMIT ?", (before, count)))

    def unfinished(self) -> list[Row]:
        """Those that somebody has to go on with, the oldest first."""
        return list(self._rows(f"{_ROW} WHERE closed = 0 ORDER BY seq", ()))

    def _rows(self, statement: str, values: Sequence[Any]) -> Iterator[Row]:
        for row in self._database.execute(statement, values):
            yield Row._make([*row[:3], Phase(row[3]), bool(row[4]), *row[5:]])

    def set_paused(self, message_id: str, paused: bool) -> None:
        """Whether it is to wait."""
        with self._transaction() as database:
            database.execute("UPDATE messages SET paused = ? WHERE message_id = ?", (paused, message_id))

    def cancel(self, message_id: str, at: float) -> bool:
        """Nothing more of it goes out. Whether it was not over yet."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE messages SET phase = ?, finished_at = ? WHERE message_id = ? AND phase IN (?, ?)",
                (Phase.CANCELLED.value, at, message_id, Phase.GATHERING.value, Phase.SENDING.value),
            )
            return changed.rowcount == 1

    def finish(self, message_id: str, phase: Phase, reason: str, at: float, kept_max: int) -> None:
        """It is over, unless letters of it wait anew; letters of the oldest ones go."""
        with self._transaction() as database:
            if phase is Phase.CANCELLED:
                database.execute(
                    "UPDATE messages SET closed = 1 WHERE message_id = ? AND phase = ?", (message_id, phase.value)
                )
            else:
                database.execute(
                    "UPDATE messages SET closed = 1, phase = ?, reason = ?, finished_at = ? WHERE message_id = ? AND "
                    "phase IN (?, ?) AND (? OR total = sent + dead + opted_out)",
                    (
                        phase.value, reason, at, message_id, Phase.GATHERING.value, Phase.SENDING.value,
                        phase is Phase.FAILED,
                    ),
                )  # fmt: skip
            database.execute(
                "DELETE FROM letters WHERE message IN (SELECT seq FROM messages WHERE closed = 1 AND message_id != ? "
                "ORDER BY finished_at DESC LIMIT -1 OFFSET ?)",
                (message_id, kept_max - 1),
            )

    # -- letters

    def begin_letters(self, message_id: str) -> None:
        """What was written down of an audience that was not gathered to its end goes."""
        deleted = _DELETED_AT_ONCE
        while deleted == _DELETED_AT_ONCE:
            with self._transaction() as database:
                deleted = database.execute(
                    f"DELETE FROM letters WHERE message = {_MESSAGE} AND number IN (SELECT number FROM letters WHERE "
                    f"message = {_MESSAGE} LIMIT {_DELETED_AT_ONCE})",
                    (message_id, message_id),
                ).rowcount

    def add_letters(self, message_id: str, letters: Iterable[LetterRow]) -> None:
        """Some of an audience's letters."""
        with self._transaction() as database:
            seq = database.execute("SELECT seq FROM messages WHERE message_id = ?", (message_id,)).fetchone()[0]
            database.executemany(
                "INSERT INTO letters (message, number, member_id, text, columns, fate, reason) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (seq, each.number, each.member_id, each.text, _packed(each.columns), each.fate.value, each.reason)
                    for each in letters
                ],
            )

    def gathered(self, message_id: str, as_of: bytes, total: int, dead: int) -> None:
        """All of them are there."""
        with self._transaction() as database:
            database.execute(
                "UPDATE messages SET as_of = ?, total = ?, dead = ?, phase = ? WHERE message_id = ? AND phase = ?",
                (as_of, total, dead, Phase.SENDING.value, message_id, Phase.GATHERING.value),
            )

    def load(self, message_id: str, channel: str, after: int, count: int) -> list[LetterRow]:
        """The next letters that wait."""
        rows = self._database.execute(
            f"SELECT number, member_id, text, columns, {_OPTED_OUT} FROM letters WHERE message = {_MESSAGE} "
            "AND fate = 0 AND number > ? ORDER BY number LIMIT ?",
            (channel, message_id, after, count),
        )
        return [LetterRow(row[0], row[1], row[2], _unpacked(row[3]), bool(row[4])) for row in rows]

    def note(self, notes: Sequence[Note]) -> None:
        """What became of letters that waited."""
        with self._transaction() as database:
            counts: dict[tuple[str, Fate], int] = {}
            seqs: dict[str, int] = {}
            for each in notes:
                seq = seqs.get(each.message_id)
                if seq is None:
                    found = database.execute("SELECT seq FROM messages WHERE message_id = ?", (each.message_id,))
                    seq = seqs[each.message_id] = found.fetchone()[0]
                kept = each.fate is Fate.DEAD
                changed = database.execute(
                    "UPDATE letters SET fate = ?, attempts = ?, reason = ?, text = iif(?, text, ''), "
                    "columns = iif(?, columns, '') WHERE message = ? AND number = ? AND fate = 0",
                    (each.fate.value, each.attempts, each.reason, kept, kept, seq, each.number),
                )
                key = (each.message_id, each.fate)
                counts[key] = counts.get(key, 0) + changed.rowcount
            self._count(database, counts)

    def note_sent(self, message_id: str, member_ids: Collection[str]) -> int:
        """Letters of these members are with their sender, as it says itself. Returns for how many that was new."""
        with self._transaction() as database:
            seq = database.execute("SELECT seq FROM messages WHERE message_id = ?", (message_id,)).fetchone()[0]
            changed = sum(
                database.execute(
                    "UPDATE letters SET fate = ?, attempts = 1, text = '', columns = '' WHERE message = ? AND "
                    "member_id = ? AND fate = 0",
                    (Fate.SENT.value, seq, member_id),
                ).rowcount
                for member_id in member_ids
            )
            self._count(database, {(message_id, Fate.SENT): changed})
            return changed

    @staticmethod
    def _count(database: sqlite3.Connection, counts: Mapping[tuple[str, Fate], int]) -> None:
        for (message_id, fate), count in counts.items():
            name = _COUNTED[fate]
            database.execute(f"UPDATE messages SET {name} = {name} + ? WHERE message_id = ?", (count, message_id))

    def dead_letters(self, message_id: str, after: int, count: int) -> list[LetterRow]:
        """Dead letters behind a number."""
        rows = self._database.execute(
            "SELECT number, member_id, text, columns, attempts, reason FROM letters "
            f"WHERE message = {_MESSAGE} AND fate = 2 AND number > ? ORDER BY number LIMIT ?",
            (message_id, after, count),
        )
        return [LetterRow._make([*row[:3], _unpacked(row[3]), False, Fate.DEAD, *row[4:]]) for row in rows]

    def resend(self, message_id: str, member_ids: Collection[str]) -> int:
        """Dead letters wait again, and their message is not over: those of these members, or all. How many."""
        again = f"UPDATE letters SET fate = 0, attempts = 0, reason = '' WHERE message = {_MESSAGE} AND fate = 2"
        with self._transaction() as database:
            if member_ids:
                changed = sum(
                    database.execute(f"{again} AND member_id = ?", (message_id, each)).rowcount for each in member_ids
                )
            else:
                changed = database.execute(again, (message_id,)).rowcount
            if changed:
                database.execute(
                    "UPDATE messages SET dead = dead - ?, phase = ?, closed = 0, finished_at = 0 WHERE message_id = ?",
                    (changed, Phase.SENDING.value, message_id),
                )
            return changed

    # -- opt-outs

    def set_opt_outs(self, member_ids: Collection[str], channel: str, opted_in: bool) -> int:
        """Members want none, or want them again. For how many that was new."""
        if opted_in:
            statement = "DELETE FROM opt_outs WHERE member_id = ? AND channel = ? AND in_file = 0"
        else:
            statement = "INSERT OR IGNORE INTO opt_outs VALUES (?, ?, 0)"
        with self._transaction() as database:
            return sum(database.execute(statement, (each, channel)).rowcount for each in member_ids)

    def set_file(self, opt_outs: Iterable[tuple[str, str]]) -> None:
        """Those of the file, in place of those that it had."""
        with self._transaction() as database:
            database.execute("DELETE FROM opt_outs WHERE in_file = 1")
            database.executemany("INSERT OR IGNORE INTO opt_outs VALUES (?, ?, 1)", opt_outs)

    def opt_outs(self, after: tuple[str, str], count: int, member_id: str) -> list[tuple[str, str, bool]]:
        """Member, channel and whether the file has it, by member, behind that one."""
        rows = self._database.execute(
            "SELECT member_id, channel, max(in_file) FROM opt_outs WHERE (member_id, channel) > (?, ?) "
            "AND (? = '' OR member_id = ?) GROUP BY member_id, channel ORDER BY member_id, channel LIMIT ?",
            (*after, member_id, member_id, count),
        )
        return [(row[0], row[1], bool(row[2])) for row in rows]

    def opted_out_of(self, channel: str, member_ids: Sequence[str]) -> set[str]:
        """Those of these members who want none on that channel."""
        rows = self._database.execute(
            "SELECT member_id FROM opt_outs WHERE channel IN ('', ?) AND member_id IN (SELECT value FROM json_each(?))",
            (channel, json.dumps(member_ids)),
        )
        return {row[0] for row in rows}


def _packed(columns: Mapping[str, str]) -> str:
    return json.dumps(columns, ensure_ascii=False) if columns else ""


def _unpacked(text: str) -> dict[str, str]:
    return dict(json.loads(text)) if text else {}
