"""Some rows of a file, their fields still text, read into columns: the part that CSV and Parquet share."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.shared.domain.columns import TEXT_OBEYED, FurtherKind, holds_obeyed, number_places
from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX, MEMBER_ID_LENGTH_MAX, STATUS_LENGTH_MAX
from services.shared.domain.sentences import quoted_bytes
from services.shared.mapping.faults import LINES_OF_A_KIND, RejectedRow, Tally, by_row
from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading import faults
from services.treenode.imports.reading.header import Column, Role
from services.treenode.imports.reading.kernels.fields import (
    absolute_sum,
    read_days,
    read_hundredths,
    read_ids,
    read_kinds,
    read_legs,
    read_numbers,
    read_ranks,
)
from services.treenode.imports.reading.kernels.texts import (
    SHORT_BYTES,
    TEXTS_REMEMBERED,
    move_references,
    pack_texts,
    read_statuses,
)
from services.treenode.imports.reading.refusal import Lines
from services.treenode.tree.kernels.kernel import AnyArray, Int16s, Int32s, Int64s, UInt8s, UInt32s

_KIND_WORDS = (np.frombuffer(b"distributor", np.uint8), np.frombuffer(b"customer", np.uint8))
_ID_ROLES = (Role.MEMBER_ID, Role.SPONSOR_ID, Role.PLACEMENT_ID)


@dataclass(frozen=True)
class Fields:
    """The fields of one column of a batch, where they lie in memory; read-only arrays."""

    #: Bytes, in which the fields lie anywhere.
    data: UInt8s
    #: (rows,) where each begins.
    starts: Int32s
    #: (rows,) how long each is; 0 also stands for a null.
    lengths: Int32s


@dataclass
class Part:
    """A batch as columns."""

    lines: Lines
    row_count: int
    #: By the column's index in the file: ids as (rows, width) words of four characters, others as (rows,) values.
    values: dict[int, AnyArray] = field(default_factory=dict)
    #: The statuses that this batch's codes mean.
    status_names: list[str] = field(default_factory=lambda: [""])
    #: By the column's index: the sum of a volume's absolute values.
    absolute_sums: dict[int, int] = field(default_factory=dict)
    #: Rows of the file (from 0) that are wrong, ascending.
    wrong_rows: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    #: The first of them, as many as are reported one by one.
    rejected: list[RejectedRow] = field(default_factory=list)
    #: All of them, by column and fault.
    tally: Tally = field(default_factory=Tally)


class ColumnBuffers(Protocol):
    """Gives a batch what takes the values of its columns; called in any thread."""

    def buffer(self, place: int, row: int, shape: tuple[int, ...], dtype: type[np.generic]) -> AnyArray:
        """An array of `shape`, or with wider rows, for the rows from `row` of the file on."""

    def put_texts(self, place: int, texts: UInt8s) -> int:
        """Takes texts of a column; where among all of its texts they begin."""


def _read_kinds(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    out: UInt8s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    read_kinds(data, starts, lengths, _KIND_WORDS, out, fault, fault_column, column)


def _read_integers(data: UInt8s, starts: Int32s, lengths: Int32s, out: Int64s, *fault: Any) -> None:
    read_numbers(data, starts, lengths, number_places("integer"), out, *fault)


def _read_decimals(data: UInt8s, starts: Int32s, lengths: Int32s, out: Int64s, *fault: Any) -> None:
    read_numbers(data, starts, lengths, number_places("decimal"), out, *fault)


#: What reads a column of numbers or codes, and into what.
_NUMBERS: dict[Role, tuple[type[np.generic], Callable[..., None]]] = {
    Role.VOLUME: (np.int64, read_hundredths),
    Role.RANK: (np.int16, read_ranks),
    Role.JOINED_ON: (np.int32, read_days),
    Role.PLACEMENT_LEG: (np.int32, read_legs),
    Role.KIND: (np.uint8, _read_kinds),
}
#: The same of a further column that is declared to be no text.
_FURTHER: dict[FurtherKind, tuple[type[np.generic], Callable[..., None]]] = {
    "integer": (np.int64, _read_integers),
    "decimal": (np.int64, _read_decimals),
    "date": (np.int32, read_days),
}


class _RowFaults(NamedTuple):
    """Rows of a batch, ascending, that are wrong in one column (-1: none) for one reason."""

    place: int
    code: int
    rows: Int64s


def _faults_of(wrong: Int64s, fault: UInt8s, fault_column: Int16s) -> Iterator[_RowFaults]:
    """These rows by column and fault."""
    kinds = fault_column[wrong].astype(np.int32) << 8 | fault[wrong]
    for kind in np.unique(kinds).tolist():
        yield _RowFaults(kind >> 8, kind & 0xFF, wrong[kinds == kind])


class _OwnBuffers:
    """For values that nobody needs."""

    def buffer(self, place: int, row: int, shape: tuple[int, ...], dtype: type[np.generic]) -> AnyArray:
        return np.empty(shape, dtype)

    def put_texts(self, place: int, texts: UInt8s) -> int:
        return 0


def _read_only(values: Int32s) -> Int32s:
    """As the fields of a batch are: kernels are compiled for that."""
    values.setflags(write=False)
    return values


class Scratch(threading.local):
    """What a thread needs for one batch after another: fresh memory for each would cost more than the reading."""

    def __init__(self) -> None:
        self._kept: dict[str, AnyArray] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> AnyArray:
        """An array, filled with anything; what was asked for by this name before is no more."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = np.empty(size, dtype)
        return kept[:size].reshape(shape)


