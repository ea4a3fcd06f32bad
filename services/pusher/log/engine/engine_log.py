"""What the engines do alike around their own reads and writes: which updates of an append are new, where the log ends,
what was promised of it outside of the engine, and in whose place it stands.

An engine brings the reads (`_readers`), one write of updates that should all be new (`_insert`), and what it knows of
ids (`_taken`, `_known`). `tests/conformance` judges all of it, engine by engine.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from fasttree.v1 import types_pb2
from services.pusher.log.damage import notes_damage
from services.pusher.log.disk.end_mark import EndMark, Found, Promise, check_promise, read_mark
from services.pusher.log.engine.placing import place
from services.pusher.log.fencing.fence import MOVED, Fence
from services.pusher.log.frames import Run, run_of
from services.pusher.log.store import REPLACED_MAX, Appended, LogEnds, LogStore, StoredImport, StoreFullError
from services.pusher.log.stored.frames import encoded
from services.shared.clock import RunningTime
from services.shared.domain.sentences import with_mend

#: Of ids that were taken: the position and the hash of the content.
Taken = dict[str, tuple[int, int]]
#: The same with the content itself, as `place` compares it.
Known = dict[str, tuple[int, bytes]]


class NewUpdates(NamedTuple):
    """Updates that follow each other; one entry of each for every one."""

    update_ids: Sequence[str]
    contents: Sequence[bytes]
    #: As they are to be stored: sealed, where this process has keys.
    frames: Sequence[bytes]


class LogReaders(Protocol):
    """Reads, from any thread; each as the method of that name of `LogStore`."""

    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run: ...

    def update_id_at(self, position: int) -> str: ...

    def named(self, prefix: str) -> list[tuple[int, bytes]]: ...

    def rule_records(self) -> list[tuple[int, types_pb2.Update]]: ...

    def imports(self) -> list[StoredImport]: ...

    def position_marked_until(self, running_s: float) -> int:
        """The newest position that was marked by that running time; 0 if none was."""


class EngineLog(LogStore):
    """A log in some engine. `damage` and `_mark_path` are there before anything is opened."""

    #: What `_insert` raises where an id is in the log; nothing was stored then.
    _id_taken: ClassVar[tuple[type[Exception], ...]] = ()

    _mark_path: Path
    #: From the first claim on.
    _mark: EndMark | None = None
    _ends: LogEnds
    _time: RunningTime
    _readers: LogReaders

    @property
    @abstractmethod
    def _held(self) -> Fence | None:
        """What this process has claimed; None where it has not, and where it is known to be deposed."""

    @abstractmethod
    def _taken(self, update_ids: Sequence[str]) -> Taken | None:
        """What is known at once of ids that were taken. None: it is worth trying to store all of them as new."""

    @abstractmethod
    def _known(self, update_ids: Sequence[str], contents: Sequence[bytes], taken: Taken) -> Known:
        """Of all that were ever taken. Raises LogDamagedError where one can't be compared."""

    @abstractmethod
    def _insert(self, first: int, updates: NewUpdates, rules: Sequence[tuple[int, bytes]]) -> None:
        """Stores updates that should all be new, the first at position `first`, which follows the end; `_ends` says so
        afterwards. `rules`: by their distance from the first.

        Raises what `append` raises, and `_id_taken`.
        """

    @abstractmethod
    def _check_claim(self) -> None:
        """Raises DeposedError where this process may not write."""

    # -- the log

    @property
    def epoch(self) -> int:
        return self._held.epoch if self._held is not None else 0

    def ends(self) -> LogEnds:
        return self._ends

    @notes_damage
    def append(self, update_ids: Sequence[str], contents: Sequence[bytes], rules: Sequence[int] = ()) -> Appended:
        taken = self._taken(update_ids)
        if taken is None:
            try:
                run = self._store(update_ids, contents, [(index, contents[index]) for index in rules])
            except self._id_taken:
                taken = {}
            else:
                return Appended(run, range(run.first_position, run.last_position + 1))
        return self._append_unknown(update_ids, contents, rules, taken)

    def _append_unknown(
        self, update_ids: Sequence[str], contents: Sequence[bytes], rules: Sequence[int], taken: Taken
    ) -> Appended:
        """Stores those updates that are new, after a look-up of all."""
        known = self._known(update_ids, contents, taken)
        first = self._ends.last + 1
        placed = place(update_ids, contents, known, first)
        kept = [(placed.positions[index] - first, contents[index]) for index in rules]
        run = None
        if placed.fresh:
            run = self._store(list(placed.fresh), list(placed.fresh.values()), kept)
        else:
            self._check_claim()
        return Appended(run, placed.positions, placed.duplicates, placed.conflicts)

    def _store(self, update_ids: Sequence[str], contents: Sequence[bytes], rules: Sequence[tuple[int, bytes]]) -> Run:
        first = self._ends.last + 1
        frames, stored = encoded(first, contents)
        self._insert(first, NewUpdates(update_ids, contents, stored), rules)
        self._mark_end()
        return run_of(first, frames)

    # -- reading

    @notes_damage
    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        return self._readers.read(first_position, last_position, bytes_max)

    @notes_damage
    def update_id_at(self, position: int) -> str:
        return self._readers.update_id_at(position)

    @notes_damage
    def named(self, prefix: str) -> list[tuple[int, bytes]]:
        return self._readers.named(prefix)

    @notes_damage
    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        return self._readers.rule_records()

    @notes_damage
    def imports(self) -> list[StoredImport]:
        return self._readers.imports()

    def position_older_than(self, age_s: float) -> int:
        """See `LogStore`. Known to about half a minute."""
        return self._readers.position_marked_until(self._time.now_s() - age_s)

    def _trims_to(self, first_position: int, count_max: int) -> int:
        """Where the log begins after a trim; not behind its beginning: there is nothing to trim."""
        return min(first_position, self._ends.last, self._ends.first + count_max)

    # -- what was promised

    def _check_promise(self, promise: Promise, found: Found, holder: str) -> None:
        """Whether what was found is all of the log. Raises LogDamagedError. `holder`: as the fence has it."""
        if holder.startswith(MOVED):
            return  # the mark is that of the place where it goes on, and no pusher can write it here
        if not any(map(promise.is_of, self.replaced_log_ids)):  # else it died between an adoption and its first mark
            check_promise(promise, self._mark_path, found)

    def _look_at_mark(self) -> None:
        """Whether a mark vouches for the log. The record that a new log begins with (position 1) is the pusher's own:
        nobody has a receipt for it."""
        promise = read_mark(self._mark_path)
        self.vouched_for = promise.position > 1 and promise.is_of(self.log_id)

    def _open_mark(self) -> None:
        """Raises StoreFullError."""
        self._close_mark()
        try:
            self._mark = EndMark(self._mark_path, self.log_id)
        except OSError as error:
            raise StoreFullError(f"can't write {self._mark_path}: {with_mend(error)}") from error
        if self.vouched_for:
            self._mark.write(self._ends.last)

    def _mark_end(self) -> None:
        if self._mark is not None:
            self._mark.write(self._ends.last)

    def _keep_mark(self) -> None:
        if self._mark is not None:
            self._mark.keep()

    def _close_mark(self) -> None:
        if self._mark is not None:
            self._mark.close()
            self._mark = None

    def _adopted(self, log_id: str, replaced_log_ids: Sequence[str], reason: str) -> None:
        """That is durable."""
        self.replaced_log_ids = (*self.replaced_log_ids, *replaced_log_ids)[-REPLACED_MAX:]
        self.log_id, self.adopted_reason, self.vouched_for = log_id, reason, True
        self._open_mark()
