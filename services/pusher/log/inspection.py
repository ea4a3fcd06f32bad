"""Looks into a log file from outside: verifies every record, or shows them, for `fasttree log`.

Reads only, and may run beside the pusher that writes the log (SQLite keeps readers and the writer apart).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from fasttree.v1 import treenode_pb2, types_pb2
from services.pusher.log.disk.end_mark import read_mark
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.ids.archive import run_path
from services.pusher.log.ids.runs import Run
from services.pusher.log.store import LogDamagedError, LogStoreError
from services.pusher.log.stored.frames import check_run, update_bytes
from services.shared.files.sealed.records import SEALED, SEALED_HEAD_BYTES, key_id_of, opens
from services.shared.files.sqlite_words import sqlite_words
from services.shared.wire.record import RecordDamagedError

if TYPE_CHECKING:
    from services.shared.files.sealed.keys import Keys

_ROWS = 1000
#: One record of each key and salt: its beginning, behind the first byte and its size.
_SEALS = """
SELECT substr(frame, 1, ?) FROM log WHERE substr(frame, 1, 1) = ? GROUP BY substr(frame, 6, 56)
"""
_RUN = """
SELECT count(*), CAST(group_concat(frame, '') AS BLOB)
FROM (SELECT frame FROM log WHERE position BETWEEN ? AND ? ORDER BY position)
"""


@dataclass(slots=True)
class LogVerification:
    """What `verify_log` found.

    Attributes:
        log_id: The log's own id.
        first_position, last_position: Its ends.
        records: How many records were found good.
        problems: What is wrong, one line each, in the order of positions; empty where all is well.
        moved_to: Where it goes on, if it was moved: what was acknowledged there can't be looked for here.
    """

    log_id: str = ""
    first_position: int = 1
    last_position: int = 0
    records: int = 0
    problems: list[str] = field(default_factory=list)
    moved_to: str = ""


def log_path(place: Path) -> Path:
    """The log file in a pusher's folder, or the file itself. Raises LogStoreError where there is none."""
    path = place / "log.db" if place.is_dir() else place
    if not path.is_file():
        raise LogStoreError(
            f"{path}: there is no log; name the pusher's folder or its log.db; where it lies in a server, "
            "ask its pusher, without a folder"
        )
    return path


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def verify_log(place: Path, first_position: int = 0, last_position: int = 0) -> LogVerification:
    """Checks the checksum, position and id of every record, the index of ids, and that the log has not lost its end.

    Args:
        place: The pusher's folder, or the log file.
        first_position: With it or `last_position`, the records from the one to the other alone; 0: the log's own.

    Raises:
        LogStoreError: There is no log there, or it can't be opened at all.
    """
    path = log_path(place)
    found, last = LogVerification(), 0
    try:
        with closing(_open(path)) as connection:
            found.log_id = str(connection.execute("SELECT value FROM meta WHERE name = 'log_id'").fetchone()[0])
            first, last = connection.execute("SELECT min(position), max(position) FROM log").fetchone()
            whole = not first_position and not last_position
            found.first_position = max(first or 1, first_position)
            found.last_position = min(last or 0, last_position or last or 0)
            for begin in range(found.first_position, found.last_position + 1, _ROWS):
                _verify_rows(connection, begin, min(begin + _ROWS - 1, found.last_position), found)
            if whole:
                _verify_index(connection, found)
                _verify_trimmed_ids(connection, path.with_name("ids"), found)
            found.moved_to = _moved_to(connection)
    except sqlite3.DatabaseError as error:
        if not found.log_id:
            raise LogStoreError(f"{path} can't be opened as a log: {sqlite_words(error)}") from error
        found.problems.append(f"{path}: {sqlite_words(error)}")
    promise = read_mark(path.with_name("log.end"))
    if not found.moved_to and promise.is_of(found.log_id) and promise.position > (last or 0):
        found.problems.append(f"the log ends at {last or 0}, but {promise.position} was acknowledged")
    return found


def _moved_to(connection: sqlite3.Connection) -> str:
    """The place where the log goes on; empty where that is here, and in one of an earlier version."""
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'fence'").fetchone()[0]:
        return ""
    row = connection.execute("SELECT epoch, holder, claims FROM fence").fetchone()
    return Fence(*row).moved_to if row is not None else ""


