"""Writes rows as protobuf `Member` messages straight from columns, without a Python object a row.

Every answer with members has them as field 2 (`members`, or `member`), so the same bytes serve each of them. Plain
columns go in the order of their fields, then volumes, then further columns: the bytes equal what protobuf itself
writes, but for the order of map entries, and for fields that Member got after those two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.wire.fields import field
from services.treenode.reports.columns import Column
from services.treenode.reports.encode.cell_texts import cell_texts
from services.treenode.reports.encode.cells import (
    CELL_BYTES_MAX,
    FIELD,
    close_message,
    field_row,
    put_byte,
    put_cell,
    put_number,
    put_varint,
    tag_number,
    text_table,
)
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree.kernels.kernel import AnyArray, Int64s, UInt8s, Whole, inner, kernel

#: Tag of field 2, a message; and bytes of that and of a length, at most.
MEMBERS_TAG = tag_number(2)
HEAD_BYTES_MAX = 6
VOLUMES_TAG = tag_number(types_pb2.Member.VOLUMES_FIELD_NUMBER)
PERSONAL_TAG = tag_number(types_pb2.Volume.PERSONAL_HUNDREDTHS_FIELD_NUMBER, is_number=True)
GROUP_TAG = tag_number(types_pb2.Volume.GROUP_HUNDREDTHS_FIELD_NUMBER, is_number=True)
FURTHER_TAG = tag_number(types_pb2.Member.COLUMNS_FIELD_NUMBER)
#: Of an entry of a map.
KEY, VALUE_TAG = 1, tag_number(2)
#: Bytes of one volume beyond its prefix: tag, length, two numbers.
VOLUME_BYTES_MAX = 6 + 22
#: Message size for rows that go out in one answer anyway.
PIECE_BYTES = 256 * 1024
NOTHING, NO_OFFSETS = np.empty(0, np.uint8), np.zeros(1, np.int64)


class WireRows(NamedTuple):
    """Some rows as the kernel takes them; a named tuple, because numba passes it as one argument.

    n rows, w the width of ids, p plain columns, v volumes, f further columns.
    """

    #: int64[p * FIELD]: the table of fields, see `cells.TAG`.
    fields: Int64s
    #: uint8[…, w]: every id of the rows, zero-padded.
    ids: UInt8s
    #: uint8[…]: type and period of each volume, encoded; int64[v + 1]: where each begins.
    volume_prefixes: UInt8s
    volume_offsets: Int64s
    #: int64[v, n]
    personal: Int64s
    group: Int64s
    #: uint8[…]: name of each further column, encoded; int64[f + 1]: where each begins.
    further_prefixes: UInt8s
    further_offsets: Int64s
    #: uint8[…]: all texts of all further columns; int64[f, n + 1]: where each row's begins in it.
    texts: UInt8s
    text_offsets: Int64s


@inner
def _volume_fields(
    out: UInt8s, at: Whole, prefixes: UInt8s, offsets: Int64s, personal: Int64s, group: Int64s, row: Whole
) -> Whole:
    for volume in range(offsets.shape[0] - 1):
        put_byte(out, at, VOLUMES_TAG)
        start = at + 1
        at += 2
        for place in range(offsets[volume], offsets[volume + 1]):
            put_byte(out, at, prefixes[np.uint64(place)])
            at += 1
        at = put_number(out, at, PERSONAL_TAG, personal[volume, row])
        at = put_number(out, at, GROUP_TAG, group[volume, row])
        at = close_message(out, start, at)
    return at


@inner
def _further_fields(
    out: UInt8s, at: Whole, prefixes: UInt8s, offsets: Int64s, texts: UInt8s, text_offsets: Int64s, row: Whole
) -> Whole:
    for column in range(offsets.shape[0] - 1):
        first = text_offsets[column, row]
        last = text_offsets[column, row + 1]
        if first == last:
            continue
        put_byte(out, at, FURTHER_TAG)
        start = at + 1
        at += 2
        for place in range(offsets[column], offsets[column + 1]):
            put_byte(out, at, prefixes[np.uint64(place)])
            at += 1
        put_byte(out, at, VALUE_TAG)
        at = put_varint(out, at + 1, last - first)
        for place in range(first, last):
            put_byte(out, at, texts[np.uint64(place)])
            at += 1
        at = close_message(out, start, at)
    return at


@kernel
def _encode(rows: WireRows, first: Whole, last: Whole, out: UInt8s, limit: Whole) -> tuple[Whole, Whole]:
    """Rows first … last - 1 into `out`, until `limit` bytes are written; (the next row, bytes written).

    Functions that it calls get single arrays: the whole tuple, by value, would cost more than the row.
    """
    fields, ids = rows.fields, rows.ids
    at = 0
    row = first
    while row < last and at < limit:
        put_byte(out, at, MEMBERS_TAG)
        start = at + 1
        at += 2
        for place in range(0, fields.shape[0], FIELD):
            at = put_cell(out, at, ids, fields, place, row)
        at = _volume_fields(out, at, rows.volume_prefixes, rows.volume_offsets, rows.personal, rows.group, row)
        at = _further_fields(out, at, rows.further_prefixes, rows.further_offsets, rows.texts, rows.text_offsets, row)
        at = close_message(out, start, at)
        row += 1
    return row, at


class RowEncoder:
    """Encodes rows piece by piece into one buffer that it keeps. Not for two threads at once."""

    def __init__(self, rows: FrozenRows, choice: Choice, message_bytes: int) -> None:
        """`message_bytes`: a piece ends with the row that reaches it."""
        self._count = rows.count
        self._limit = message_bytes
        #: What the table of fields points to.
        self._kept: list[AnyArray] = []
        self._rows = self._wire_rows(rows, choice)
        self._out = np.empty(message_bytes + self.row_bytes_max, np.uint8)

    @property
    def row_bytes_max(self) -> int:
        """The most bytes that one row can take."""
        rows = self._rows
        plain = CELL_BYTES_MAX * (len(rows.fields) // FIELD)
        volumes = len(rows.volume_prefixes) + VOLUME_BYTES_MAX * (len(rows.volume_offsets) - 1)
        further = len(rows.further_prefixes) + 12 * (len(rows.further_offsets) - 1)
        if rows.text_offsets.size:
            further += int(np.diff(rows.text_offsets, axis=1).max(initial=0, axis=1).sum())
        return HEAD_BYTES_MAX + plain + volumes + further

    def encode(self, first: int) -> tuple[int, bytes]:
        """The row after the last one that fitted, and the bytes of rows from `first` to it. Lets other threads run."""
        row, size = _encode(self._rows, first, self._count, self._out, self._limit)
        return int(row), self._out[:size].tobytes()

    def encode_all(self) -> bytes:
        """The bytes of all rows."""
        parts = []
        row = 0
        while row < self._count:
            row, part = self.encode(row)
            parts.append(part)
        return b"".join(parts)

    def _wire_rows(self, rows: FrozenRows, choice: Choice) -> WireRows:
        volume_prefixes, volume_offsets = _joined([_volume_prefix(*name) for name in rows.volume_names])
        further_prefixes, further_offsets = _joined([field(KEY, column.name.encode()) for column in choice.further])
        texts, text_offsets = _further_texts(rows, choice)
        return WireRows(
            fields=np.array([self._field(column, rows) for column in choice.plain], np.int64).ravel(),
            ids=rows.ids,
            volume_prefixes=volume_prefixes,
            volume_offsets=volume_offsets,
            # A part's volumes are strided; the encoder is compiled for one layout only.
            personal=np.ascontiguousarray(rows.personal if choice.volumes else rows.personal[:0]),
            group=np.ascontiguousarray(rows.group if choice.volumes else rows.group[:0]),
            further_prefixes=further_prefixes,
            further_offsets=further_offsets,
            texts=texts,
            text_offsets=text_offsets,
        )

    def _field(self, column: Column, rows: FrozenRows) -> tuple[int, ...]:
        values, names = rows.values[column], rows.names.get(column)
        table = None if names is None else text_table(column, names)
        self._kept += [values] if table is None else [values, table]
        return field_row(column, values, table)


def member_bytes(rows: FrozenRows, choice: Choice) -> bytes:
    """The rows as field 2 of an answer."""
    return RowEncoder(rows, choice, PIECE_BYTES).encode_all() if rows.count else b""


def _further_texts(rows: FrozenRows, choice: Choice) -> tuple[UInt8s, Int64s]:
    """`texts` and `text_offsets` of WireRows."""
    text_offsets = np.empty((len(choice.further), rows.count + 1), np.int64)
    if not choice.further:
        return NOTHING, text_offsets
    cells = [cell_texts(column, rows) for column in choice.further]
    begin = 0
    for index, cell in enumerate(cells):
        text_offsets[index] = cell.offsets + begin
        begin += int(cell.offsets[-1])
    return np.concatenate([cell.content[: cell.offsets[-1]] for cell in cells]), text_offsets


def _volume_prefix(volume_type: str, period: str) -> bytes:
    """The first two fields of a Volume."""
    type_field = field(types_pb2.Volume.VOLUME_TYPE_FIELD_NUMBER, volume_type.encode())
    return type_field + field(types_pb2.Volume.PERIOD_FIELD_NUMBER, period.encode())


def _joined(parts: list[bytes]) -> tuple[UInt8s, Int64s]:
    """The parts one after another, and where each begins."""
    if not parts:
        return NOTHING, NO_OFFSETS
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=offsets[1:])
    return np.frombuffer(bytearray().join(parts), np.uint8), offsets
