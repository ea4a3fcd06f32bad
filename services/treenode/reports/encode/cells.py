"""Cells of a member as fields of its protobuf message, straight from the columns, without a Python object a cell.

Numbers and texts that are 0 or empty are left out, as proto3 does. A kernel is told of the fields by a table: it takes
any choice of columns, and knows none of them by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from services.shared.domain.limits import MEMBER_ID_LENGTH_MAX, NO_DAY, STATUS_LENGTH_MAX
from services.shared.wire.fields import tag
from services.treenode.reports.columns import Column, Kind
from services.treenode.tree.kernels.addresses import address_of, column_at, table_at
from services.treenode.tree.kernels.kernel import AnyArray, Int64s, UInt8s, Whole, inlined, inner, kernel

#: Places in a row of a table of fields: the tag's bytes, the first one lowest; how a cell is written; the column's
#: `Where`; where its values lie; where the texts of its codes lie, and how many there are.
TAG, PUT, WHERE, VALUES, TEXTS, TEXT_COUNT = range(6)
FIELD = 6
#: How a cell is written: what is not a number is read from int32 (ids, days) or int16 (codes).
PUT_ID, PUT_TEXT, PUT_DAY, PUT_UINT8, PUT_INT16, PUT_INT32, PUT_INT64 = range(7)
_PUT = {Kind.ID: PUT_ID, Kind.CODE: PUT_TEXT, Kind.DATE: PUT_DAY}
_NUMBER_KINDS = (Kind.ENUM, Kind.NUMBER, Kind.HUNDREDTHS)
#: By what they are read from.
_PUT_NUMBER = {
    np.dtype(np.uint8): PUT_UINT8,
    np.dtype(np.int16): PUT_INT16,
    np.dtype(np.int32): PUT_INT32,
    np.dtype(np.int64): PUT_INT64,
}
_READ_FROM = {PUT_ID: np.int32, PUT_TEXT: np.int16, PUT_DAY: np.int32}
DAY_LENGTH = 10
#: Bytes of any one cell, at most: a tag of two, a length, an id.
CELL_BYTES_MAX = 2 + 1 + MEMBER_ID_LENGTH_MAX


@lru_cache
def tag_number(number: int, *, is_number: bool = False) -> int:
    """The bytes of a field's tag as kernels take them: as one number, the first one lowest."""
    return int.from_bytes(tag(number, is_number=is_number), "little")


def field_row(column: Column, values: AnyArray, texts: UInt8s | None = None) -> tuple[int, ...]:
    """A row of a table of fields; whoever uses it keeps the arrays. `texts`: those of `text_table`.

    Raises:
        ValueError: No field is written from such a column; names it.
    """
    is_number = column.kind in _NUMBER_KINDS
    put = _PUT_NUMBER.get(values.dtype) if is_number else _PUT.get(column.kind)
    if column.field is None or put is None or not (is_number or values.dtype == _READ_FROM[put]):
        raise ValueError(f"column {column.name}: no field is written from {column.kind.value} in {values.dtype}")
    text_place = (0, 0) if texts is None else (address_of(texts), len(texts))
    tag_bytes = tag_number(column.field.number, is_number=is_number)
    return tag_bytes, put, int(column.where), address_of(values), *text_place


def text_table(column: Column, texts: Sequence[str]) -> UInt8s:
    """What the codes of a column stand for: uint8[len(texts), 16], zero-padded.

    Raises:
        ValueError: One is too long; names the column.
    """
    encoded = np.array([text.encode() for text in texts] or [b""])
    if encoded.itemsize > STATUS_LENGTH_MAX:
        raise ValueError(f"column {column.name}: a text has {encoded.itemsize} bytes, more than {STATUS_LENGTH_MAX}")
    return encoded.astype(f"S{STATUS_LENGTH_MAX}").view(np.uint8).reshape(len(encoded), STATUS_LENGTH_MAX)


@inlined
def put_byte(out: UInt8s, at: Whole, byte: Whole) -> None:
    """One byte. Its place is made unsigned here and wherever it counts: else numba looks whether it is negative and
    means one from the end.
    """
    out[np.uint64(at)] = np.uint8(byte)


@inlined
def _put_tag(out: UInt8s, at: Whole, tag: Whole) -> Whole:
    # Two bytes always, of which the second one is written over where the tag has one: a branch would cost more.
    put_byte(out, at, tag & 0xFF)
    put_byte(out, at + 1, tag >> 8)
    return at + 1 + (tag > 0xFF)