def _verify_rows(connection: sqlite3.Connection, first: int, last: int, found: LogVerification) -> None:
    """A thousand records at once; one by one where something is wrong among them."""
    try:
        count, data = connection.execute(_RUN, (first, last)).fetchone()
        ids = [row[0] for row in connection.execute(
            "SELECT update_id FROM log WHERE position BETWEEN ? AND ? ORDER BY position", (first, last)
        )]  # fmt: skip
        if count == last - first + 1 and len(check_run(first, data).ends) == count:
            records = treenode_pb2.ApplyUpdatesRequest.FromString(data).records
            if ids == [types_pb2.Update.FromString(record.update).update_id for record in records]:
                found.records += count
                return
    except (RecordDamagedError, sqlite3.DatabaseError, DecodeError):
        pass  # told below, by position
    for position in range(first, last + 1):
        problem = _row_problem(connection, position)
        if problem:
            found.problems.append(problem)
        else:
            found.records += 1


def _row_problem(connection: sqlite3.Connection, position: int) -> str:
    """What is wrong with one record; empty where nothing is."""
    try:
        row = connection.execute("SELECT update_id, frame FROM log WHERE position = ?", (position,)).fetchone()
        if row is None:
            return f"log record at position {position} is missing"
        update = _update(position, row[1])
    except (RecordDamagedError, DecodeError) as error:
        return str(error)
    except sqlite3.DatabaseError as error:
        return f"log record at position {position} can't be read: {sqlite_words(error)}"
    if update.update_id != row[0]:
        return f"log record at position {position} is kept under the id {row[0]!r}, but is {update.update_id!r}"
    return ""


def _update(position: int, frame: bytes) -> types_pb2.Update:
    return types_pb2.Update.FromString(update_bytes(position, frame))


def _verify_index(connection: sqlite3.Connection, found: LogVerification) -> None:
    """SQLite's own check of its pages and of the index of ids."""
    for (line,) in connection.execute("PRAGMA integrity_check(20)"):
        if line != "ok":
            found.problems.append(f"the file's structure: {line}")


def runs_of(connection: sqlite3.Connection, folder: Path) -> list[Path]:
    """The files of ids of trimmed records that a log counts; none in one of an earlier version."""
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'id_runs'").fetchone()[0]:
        return []
    return [run_path(folder, number) for (number,) in connection.execute("SELECT number FROM id_runs ORDER BY number")]


def _verify_trimmed_ids(connection: sqlite3.Connection, folder: Path, found: LogVerification) -> None:
    for path in runs_of(connection, folder):
        try:
            Run(path).check()
        except LogDamagedError as error:
            found.problems.append(str(error))


def dump_log(place: Path, first_position: int = 0, last_position: int = 0) -> Iterator[tuple[int, types_pb2.Update]]:
    """Positions and updates, in order; 0 stands for the log's own first and last position.

    Raises:
        LogStoreError: There is no log there.
        RecordDamagedError: A record is damaged or missing; those before it were given.
    """
    with closing(_open(log_path(place))) as connection:
        first, last = connection.execute("SELECT min(position), max(position) FROM log").fetchone()
        position = max(first_position, first or 1)
        end = min(last_position or last or 0, last or 0)
        while position <= end:
            rows = connection.execute(
                "SELECT position, frame FROM log WHERE position BETWEEN ? AND ? ORDER BY position",
                (position, min(position + _ROWS - 1, end)),
            ).fetchall()
            if not rows:
                raise RecordDamagedError(f"log record at position {position} is missing")
            for at, frame in rows:
                if at != position:
                    raise RecordDamagedError(f"log record at position {position} is missing")
                yield position, _update(position, frame)
                position += 1


def seals_in(place: Path) -> Counter[str]:
    """Records of the log in a folder, if one is there, by the id of the key that sealed them; empty: clear. Raises
    LogStoreError."""
    return Counter(map(key_id_of, _heads(place, "SELECT substr(frame, 1, ?) FROM log", SEALED_HEAD_BYTES)))


def unopened_records(place: Path, keys: Keys) -> set[str]:
    """The ids of keys that sealed records of the log in a folder, and are not among these, or are others there. Raises
    LogStoreError."""
    heads = _heads(place, _SEALS, SEALED_HEAD_BYTES, bytes([SEALED]))
    return {key_id_of(head) for head in heads if not opens(keys, head)}


def _heads(place: Path, query: str, *values: int | bytes) -> list[bytes]:
    """How records begin; none where no log is there."""
    path = place / "log.db"
    if not path.exists():
        return []
    try:
        with closing(_open(path)) as connection:
            return [bytes(head) for (head,) in connection.execute(query, values)]
    except sqlite3.Error as error:
        raise LogStoreError(f"{path} can't be read as a log: {sqlite_words(error)}") from error
