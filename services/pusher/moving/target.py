"""Where a log is moved to: a store that no pusher may write before all is there. What it has outlives the process that
copies: another one goes on from there."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

from services.pusher.log.fencing.fence import COPYING
from services.pusher.log.frames import update_bytes
from services.pusher.log.store import LogDamagedError, LogEnds, LogStore, LogStoreError
from services.pusher.moving.source import Piece
from services.shared.wire.record import RecordDamagedError


class Small(NamedTuple):
    """What is copied with the last step; rows as the source has them."""

    rules: list[tuple[Any, ...]]
    imports: list[tuple[Any, ...]]
    time_marks: list[tuple[Any, ...]]
    replaced_logs: list[tuple[Any, ...]]
    running_s: str


class CopyTarget(ABC):
    """The copy.

    Attributes:
        place: Where it is, in words.
        copy_id: Which copy it is: two places may have the same name.
            Empty until the copy is begun.
        is_the_log: All is here, and was moved here: there is nothing left to copy.
    """

    place: str

    def __init__(self, log: LogStore) -> None:
        self._log = log
        self.copy_id, self.is_the_log = "", False

    def look(self, log_id: str) -> None:
        """What is here of that log; nothing is written."""
        self.copy_id = self.kept("copy_id")
        self.is_the_log = self._log.fence().holder != COPYING and self._log.log_id == log_id

    def begin(self, log_id: str) -> None:
        """Takes the place for the copy of that log. Raises LogStoreError where something else is there."""
        fence, ends = self._log.fence(), self._log.ends()
        begun = self.kept("copied_log_id")
        if fence.holder != COPYING and (fence.claims or ends.last):
            raise LogStoreError(f"{self.place} holds a log already: name an empty one")
        if begun not in ("", log_id):
            raise LogStoreError(f"a copy of log {begun} was begun in {self.place}, not of {log_id}: name an empty one")
        self._log.claim(max(fence.epoch, 1), COPYING)
        if not begun:
            self.keep("copied_log_id", log_id)
        if not self.copy_id:
            self.copy_id = uuid.uuid4().hex
            self.keep("copy_id", self.copy_id)

    @property
    def last_position(self) -> int:
        return self._log.ends().last

    @abstractmethod
    def keep(self, name: str, value: str) -> None:
        """Keeps a word of this copy."""

    @abstractmethod
    def kept(self, name: str) -> str:
        """It; empty where there is none."""

    @abstractmethod
    def begin_at(self, first_position: int) -> None:
        """The next record is that one: those before it are trimmed by now."""

    def add(self, piece: Piece) -> None:
        """Stores records, and reads them back. Raises LogDamagedError where one is not what it was."""
        try:
            contents = [
                update_bytes(position, frame) for position, frame in enumerate(piece.frames, piece.first_position)
            ]
        except RecordDamagedError as error:
            raise LogDamagedError(f"{error}, in the log that is to be moved") from error
        appended = self._log.append(piece.update_ids, contents)
        last = piece.first_position + len(contents) - 1
        if appended.run is None or list(appended.positions) != list(range(piece.first_position, last + 1)):
            raise LogDamagedError(f"of positions {piece.first_position} to {last}, an id is in the copy already")
        self.check(piece)

    def check(self, piece: Piece) -> None:
        """Reads records back. Raises LogDamagedError where one is not what it was."""
        data, read = b"".join(piece.frames), b""
        position, last = piece.first_position, piece.first_position + len(piece.frames) - 1
        while position <= last:
            run = self._log.read(position, last, len(data))
            read += run.data
            position = run.last_position + 1
        if read != data:
            raise LogDamagedError(f"the copy differs from the log between positions {piece.first_position} and {last}")

    @abstractmethod
    def add_ids(self, path: Path) -> int:
        """Adds a file of ids of trimmed records, unless it is here; returns how many it has. Raises LogDamagedError."""

    def finish(self, log_id: str, small: Small, ends: LogEnds, epoch: int, holder: str) -> None:
        """The last step, all of it or nothing: from then on it is the log, and its pusher's."""
        if ends.last != self.last_position:
            raise LogStoreError(f"the copy ends at {self.last_position}, the log at {ends.last}: copy again")
        self._become(log_id, small, ends, epoch, holder)

    @abstractmethod
    def _become(self, log_id: str, small: Small, ends: LogEnds, epoch: int, holder: str) -> None:
        """As `finish`."""

    def close(self) -> None:
        """Ends its connections."""
        self._log.close()
