"""Every id whose record is trimmed: runs on disk, and the filter before them.

A run is written before the records are deleted; that it counts is one row in the log's own database, in the transaction
that deletes them. So an id is known by its record or by a run, whatever happens in between; a file without a row is
what a crash left, and goes at the next start.

Runs of about one size are merged, `MERGE_RUNS` at a time: each id is written once for every doubling or two of the log,
and a look-up asks few runs. A merge reads and writes files that nobody changes, on any thread; only that the new run
takes the place of the old ones is the writer's to do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from services.pusher.log.ids.filter import IdFilter
from services.pusher.log.ids.keys import UNKNOWN_CONTENT, content_hash, keys_of
from services.pusher.log.ids.runs import BACKUP, BLOCK_BYTES, Entries, Run, joined, sorted_entries, write_run
from services.shared.files.durable import make_folder, remove_durably, remove_leftovers
from services.shared.files.open_file import OpenFile

Piece = TypeVar("Piece")

MERGE_RUNS = 4
#: Ids of one piece of a merge.
_PIECE = 1 << 18
#: A filter that is so full is replaced with the next merge.
_FULL = 0.75
_SUFFIX = ".ids"


class RunRow(NamedTuple):
    """A run as the database has it. Runs of a level have about one size."""

    number: int
    level: int


@dataclass(frozen=True, slots=True)
class Merge:
    """Runs of one level that are to be one of the next."""

    number: int
    level: int
    olds: tuple[RunRow, ...]


def run_path(folder: Path, number: int) -> Path:
    """Where a run is kept."""
    return folder / f"{number:08d}{_SUFFIX}"


class IdArchive:
    """The folder `ids/` beside the log.

    Args:
        folder: Made where there is something to keep.
        rows: The runs that count.
        mend: What is to be done where one is damaged.

    Raises:
        LogDamagedError: One is not there, or no run.
    """

    def __init__(self, folder: Path, rows: Sequence[RunRow], mend: str = BACKUP) -> None:
        self._folder, self._mend = folder, mend
        self._runs: dict[RunRow, Run] = {}
        self._filter = IdFilter(0)
        self._next = 1
        #: The run that was written last, until it counts.
        self._ready: dict[RunRow, Run] = {}
        #: The merge that was due last.
        self._due: Merge | None = None
        #: A larger filter for when the merge counts, and the runs that it has.
        self._larger: tuple[IdFilter, set[RunRow]] | None = None
        self.refresh(rows)
        #: Files of runs that were merged: whoever reads the folder may be at them until the next merge.
        self._merged: list[Path] = []

    def own(self, number_min: int) -> None:
        """This process writes here from now on, runs of that number and above: every file that does not count goes.

        Whoever wrote before may be in the middle of it: no run of theirs may have a number of ours.
        """
        self._next = max(self._next, number_min)
        self._ready, self._due = {}, None
        if self._folder.is_dir():
            remove_leftovers(self._folder)
            known = {run.path for run in self._runs.values()}
            remove_durably(*(path for path in self._folder.glob("*" + _SUFFIX) if path not in known))

    def refresh(self, rows: Sequence[RunRow]) -> None:
        """The runs that count by now, as somebody else has written them. Raises LogDamagedError."""
        runs = {row: self._runs.get(row) or self._open(row) for row in rows}
        self._fill([run for row, run in runs.items() if row not in self._runs], runs)
        self._runs = runs
        self._next = max(self._next, max((row.number for row in rows), default=0) + 1)

    def forget(self, merged: Collection[RunRow], number_end: int) -> None:
        """For who follows what others write: removes the files of these runs, and of all below that number, but for
        those that count. The numbers from it on are the writer's, who may be about to have one count."""
        known = {row.number for row in self._runs}
        gone = {row.number for row in merged}
        numbers = {path: path.name.split(".")[0] for path in self._folder.glob(f"*{_SUFFIX}*")}
        found = [(int(number), path) for path, number in numbers.items() if number.isdecimal()]
        remove_durably(
            *(path for number, path in found if number not in known and (number in gone or number < number_end))
        )

    def reopen(self) -> None:
        """The runs' files were replaced by such with the same ids. Raises LogDamagedError."""
        self._runs = {row: self._open(row) for row in self._runs}

    def _path(self, number: int) -> Path:
        return run_path(self._folder, number)

    def _open(self, row: RunRow) -> Run:
        return Run(self._path(row.number), self._mend)

    @property
    def count(self) -> int:
        """How many ids are kept here."""
        return sum(run.count for run in self._runs.values())

    @property
    def size_bytes(self) -> int:
        """What they take on disk."""
        return sum(run.size_bytes for run in self._runs.values())

    @property
    def files(self) -> list[OpenFile]:
        """Those that hold them."""
        return [run.file for run in list(self._runs.values())]

    @property
    def rows(self) -> list[RunRow]:
        """The runs that count here."""
        return list(self._runs)

    # -- looking up

    def suspects(self, update_ids: Sequence[str]) -> list[int]:
        """Indexes of those that may be here; quick, and reads no file."""
        if not self._runs:
            return []
        return [int(index) for index in self._filter.may_hold(keys_of(update_ids))]

    def find(self, update_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Position and content hash of those ids that are here. Raises LogDamagedError."""
        suspects = [update_ids[index] for index in self.suspects(update_ids)]
        found: dict[str, tuple[int, int]] = {}
        if suspects:
            keys = keys_of(suspects)
            for update_id, high, low in zip(suspects, keys.high.tolist(), keys.low.tolist(), strict=True):
                for run in self._runs.values():
                    if (entry := run.find(high, low)) is not None:
                        found[update_id] = (entry[1], entry[0])
                        break
        return found

    # -- looking through

    def checks(self, bytes_max: int) -> list[Callable[[], None]]:
        """Looks through all that is here, so many bytes each; see `LogStore.id_checks`."""
        step = max(1, bytes_max // BLOCK_BYTES)
        return [
            partial(self._look, row, first, first + step)
            for row, run in list(self._runs.items())
            for first in range(0, run.blocks, step)
        ]

    def _look(self, row: RunRow, first: int, last: int) -> None:
        run = self._runs.get(row)
        if run is not None:  # it may be merged by now
            run.look(first, last)

    # -- keeping

    def write(self, update_ids: Sequence[str], contents: Sequence[bytes | None], first_position: int) -> RunRow:
        """Writes a run of these, whose positions follow each other; durable, but it counts only once `take` is told.
        None: a content that is damaged.

        Raises:
            OSError: The disk.
            LogDamagedError: It did not keep what was written.
        """
        keys = keys_of(update_ids)
        known = [UNKNOWN_CONTENT if content is None else content_hash(content) for content in contents]
        hashes = np.array(known, dtype=np.uint64)
        positions = np.arange(first_position, first_position + len(update_ids), dtype=np.uint64)
        return self.write_entries(Entries(keys.high, keys.low, hashes, positions))

    def write_entries(self, entries: Entries) -> RunRow:
        """The same of ids in any order, of which the keys are known. Raises OSError, LogDamagedError."""
        make_folder(self._folder)
        row = self._row_to_write(len(entries.high))
        write_run(self._path(row.number), len(entries.high), iter([sorted_entries(entries)]))
        run = self._open(row)
        # What can fail is done by now: once the records are gone, so it must be here.
        self._fill([run], {**self._runs, row: run})
        self._ready = {row: run}
        return row

    def _row_to_write(self, count: int) -> RunRow:
        """A run that was written and did not come to count is written over, with no fewer ids: else each try would
        leave a file."""
        for row, run in self._ready.items():
            if run.count <= count:
                return row
        return RunRow(self._new_number(), 0)

    def take(self, row: RunRow) -> None:
        """The run that was written last counts from now on."""
        self._runs = {**self._runs, row: self._ready.pop(row)}

    def _fill(self, new: Sequence[Run], runs: dict[RunRow, Run]) -> None:
        """The filter has the new ones, too; a larger one is made of all where it must be. Raises LogDamagedError."""
        chosen = self._filter
        if chosen.count + sum(run.count for run in new) > chosen.capacity:
            new = list(runs.values())
            chosen = IdFilter(sum(run.count for run in new))
        _add(new, chosen)
        self._filter = chosen

    def _new_number(self) -> int:
        self._next += 1
        return self._next - 1

    # -- merging

    def merge_due(self) -> Merge | None:
        """The smallest runs that are to be merged; None where there are not enough of one size. A merge that did not
        come to count is due again as it was: else each try would leave a file."""
        if self._due is not None and self._runs.keys() >= set(self._due.olds):
            return self._due
        for level in sorted({row.level for row in self._runs}):
            olds = [row for row in self._runs if row.level == level]
            if len(olds) >= MERGE_RUNS:
                self._due = Merge(self._new_number(), level + 1, tuple(olds))
                return self._due
        return None

    def merge(self, merge: Merge, is_over: Callable[[], bool] = bool) -> RunRow:
        """Writes the merged run, on any thread. Raises OSError, where it is over too, LogDamagedError."""
        runs = [self._runs[row] for row in merge.olds]
        self._make_larger(is_over)
        write_run(self._path(merge.number), sum(run.count for run in runs), _until(is_over, _merged(runs)))
        return RunRow(merge.number, merge.level)

    def _make_larger(self, is_over: Callable[[], bool]) -> None:
        """Makes the next filter before it is due: that takes seconds, in which the writer could take nothing."""
        if self._filter.count > _FULL * self._filter.capacity:
            larger, runs = IdFilter(self._filter.capacity + 1), dict(self._runs)
            _add(list(runs.values()), larger, is_over)
            self._larger = larger, set(runs)

    def replace(self, merge: Merge, row: RunRow) -> None:
        """The merged run counts from now on, and the ones that it is made of no longer."""
        if self._larger is not None:
            (larger, known), self._larger = self._larger, None
            _add([run for each, run in {**self._runs, **self._ready}.items() if each not in known], larger)
            self._filter = larger
        self._runs[row] = self._open(row)
        gone, self._merged = self._merged, [self._runs.pop(old).path for old in merge.olds]
        remove_durably(*gone)


def _add(runs: Sequence[Run], kept: IdFilter, is_over: Callable[[], bool] = bool) -> None:
    """Adds all that are in the runs. Raises LogDamagedError, InterruptedError."""
    for run in runs:
        for first in _until(is_over, range(0, run.count, _PIECE)):
            kept.add(run.keys(first, min(first + _PIECE, run.count)))


def _until(is_over: Callable[[], bool], pieces: Iterable[Piece]) -> Iterator[Piece]:
    """What is long is done in pieces. Raises InterruptedError where it is over before it is done."""
    for piece in pieces:
        if is_over():
            raise InterruptedError("whoever merged steps down")
        yield piece


def _merged(runs: Sequence[Run]) -> Iterator[Entries]:
    """The runs' entries as one, in pieces of about `_PIECE`, cut by their keys, which are evenly spread."""
    cuts = max(1, sum(run.count for run in runs) // _PIECE)
    begins = [0] * len(runs)
    for cut in range(1, cuts + 1):
        ends = [run.count if cut == cuts else run.index_of((cut << 64) // cuts) for run in runs]
        parts = [run.read(first, last) for run, first, last in zip(runs, begins, ends, strict=True) if last > first]
        begins = ends
        if parts:
            yield sorted_entries(joined(parts))
