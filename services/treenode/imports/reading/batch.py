"""Some rows of a file, their fields still text, read into columns: the part that CSV and Parquet share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from services.shared.domain.columns import TEXT_OBEYED, FurtherKind, holds_obeyed, number_places
from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX, MEMBER_ID_LENGTH_MAX, STATUS_LENGTH_MAX
from services.shared.domain.sentences import quoted_bytes
from services.shared.mapping.faults import LINES_OF_A_KIND, RejectedRow, Tally
from services.treenode.imports.reading import faults
from services.treenode.imports.reading.header import Column, Role
from services.treenode.imports.reading.kernels.fields import (
    absolute_sum,
    mark,
    read_days,
    read_hundredths,
    read_ids,
    read_kinds,
    read_legs,
    read_numbers,
    read_ranks,
)
from services.treenode.imports.reading.kernels.texts import (
    TEXTS_REMEMBERED,
    pack_texts,
    read_statuses,
)
from services.treenode.imports.reading.limits import ImportLimits
from services.treenode.imports.reading.refusal import Lines
from services.treenode.tree.kernels.kernel import AnyArray, Int16s, Int32s, Int64s, UInt8s, UInt32s
from services.treenode.tree.kernels.words import WORD_BYTES

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
    #: By the column's index, for further columns of texts: the bytes that this batch's references are of.
    texts: dict[int, UInt8s] = field(default_factory=dict)
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
    """Gives a batch the buffers that take the values of its columns."""

    def __call__(self, place: int, row: int, shape: tuple[int, ...], dtype: type[np.generic]) -> AnyArray:
        """An array of `shape`, or with wider rows, for the rows from `row` of the file on; called in any thread."""


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


def _mark_obeyed(cells: Fields, out: Int64s, fault: UInt8s, fault_column: Int16s, place: int) -> None:
    """Marks the rows whose text terminals would obey. `out`: references, 0 for a text that was not kept.

    No kernel: nearly every batch has none, and that costs three searches for a byte or two.
    """
    for row in np.flatnonzero(out).tolist():
        start = int(cells.starts[row])
        if holds_obeyed(cells.data[start : start + int(cells.lengths[row])].tobytes()):
            mark(fault, fault_column, row, place, faults.TEXT_CONTROL)
            out[row] = 0


class BatchReader:
    """Reads batches of a file's rows, in any number of threads."""

    def __init__(
        self, columns: Sequence[Column], limits: ImportLimits, buffers: ColumnBuffers, *, is_csv: bool
    ) -> None:
        self.columns = columns
        self._is_csv = is_csv
        self._limits = limits
        self._buffers = buffers

    def read(self, lines: Lines, fields: Sequence[Fields], fault: UInt8s, fault_column: Int16s) -> Part:
        """The rows that stand on these lines. `fields`: one for each column. `fault`, `fault_column`: (rows,),
        0 and -1 unless a row is known to be wrong already; a row's first fault by column counts.
        """
        part, first_row = Part(lines, len(fault)), lines.first_row
        for place, (column, cells) in enumerate(zip(self.columns, fields, strict=True)):
            if column.role in _ID_ROLES:
                part.values[place] = self._ids(first_row, cells, fault, fault_column, place)
            elif column.role is Role.STATUS:
                part.values[place], part.status_names = self._statuses(cells, fault, fault_column, place)
            elif column.is_text:
                part.values[place] = self._buffers(place, first_row, (len(fault),), np.int64)
                part.texts[place] = self._texts(cells, part.values[place], fault, fault_column, place)
            elif column.role is not Role.DERIVED:
                dtype, read = _FURTHER[column.kind] if column.role is Role.FURTHER else _NUMBERS[column.role]
                part.values[place] = self._buffers(place, first_row, (len(fault),), dtype)
                read(cells.data, cells.starts, cells.lengths, part.values[place], fault, fault_column, place)
            if column.role is Role.VOLUME:
                high, low = absolute_sum(part.values[place])
                part.absolute_sums[place] = (int(high) << 32) + int(low)
        if fault.any():
            wrong = np.flatnonzero(fault)
            part.wrong_rows = wrong + first_row
            told = partial(self._rejected, lines, fields, fault, fault_column)
            part.rejected = [told(row) for row in wrong[: self._limits.reported_rows].tolist()]
            kinds = fault_column[wrong].astype(np.int32) << 8 | fault[wrong]
            for kind in np.unique(kinds):
                rows = wrong[kinds == kind]
                part.tally.add(int(kind), len(rows), map(told, rows[:LINES_OF_A_KIND].tolist()))
        return part

    def _ids(self, first_row: int, cells: Fields, fault: UInt8s, fault_column: Int16s, place: int) -> UInt32s:
        longest = min(MEMBER_ID_LENGTH_MAX, int(cells.lengths.max(initial=1)))
        ids = self._buffers(place, first_row, (len(fault), -(-longest // 4)), np.uint32)
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

    def _texts(self, cells: Fields, out: Int64s, fault: UInt8s, fault_column: Int16s, place: int) -> UInt8s:
        size_bytes = np.minimum(cells.lengths, COLUMN_TEXT_BYTES_MAX).sum(dtype=np.int64)
        packed, seen = np.empty(int(size_bytes) + WORD_BYTES, np.uint8), np.zeros((TEXTS_REMEMBERED, 2), np.int64)
        data, starts, lengths = cells.data, cells.starts, cells.lengths
        used = pack_texts(data, starts, lengths, self._is_csv, packed, seen, out, fault, fault_column, place)
        texts = packed[: int(used)].copy() if used < size_bytes // 2 else packed[: int(used)]
        if holds_obeyed(texts.tobytes()):
            _mark_obeyed(cells, out, fault, fault_column, place)
        return texts

    def _rejected(
        self, lines: Lines, fields: Sequence[Fields], fault: UInt8s, fault_column: Int16s, row: int
    ) -> RejectedRow:
        code, place = int(fault[row]), int(fault_column[row])
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