class BatchReader:
    """Reads batches of a file's rows, in any number of threads."""

    def __init__(
        self, columns: Sequence[Column], limits: ImportLimits, buffers: ColumnBuffers, *, is_csv: bool
    ) -> None:
        self.columns = columns
        self.scratch = Scratch()
        self._is_csv = is_csv
        self._limits = limits
        self._buffers = buffers

    def read(self, lines: Lines, fields: Sequence[Fields], fault: UInt8s, fault_column: Int16s) -> Part:
        """The rows that stand on these lines. `fields`: one for each column. `fault`, `fault_column`: (rows,),
        0 and -1 unless a row is known to be wrong already.
        """
        part = Part(lines, len(fault))
        for place, cells in enumerate(fields):
            self._read_column(part, cells, self._buffers, fault, fault_column, place)
            if self.columns[place].role is Role.VOLUME:
                high, low = absolute_sum(part.values[place])
                part.absolute_sums[place] = (int(high) << 32) + int(low)
        if fault.any():
            wrong = np.flatnonzero(fault)
            part.wrong_rows = wrong + lines.first_row
            found = list(_faults_of(wrong, fault, fault_column))
            for place, cells in enumerate(fields):
                found += self._other_faults(lines, cells, wrong, fault, fault_column, place)
            self._tell(part, fields, found)
        return part

    def _read_column(
        self, part: Part, cells: Fields, buffers: ColumnBuffers, fault: UInt8s, fault_column: Int16s, place: int
    ) -> None:
        """Reads one column into buffers. A row is marked by the first fault that is found in it."""
        column, first_row = self.columns[place], part.lines.first_row
        if column.role in _ID_ROLES:
            part.values[place] = self._ids(first_row, cells, buffers, fault, fault_column, place)
        elif column.role is Role.STATUS:
            part.values[place], part.status_names = self._statuses(cells, fault, fault_column, place)
        elif column.is_text:
            part.values[place] = buffers.buffer(place, first_row, (len(fault),), np.int64)
            self._texts(cells, buffers, part.values[place], fault, fault_column, place)
        elif column.role is not Role.DERIVED:
            dtype, read = _FURTHER[column.kind] if column.role is Role.FURTHER else _NUMBERS[column.role]
            part.values[place] = buffers.buffer(place, first_row, (len(fault),), dtype)
            read(cells.data, cells.starts, cells.lengths, part.values[place], fault, fault_column, place)

    def _other_faults(
        self, lines: Lines, cells: Fields, wrong: Int64s, fault: UInt8s, fault_column: Int16s, place: int
    ) -> Iterator[_RowFaults]:
        """What else is wrong in this column, in rows that are known to be wrong in another: only those are read again.
        Not those whose fields could not be told apart.
        """
        rows = wrong[(fault_column[wrong] != place) & ~np.isin(fault[wrong], faults.OF_ROWS)]
        if not len(rows):
            return
        again = Fields(cells.data, _read_only(cells.starts[rows]), _read_only(cells.lengths[rows]))
        found, found_column = np.zeros(len(rows), np.uint8), np.full(len(rows), -1, np.int16)
        self._read_column(Part(lines, len(rows)), again, _OwnBuffers(), found, found_column, place)
        for kind in _faults_of(np.flatnonzero(found), found, found_column):
            yield kind._replace(rows=rows[kind.rows])

    def _tell(self, part: Part, fields: Sequence[Fields], kinds: Iterable[_RowFaults]) -> None:
        """Counts them, and names the first ones."""
        by_kind: dict[tuple[int, int], list[Int64s]] = {}
        for place, code, some in kinds:
            by_kind.setdefault((place, code), []).append(some)
        for (place, code), parts in sorted(by_kind.items(), key=lambda kind: kind[0]):
            rows = np.sort(np.concatenate(parts))
            first = rows[: max(LINES_OF_A_KIND, self._limits.reported_rows)].tolist()
            told = [self._rejected(part.lines, fields, place, code, row) for row in first]
            part.tally.add(place << 8 | code, len(rows), told)
            part.rejected += told
        part.rejected = by_row(part.rejected)[: self._limits.reported_rows]

    def _ids(
        self, first_row: int, cells: Fields, buffers: ColumnBuffers, fault: UInt8s, fault_column: Int16s, place: int
    ) -> UInt32s:
        longest = min(MEMBER_ID_LENGTH_MAX, int(cells.lengths.max(initial=1)))
        ids = buffers.buffer(place, first_row, (len(fault), -(-longest // 4)), np.uint32)
        may_be_empty = self.columns[place].role is not Role.MEMBER_ID
        read_ids(cells.data, cells.starts, cells.lengths, may_be_empty, ids, fault, fault_column, place)
        return ids

    def _statuses(self, cells: Fields, fault: UInt8s, fault_column: Int16s, place: int) -> tuple[Int16s, list[str]]:
        names = np.empty((self._limits.statuses, STATUS_LENGTH_MAX // 8), np.uint64)
        slots = np.full(2 << self._limits.statuses.bit_length(), -1, np.int16)
        codes = np.empty(len(fault), np.int16)
        used = read_statuses(cells.data, cells.starts, cells.lengths, names, slots, codes, fault, fault_column, place)
        texts = names[:used].view(f"S{STATUS_LENGTH_MAX}").ravel()
        return codes, [bytes(text).decode("ascii") for text in texts] or [""]

    def _texts(
        self, cells: Fields, buffers: ColumnBuffers, out: Int64s, fault: UInt8s, fault_column: Int16s, place: int
    ) -> None:
        """Sets `out` to references, and puts the texts that they are of among the column's."""
        size_bytes = min(int(cells.lengths.sum(dtype=np.int64)), len(out) * COLUMN_TEXT_BYTES_MAX)
        packed = self.scratch.empty("packed", (size_bytes + SHORT_BYTES,), np.uint8)
        seen = self.scratch.empty("seen", (TEXTS_REMEMBERED, 2), np.int64)
        seen[:] = 0
        data, starts, lengths = cells.data, cells.starts, cells.lengths
        used = int(pack_texts(data, starts, lengths, self._is_csv, packed, seen, out, fault, fault_column, place))
        if used:
            move_references(out, buffers.put_texts(place, packed[:used]))

    def _rejected(self, lines: Lines, fields: Sequence[Fields], place: int, code: int, row: int) -> RejectedRow:
        value, name, places = b"", "", 0
        if place >= 0:
            cells, name, places = fields[place], self.columns[place].name, number_places(self.columns[place].kind)
            value = cells.data[cells.starts[row] : cells.starts[row] + cells.lengths[row]].tobytes()
        details = {
            faults.TOO_FEW_FIELDS: len(self.columns),
            faults.TOO_MANY_FIELDS: len(self.columns),
            faults.STATUS_TOO_MANY: self._limits.statuses,
            faults.NUMBER_PLACES: places,
        }
        reason = faults.reason(code, value=value, detail=details.get(code, ""))
        if code == faults.TEXT_CONTROL and holds_obeyed(value):
            reason = TEXT_OBEYED.format(value=quoted_bytes(value))
        return RejectedRow(lines.of(lines.first_row + row), name, reason)
