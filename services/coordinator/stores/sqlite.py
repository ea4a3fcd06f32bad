"""The coordinator's store in one SQLite file: for a cluster with one coordinator."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from services.coordinator.election.events import Recorded
from services.coordinator.stores.store import EPOCH_MAX, StoreConflictError, StoreError, check_epoch
from services.shared.files.sqlite_words import sqlite_words, was_moved

_SCHEMA = """
CREATE TABLE IF NOT EXISTS recorded (
    cluster TEXT PRIMARY KEY NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    primary_node TEXT NOT NULL,
    primary_incarnation TEXT NOT NULL,
    paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
    pusher_epoch INTEGER NOT NULL DEFAULT 0,
    pusher TEXT NOT NULL DEFAULT '',
    pusher_incarnation TEXT NOT NULL DEFAULT '',
    pusher_address TEXT NOT NULL DEFAULT '',
    contested INTEGER NOT NULL DEFAULT 0,
    vouch_ms INTEGER NOT NULL DEFAULT 0,
    pusher_log TEXT NOT NULL DEFAULT ''
) STRICT
"""
#: What a file of an earlier version may lack.
_LATER_COLUMNS = {
    "pusher_epoch": "INTEGER NOT NULL DEFAULT 0",
    "pusher": "TEXT NOT NULL DEFAULT ''",
    "pusher_incarnation": "TEXT NOT NULL DEFAULT ''",
    "pusher_address": "TEXT NOT NULL DEFAULT ''",
    "contested": "INTEGER NOT NULL DEFAULT 0",
    "vouch_ms": "INTEGER NOT NULL DEFAULT 0",
    "pusher_log": "TEXT NOT NULL DEFAULT ''",
}
#: In the order of the fields of `Recorded`.
_COLUMNS = ("epoch", "primary_node", "paused", "primary_incarnation", *_LATER_COLUMNS)
#: A row that takes the other's place: an UPDATE that changes nothing writes nothing, and so can't fail.
_UPDATE = f"""
REPLACE INTO recorded ({", ".join(_COLUMNS)}, cluster)
SELECT {", ".join("?" for _ in _COLUMNS)}, cluster FROM recorded
WHERE cluster = ? AND {" AND ".join(f"{column} = ?" for column in _COLUMNS)}
"""


class SqliteStore:
    """See ClusterStore. Every save is one transaction, on disk (fsync) when it returns.

    Args:
        path: The file; made where it is missing.
        cluster: The cluster's name.

    Raises:
        StoreError: The file can't be opened, is damaged, or is another cluster's.
    """

    def __init__(self, path: Path, cluster: str) -> None:
        self._path = path
        self._cluster = cluster
        # Saves run in a thread; a caller that stops waiting must not let two of them overlap.
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            # A rollback journal with FULL: each save is synced before it returns, and one file is all there is.
            self._connection.execute("PRAGMA journal_mode = DELETE")
            self._connection.execute("PRAGMA synchronous = EXTRA")
            problem = self._connection.execute("PRAGMA quick_check").fetchone()[0]
            if problem != "ok":
                raise sqlite3.DatabaseError(problem)
            self._connection.execute(_SCHEMA)
            known = {row[1] for row in self._connection.execute("PRAGMA table_info(recorded)")}
            for column, kind in _LATER_COLUMNS.items():
                if column not in known:
                    self._connection.execute(f"ALTER TABLE recorded ADD COLUMN {column} {kind}")
            owners = [row[0] for row in self._connection.execute("SELECT cluster FROM recorded")]
            if owners not in ([], [cluster]):
                raise StoreError(
                    f"{path} belongs to cluster {owners[0]}, not {cluster}: set another [coordinator] state_folder"
                )
            self._connection.execute(
                "INSERT OR IGNORE INTO recorded (cluster, epoch, primary_node, primary_incarnation, paused)"
                " VALUES (?, 0, '', '', 0)",
                (cluster,),
            )
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {sqlite_words(error)}; {self._mend(error)}") from error

    def _mend(self, error: sqlite3.Error) -> str:
        if was_moved(error):
            return "put it back, or start the coordinator again: the epoch goes on above what the nodes know"
        if isinstance(error, sqlite3.OperationalError):
            return "check the folder's rights and the disk's free space"
        # Safe: nodes tell the highest epoch that they have heard of, and elections go on above it.
        return "move the file away and start again: the epoch goes on above what the nodes know"

    async def load(self) -> Recorded:
        return await asyncio.to_thread(self._load)

    async def save(self, recorded: Recorded, expected: Recorded) -> None:
        check_epoch(recorded, expected)
        await asyncio.to_thread(self._save, recorded, expected)

    async def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _load(self) -> Recorded:
        columns = ", ".join(_COLUMNS)
        with self._lock:
            try:
                row = self._connection.execute(
                    f"SELECT {columns} FROM recorded WHERE cluster = ?", (self._cluster,)
                ).fetchone()
            except sqlite3.Error as error:
                raise StoreError(f"{self._path}: {sqlite_words(error)}; {self._mend(error)}") from error
        if row is None:
            raise StoreError(f"{self._path} has lost its record of {self._cluster}: move the file away and start again")
        values: dict[str, Any] = dict(zip((each.name for each in fields(Recorded)), row, strict=True))
        epoch = max(values["epoch"], values["pusher_epoch"])
        if epoch > EPOCH_MAX:
            raise StoreError(
                f"{self._path} is damaged: epoch {epoch} is no election's; move the file away and start again: "
                "the epoch goes on above what the nodes know"
            )
        return Recorded(**{**values, "paused": bool(values["paused"]), "contested": bool(values["contested"])})

    def _save(self, recorded: Recorded, expected: Recorded) -> None:
        new, old = _row(recorded), _row(expected)
        with self._lock:
            try:
                changed = self._connection.execute(_UPDATE, (*new, self._cluster, *old)).rowcount
            except sqlite3.Error as error:
                raise StoreError(f"{self._path}: {sqlite_words(error)}; {self._mend(error)}") from error
        if changed != 1:
            raise StoreConflictError(
                f"{self._path} was changed by another coordinator: only one may run with this folder"
            )


def _row(recorded: Recorded) -> tuple[int | str, ...]:
    return astuple(recorded)
