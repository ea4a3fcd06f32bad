"""A log in memory: an engine of its own for tests, held to the same conformance suite as the real one."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.log.damage import notes_damage
from services.pusher.log.engine.placing import place
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.frames import Run, check_run, run_of, sound_updates, update_bytes
from services.pusher.log.ids.keys import content_hash, recognized
from services.pusher.log.store import (
    REPLACED_MAX,
    Appended,
    DeposedError,
    Durability,
    KnownDamage,
    LogDamagedError,
    LogEnds,
    LogStore,
    NotInLogError,
    StoredImport,
    StoreFullError,
)
from services.shared.wire.record import RecordDamagedError, encode_frames


class MemoryLog(LogStore):
    """The log as a dict. `updates_max` limits how many it takes, so that a full disk can be played."""

    def __init__(self, log_id: str = "memory", clock: Callable[[], float] = time.monotonic) -> None:
        self.log_id = log_id
        self.damage = KnownDamage()
        self.vouched_for = False
        self.replaced_log_ids: tuple[str, ...] = ()
        self.adopted_reason = ""
        self.updates_max = 1 << 62
        #: Position → frame. Tests may damage it.
        self.frames: dict[int, bytes] = {}
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        #: Position and content hash of each id whose record is trimmed.
        self._gone: dict[str, tuple[int, int]] = {}
        self._times: dict[int, float] = {}
        self._imports: dict[int, tuple[bytes, bool]] = {}
        self._rules: dict[int, bytes] = {}
        self._lock = Lock()
        self._clock = clock
        #: Of all that have it open: the fence and the ends, one of each.
        self._fences = [Fence(0, "", 0)]
        self._stored_ends = [LogEnds(1, 0)]
        self._adoptions: list[tuple[str, str, tuple[str, ...]]] = []
        self._ends = LogEnds(1, 0)
        self._held: Fence | None = None

    def beside(self) -> MemoryLog:
        """The same log, as another process has it open."""
        other = copy.copy(self)
        other._held, other._ends = None, self._stored_ends[0]
        return other

    @property
    def epoch(self) -> int:
        return self._held.epoch if self._held is not None else 0

    def fence(self) -> Fence:
        return self._fences[0]

    def claim(self, epoch: int, holder: str = "") -> None:
        with self._lock:
            self._held = self._fences[0] = self._fences[0].claimed(epoch, holder)
            self._look()

    def _look(self) -> None:
        self._ends = self._stored_ends[0]
        if self._adoptions:
            self.log_id, self.adopted_reason, self.replaced_log_ids = self._adoptions[-1]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            try:
                self._fences[0].check(self._held)
            except DeposedError:
                self._held = None
                raise
            yield

    @notes_damage
    def follow(self, position: int, bytes_max: int) -> Run | None:
        self._look()
        return None if position == self._ends.last else self.read(position + 1, self._ends.last, bytes_max)

    def ends(self) -> LogEnds:
        return self._ends

    @property
    def _first(self) -> int:
        return self._ends.first

    @property
    def _last(self) -> int:
        return self._ends.last

    @notes_damage
    def append(self, update_ids: Sequence[str], contents: Sequence[bytes], rules: Sequence[int] = ()) -> Appended:
        with self._writing():
            gone = {update_id: self._gone[update_id] for update_id in update_ids if update_id in self._gone}
            known = recognized(gone, update_ids, contents)
            for update_id in update_ids:
                if update_id in self._ids:
                    known[update_id] = (self._ids[update_id], self._content(self._ids[update_id]))
            placed = place(update_ids, contents, known, self._last + 1)
            if len(self.frames) + len(placed.fresh) > self.updates_max:
                raise StoreFullError("the log is full: allow it more updates")
            run = self._store(placed.fresh) if placed.fresh else None
            self._rules.update({placed.positions[index]: contents[index] for index in rules})
            return Appended(run, placed.positions, placed.duplicates, placed.conflicts)

    def _store(self, fresh: dict[str, bytes]) -> Run:
        first = self._last + 1
        frames = encode_frames(first, list(fresh.values()))
        for position, update_id in enumerate(fresh, first):
            self._ids[update_id] = position
            self._names[position] = update_id
            self._times[position] = self._clock()
            self.frames[position] = frames[position - first]
        self._ends = self._stored_ends[0] = LogEnds(self._first, self._last + len(fresh))
        return run_of(first, frames)

    def _content(self, position: int) -> bytes:
        try:
            return update_bytes(position, self.frames[position])
        except RecordDamagedError as error:
            raise LogDamagedError(str(error), position) from error

    @notes_damage
    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        with self._lock:
            if not self._first <= first_position <= self._last:
                raise NotInLogError(f"position {first_position} is not in the log ({self._first} to {self._last})")
            frames: list[bytes] = []
            size_bytes = 0
            for position in range(first_position, min(last_position, self._last) + 1):
                frame = self.frames.get(position)
                if frame is None:
                    raise LogDamagedError(f"log record at position {position} is missing", position)
                size_bytes += len(frame)
                if frames and size_bytes > bytes_max:
                    break
                self._content(position)
                frames.append(frame)
            return check_run(first_position, b"".join(frames))

    def update_id_at(self, position: int) -> str:
        with self._lock:
            return self._names.get(position, "")

    def named(self, prefix: str) -> list[tuple[int, bytes]]:
        with self._lock:
            positions = sorted(position for position, name in self._names.items() if name.startswith(prefix))
            return sound_updates(((position, self.frames[position]) for position in positions), lambda text: None)

    def find(self, update_ids: Sequence[str]) -> set[str]:
        with self._lock:
            return {update_id for update_id in update_ids if update_id in self._ids or update_id in self._gone}

    def rule_records(self) -> list[tuple[int, types_pb2.Update]]:
        return [(position, types_pb2.Update.FromString(content)) for position, content in self._rules.items()]

    @notes_damage
    def trim(self, first_position: int, count_max: int) -> int:
        with self._writing():
            end = min(first_position, self._last, self._first + count_max)
            gone = range(self._first, end)
            for position in gone:
                update_id = self._names.pop(position)
                self._gone[update_id] = (position, content_hash(self._content(position)))
                del self._ids[update_id], self.frames[position], self._times[position]
            self._ends = self._stored_ends[0] = LogEnds(max(self._first, end), self._last)
            return len(gone)

    def merge_ids(self, is_over: Callable[[], bool] = bool) -> None:
        """See `LogStore`: a dict is one piece."""

    def adopt(self, log_id: str, replaced_log_ids: Sequence[str], reason: str) -> None:
        with self._writing():
            replaced = (*self.replaced_log_ids, *replaced_log_ids)[-REPLACED_MAX:]
            self._adoptions.append((log_id, reason, replaced))
            self._look()

    def save_import(self, stored: StoredImport) -> None:
        with self._writing():
            self._imports[stored.status.manifest.import_id] = (stored.status.SerializeToString(), stored.taken)

    def imports(self) -> list[StoredImport]:
        return [
            StoredImport(pusher_pb2.ImportStatus.FromString(status), taken)
            for _, (status, taken) in sorted(self._imports.items())
        ]

    def position_older_than(self, age_s: float) -> int:
        stored_before_s = self._clock() - age_s
        return max((position for position, at in self._times.items() if at <= stored_before_s), default=0)

    def keep_time(self) -> None:
        with self._writing():
            pass  # nothing outlives the process

    def try_room(self) -> None:
        with self._writing():
            if len(self.frames) >= self.updates_max:
                raise StoreFullError("the log is full: allow it more updates")

    def durability(self) -> Durability:
        return Durability("memory", False, "in memory alone: gone with the process")

    def size_bytes(self) -> int:
        return sum(map(len, self.frames.values()))

    def tend(self) -> None:
        """See `LogStore`: there is nothing to tend."""

    def close(self) -> None:
        """Nothing is held open."""