@inlined
def put_varint(out: UInt8s, at: Whole, value: Whole) -> Whole:
    """A number, seven bits a byte."""
    rest = np.uint64(value)
    while rest >= np.uint64(0x80):
        put_byte(out, at, rest | np.uint64(0x80))
        rest >>= np.uint64(7)
        at += 1
    put_byte(out, at, rest)
    return at + 1


@inner
def put_number(out: UInt8s, at: Whole, tag: Whole, value: Whole) -> Whole:
    """A number; nothing for 0."""
    if value == 0:
        return at
    return put_varint(out, _put_tag(out, at, tag), value)


@inner
def put_id(out: UInt8s, at: Whole, tag: Whole, ids: UInt8s, row: Whole) -> Whole:
    """The id in a row of `ids`, zero-padded, of at least one character; nothing for row -1."""
    if row < 0:
        return at
    at = _put_tag(out, at, tag)
    length = 0
    while length < ids.shape[1]:
        letter = ids[np.uint64(row), np.uint64(length)]
        if letter == 0:
            break
        put_byte(out, at + 1 + length, letter)
        length += 1
    put_byte(out, at, length)
    return at + 1 + length


@inner
def _put_text(out: UInt8s, at: Whole, tag: Whole, texts: UInt8s, code: Whole) -> Whole:
    """A text by its code; nothing for the empty one."""
    return at if texts[np.uint64(code), 0] == 0 else put_id(out, at, tag, texts, code)


@inner
def _put_day(out: UInt8s, at: Whole, tag: Whole, day: Whole) -> Whole:
    """A day; nothing for an unknown one."""
    if day == NO_DAY:
        return at
    at = _put_tag(out, at, tag)
    put_byte(out, at, DAY_LENGTH)
    put_day(out, at + 1, day)
    return at + 1 + DAY_LENGTH


@inlined
def _two_digits(out: UInt8s, at: Whole, value: Whole) -> None:
    put_byte(out, at, 48 + value // 10)
    put_byte(out, at + 1, 48 + value % 10)


@kernel
def put_day(out: UInt8s, at: Whole, day: Whole) -> None:
    """Writes `day` (days since 1970-01-01, years 0 to 9999) as the ten characters YYYY-MM-DD.

    The civil date of a day count, by eras of 400 years that begin on March 1
    (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    """
    shifted = np.int64(day) + 719468
    era = shifted // 146097
    day_of_era = shifted - era * 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    _two_digits(out, at, year // 100)
    _two_digits(out, at + 2, year % 100)
    put_byte(out, at + 4, 45)
    _two_digits(out, at + 5, month)
    put_byte(out, at + 7, 45)
    _two_digits(out, at + 8, day_of_year - (153 * month_from_march + 2) // 5 + 1)


@inlined
def put_cell(out: UInt8s, at: Whole, ids: UInt8s, fields: Int64s, field: Whole, index: Whole) -> Whole:
    """One cell: the value at `index` of the column of which the table `fields` says at [field:]; where it ends."""
    put, tag = fields[np.uint64(field + PUT)], fields[np.uint64(field + TAG)]
    values, length, place = fields[np.uint64(field + VALUES)], index + 1, np.uint64(index)
    if put == PUT_INT32:
        return put_number(out, at, tag, np.int64(column_at(values, length, np.int32)[place]))
    if put == PUT_ID:
        return put_id(out, at, tag, ids, np.int64(column_at(values, length, np.int32)[place]))
    if put == PUT_INT64:
        return put_number(out, at, tag, column_at(values, length, np.int64)[place])
    if put == PUT_INT16:
        return put_number(out, at, tag, np.int64(column_at(values, length, np.int16)[place]))
    if put == PUT_UINT8:
        return put_number(out, at, tag, np.int64(column_at(values, length, np.uint8)[place]))
    if put == PUT_TEXT:
        texts = table_at(fields[field + TEXTS], fields[field + TEXT_COUNT], STATUS_LENGTH_MAX, np.uint8)
        return _put_text(out, at, tag, texts, np.int64(column_at(values, length, np.int16)[place]))
    return _put_day(out, at, tag, column_at(values, length, np.int32)[place])


@inner
def close_message(out: UInt8s, start: Whole, at: Whole) -> Whole:
    """Puts the length of out[start + 1:at] at out[start]; where it ends. One byte was left for it; a longer one moves
    what follows.
    """
    length = at - start - 1
    if length < 0x80:
        put_byte(out, start, length)
        return at
    more = 1
    while length >> (7 * (more + 1)):
        more += 1
    for place in range(at - 1, start, -1):
        put_byte(out, place + more, out[np.uint64(place)])
    put_varint(out, start, length)
    return at + more
