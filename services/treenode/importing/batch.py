"""Some rows of a file, their fields still text, read into columns: the part that CSV and Parquet share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from services.treenode.importing import faults
from services.treenode.importing.field_kernels import (
    absolute_sum,
    read_days,
    read_hundredths,
    read_ids,
    read_kinds,
    read_legs,
    read_ranks,
)
from services.treenode.importing.header import Column, Role
from services.treenode.importing.limits import ImportLimits
from services.treenode.importing.refusal import RejectedRow
from services.treenode.importing.text_kernels import (
    MAY_BE_DATE,
    MAY_BE_DECIMAL,
    MAY_BE_INTEGER,
    STATUS_BYTES,
    pack_texts,
    read_statuses,
    what_it_may_be,
)
from services.treenode.tree.kernel import AnyArray, Int16s, Int32s, Int64s, UInt8s

#: A file's first row stands on line 2, below the header.
FIRST_LINE = 2
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


@dataclass(frozen=True)
class Texts:
    """A batch of a further column: texts one after another, and what they all may be (bits of text_kernels)."""

    packed: UInt8s
    #: (rows + 1,) where each begins in packed.
    offsets: Int64s
    may_be: int


@dataclass
class Part:
    """A batch as columns."""

    row_count: int
    #: By the column's index in the file: ids as (rows, width) bytes, others as (rows,) values.
    values: dict[int, AnyArray] = field(default_factory=dict)
    #: By the column's index, for further columns.
    texts: dict[int, Texts] = field(default_factory=dict)
    #: The statuses that this batch's codes mean.
    status_names: list[str] = field(default_factory=lambda: [""])
    #: By the column's index: the sum of a volume's absolute values.
    absolute_sums: dict[int, int] = field(default_factory=dict)
    #: Rows of the file (from 0) that are wrong, ascending.
    wrong_rows: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    #: The first of them, as many as are reported one by one.
    rejected: list[RejectedRow] = field(default_factory=list)


class BatchReader:
    """Reads batches of a file's rows, in any number of threads."""

    def __init__(self, columns: Sequence[Column], limits: ImportLimits) -> None:
        self.columns = columns
        self._limits = limits

    def read(self, first_row: int, fields: Sequence[Fields], fault: UInt8s, fault_column: Int16s) -> Part:
        """The rows from `first_row` of the file on. `fields`: one for each column. `fault`, `fault_column`: (rows,),
        0 and -1 unless a row is known to be wrong already; a row's first fault by column counts.
        """
        part = Part(len(fault))
        for place, (column, cells) in enumerate(zip(self.columns, fields, strict=True)):
            if column.role in _ID_ROLES:
                part.values[place] = _ids(column, cells, fault, fault_column, place)
            elif column.role is Role.STATUS:
                part.values[place], part.status_names = self._statuses(cells, fault, fault_column, place)
            elif column.role is Role.FURTHER:
                part.texts[place] = self._texts(cells, fault, fault_column, place)
            elif column.role is not Role.DERIVED:
                part.values[place] = _numbers(column.role, cells, fault, fault_column, place)
            if column.role is Role.VOLUME:
                high, low = absolute_sum(part.values[place])
                part.absolute_sums[place] = (int(high) << 32) + int(low)
        if fault.any():
            wrong = np.flatnonzero(fault)
            part.wrong_rows = wrong + first_row
            part.rejected = [
                self._rejected(first_row, int(row), fields, int(fault[row]), int(fault_column[row]))
                for row in wrong[: self._limits.reported_rows]
            ]
        return part

    def _statuses(self, cells: Fields, fault: UInt8s, fault_column: Int16s, place: int) -> tuple[Int16s, list[str]]:
        names = np.zeros((self._limits.statuses, STATUS_BYTES), np.uint8)
        slots = np.full(2 * self._limits.statuses + 1, -1, np.int16)
        codes = np.empty(len(fault), np.int16)
        used = read_statuses(cells.data, cells.starts, cells.lengths, names, slots, codes, fault, fault_column, place)
        texts = names[: max(used, 1)].view(f"S{STATUS_BYTES}").ravel()
        return codes, [bytes(text).decode("ascii") for text in texts]

    def _texts(self, cells: Fields, fault: UInt8s, fault_column: Int16s, place: int) -> Texts:
        room = np.minimum(cells.lengths, self._limits.field_bytes).sum(dtype=np.int64)
        packed = np.empty(int(room), np.uint8)
        offsets = np.empty(len(fault) + 1, np.int64)
        pack_texts(
            cells.data,
            cells.starts,
            cells.lengths,
            self._limits.field_bytes,
            offsets,
            packed,
            fault,
            fault_column,
            place,
        )
        return Texts(packed, offsets, what_it_may_be(packed, offsets, MAY_BE_INTEGER | MAY_BE_DECIMAL | MAY_BE_DATE))

    def _rejected(self, first_row: int, row: int, fields: Sequence[Fields], code: int, place: int) -> RejectedRow:
        value, name = b"", ""
        if place >= 0:
            cells, name = fields[place], self.columns[place].name
            value = cells.data[cells.starts[row] : cells.starts[row] + cells.lengths[row]].tobytes()
        details = {
            faults.TOO_FEW_FIELDS: len(self.columns),
            faults.TOO_MANY_FIELDS: len(self.columns),
            faults.FIELD_TOO_LONG: self._limits.field_bytes,
            faults.STATUS_TOO_MANY: self._limits.statuses,
        }
        reason = faults.reason(code, value=value, detail=details.get(code, ""))
        return RejectedRow(first_row + row + FIRST_LINE, name, reason)


def _ids(column: Column, cells: Fields, fault: UInt8s, fault_column: Int16s, place: int) -> UInt8s:
    longest = int(cells.lengths.max(initial=1))
    width = min(32, -(-longest // 4) * 4)
    ids = np.zeros((len(fault), width), np.uint8)
    may_be_empty = column.role is not Role.MEMBER_ID
    read_ids(cells.data, cells.starts, cells.lengths, may_be_empty, ids, fault, fault_column, place)
    return ids


def _numbers(role: Role, cells: Fields, fault: UInt8s, fault_column: Int16s, place: int) -> AnyArray:
    out: AnyArray
    if role is Role.VOLUME:
        out = np.empty(len(fault), np.int64)
        read_hundredths(cells.data, cells.starts, cells.lengths, out, fault, fault_column, place)
    elif role is Role.RANK:
        out = np.empty(len(fault), np.int16)
        read_ranks(cells.data, cells.starts, cells.lengths, out, fault, fault_column, place)
    elif role is Role.JOINED_ON:
        out = np.empty(len(fault), np.int32)
        read_days(cells.data, cells.starts, cells.lengths, out, fault, fault_column, place)
    elif role is Role.PLACEMENT_LEG:
        out = np.empty(len(fault), np.int32)
        read_legs(cells.data, cells.starts, cells.lengths, out, fault, fault_column, place)
    else:
        out = np.empty(len(fault), np.uint8)
        read_kinds(cells.data, cells.starts, cells.lengths, _KIND_WORDS, out, fault, fault_column, place)
    return out
