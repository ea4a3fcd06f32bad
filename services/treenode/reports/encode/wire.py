"""Writes rows as protobuf `Member` messages straight from columns, without a Python object a row.

Every answer with members has them as field 2 (`members`, or `member`), so the same bytes serve each of them. Numbers
and texts that are 0 or empty are left out, as proto3 does. Fields go in the order of their numbers, so the bytes equal
what protobuf itself writes, but for the order of map entries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.treenode.tree.kernels.kernel import AnyArray as Array
from services.treenode.tree.kernels.kernel import Int64s, UInt8s, Whole, kernel

# One bit a field of Member, as `WireColumns.wanted` has them.
MEMBER_ID = 1 << 1
SPONSOR_ID = 1 << 2
PLACEMENT_ID = 1 << 3
PLACEMENT_LEG = 1 << 4
KIND = 1 << 5
STATUS = 1 << 6
RANK = 1 << 7
JOINED_ON = 1 << 8
LEVEL = 1 << 9
PV = 1 << 10
GV = 1 << 11
DOWNLINE_COUNT = 1 << 12

#: Tag of field 2, a message.
MEMBERS_TAG = 0x12
#: Bytes of a row without its volumes and further columns, at most: three ids of 34, ten bytes and a tag for each of the
#: seven numbers, a status of 18, a day of 12, and the row's own tag and length.
PLAIN_ROW_BYTES_MAX = 3 * 34 + 7 * 11 + 18 + 12 + 6
#: Bytes of one volume beyond its prefix: tag, length, two numbers.
VOLUME_BYTES_MAX = 6 + 22
NO_DAY = -(2**31)


class WireColumns(NamedTuple):
    """The columns of some rows, as kernels take them. An unwanted column is an empty array of the same dtype.

    A named tuple, because numba passes it as one argument. n rows, w the width of ids, v volumes, f further columns.
    """

    #: Bits of the fields to write.
    wanted: int
    #: uint8[members, w]: every id of the tree, zero-padded.
    ids: Array
    #: int32[n]: row in `ids` of the member, its sponsor, its placement; -1 for none.
    member: Array
    sponsor: Array
    placement: Array
    #: int32[n]
    leg: Array
    #: uint8[n]
    kind: Array
    #: int16[n]: row in status_texts.
    status: Array
    #: uint8[statuses, 16], zero-padded.
    status_texts: Array
    #: int16[n]
    rank: Array
    #: int32[n]: days since 1970-01-01 or NO_DAY.
    joined: Array
    #: int32[n]
    level: Array
    #: int64[n]
    pv: Array
    gv: Array
    #: int32[n]
    downline_count: Array
    #: uint8[…]: type and period of each volume, encoded; int64[v + 1]: where each begins.
    volume_prefixes: Array
    volume_offsets: Array
    #: int64[v, n]
    personal: Array
    group: Array
    #: uint8[…]: name of each further column, encoded; int64[f + 1]: where each begins.
    further_prefixes: Array
    further_offsets: Array
    #: uint8[…]: all texts of all further columns; int64[f, n + 1]: where each row's begins in it.
    texts: Array
    text_offsets: Array


@kernel
def _varint(out: UInt8s, at: Whole, value: Whole) -> Whole:
    rest = np.uint64(value)
    while rest >= np.uint64(0x80):
        out[at] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
        rest >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(rest)
    return at + 1


@kernel
def put_number(out: UInt8s, at: Whole, tag: Whole, value: Whole) -> Whole:
    """A number; nothing for 0."""
    if value == 0:
        return at
    out[at] = tag
    return _varint(out, at + 1, value)


@kernel
def _two_digits(out: UInt8s, at: Whole, value: Whole) -> None:
    out[at] = 48 + value // 10
    out[at + 1] = 48 + value % 10


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
    out[at + 4] = 45
    _two_digits(out, at + 5, month)
    out[at + 7] = 45
    _two_digits(out, at + 8, day_of_year - (153 * month_from_march + 2) // 5 + 1)


@kernel
def put_id(out: UInt8s, at: Whole, tag: Whole, ids: UInt8s, row: Whole) -> Whole:
    """An id; nothing for row -1. At least one character."""
    if row < 0:
        return at
    width = ids.shape[1]
    length = 0
    while length < width:
        letter = ids[row, length]
        if letter == 0:
            break
        out[at + 2 + length] = letter
        length += 1
    out[at] = tag
    out[at + 1] = length
    return at + 2 + length


@kernel
def put_status(out: UInt8s, at: Whole, texts: UInt8s, code: Whole) -> Whole:
    """A status; nothing for the empty one."""
    length = 0
    while length < texts.shape[1] and texts[code, length] != 0:
        out[at + 2 + length] = texts[code, length]
        length += 1
    if length == 0:
        return at
    out[at] = 0x32
    out[at + 1] = length
    return at + 2 + length


@kernel
def put_day_unless_unknown(out: UInt8s, at: Whole, day: Whole) -> Whole:
    """The day that a member joined."""
    if day == NO_DAY:
        return at
    out[at] = 0x42
    out[at + 1] = 10
    put_day(out, at + 2, day)
    return at + 12


@kernel
def close_message(out: UInt8s, start: Whole, at: Whole) -> Whole:
    """Puts the length of out[start + 1:at] at out[start]; where it ends. One byte was left for it; a longer one moves
    what follows."""
    length = at - start - 1
    if length < 0x80:
        out[start] = length
        return at
    more = 1
    while length >> (7 * (more + 1)):
        more += 1
    for place in range(at - 1, start, -1):
        out[place + more] = out[place]
    _varint(out, start, length)
    return at + more


@kernel
def _volume_fields(
    out: UInt8s, at: Whole, prefixes: UInt8s, offsets: Int64s, personal: Int64s, group: Int64s, row: Whole
) -> Whole:
    for volume in range(offsets.shape[0] - 1):
        out[at] = 0x6A
        start = at + 1
        at += 2
        for place in range(offsets[volume], offsets[volume + 1]):
            out[at] = prefixes[place]
            at += 1
        at = put_number(out, at, 0x18, personal[volume, row])
        at = put_number(out, at, 0x20, group[volume, row])
        at = close_message(out, start, at)
    return at


@kernel
def _further_fields(
    out: UInt8s, at: Whole, prefixes: UInt8s, offsets: Int64s, texts: UInt8s, text_offsets: Int64s, row: Whole
) -> Whole:
    for column in range(offsets.shape[0] - 1):
        first = text_offsets[column, row]
        last = text_offsets[column, row + 1]
        if first == last:
            continue
        out[at] = 0x72
        start = at + 1
        at += 2
        for place in range(offsets[column], offsets[column + 1]):
            out[at] = prefixes[place]
            at += 1
        out[at] = 0x12
        at = _varint(out, at + 1, last - first)
        for place in range(first, last):
            out[at] = texts[place]
            at += 1
        at = close_message(out, start, at)
    return at


@kernel
def _encode(c: WireColumns, first: Whole, last: Whole, out: UInt8s, limit: Whole) -> tuple[Whole, Whole]:
    """Rows first … last - 1 into `out`, until `limit` bytes are written; (the next row, bytes written).

    Functions that it calls get single arrays: the whole tuple, by value, would cost more than the row.
    """
    wanted = c.wanted
    ids = c.ids
    at = 0
    row = first
    while row < last and at < limit:
        out[at] = MEMBERS_TAG
        start = at + 1
        at += 2
        if wanted & MEMBER_ID:
            at = put_id(out, at, 0x0A, ids, c.member[row])
        if wanted & SPONSOR_ID:
            at = put_id(out, at, 0x12, ids, c.sponsor[row])
        if wanted & PLACEMENT_ID:
            at = put_id(out, at, 0x1A, ids, c.placement[row])
        if wanted & PLACEMENT_LEG:
            at = put_number(out, at, 0x20, np.int64(c.leg[row]))
        if wanted & KIND:
            at = put_number(out, at, 0x28, np.int64(c.kind[row]))
        if wanted & STATUS:
            at = put_status(out, at, c.status_texts, c.status[row])
        if wanted & RANK:
            at = put_number(out, at, 0x38, np.int64(c.rank[row]))
        if wanted & JOINED_ON:
            at = put_day_unless_unknown(out, at, c.joined[row])
        if wanted & LEVEL:
            at = put_number(out, at, 0x48, np.int64(c.level[row]))
        if wanted & PV:
            at = put_number(out, at, 0x50, c.pv[row])
        if wanted & GV:
            at = put_number(out, at, 0x58, c.gv[row])
        if wanted & DOWNLINE_COUNT:
            at = put_number(out, at, 0x60, np.int64(c.downline_count[row]))
        at = _volume_fields(out, at, c.volume_prefixes, c.volume_offsets, c.personal, c.group, row)
        at = _further_fields(out, at, c.further_prefixes, c.further_offsets, c.texts, c.text_offsets, row)
        at = close_message(out, start, at)
        row += 1
    return row, at


def row_bytes_max(columns: WireColumns) -> int:
    """The most bytes that one row can take."""
    volumes = len(columns.volume_prefixes) + VOLUME_BYTES_MAX * (len(columns.volume_offsets) - 1)
    further = len(columns.further_prefixes) + 12 * (len(columns.further_offsets) - 1)
    if columns.text_offsets.size:
        further += int(np.diff(columns.text_offsets, axis=1).max(initial=0, axis=1).sum())
    return PLAIN_ROW_BYTES_MAX + volumes + further


class RowEncoder:
    """Encodes rows piece by piece into one buffer that it keeps. Not for two threads at once."""

    def __init__(self, columns: WireColumns, message_bytes: int) -> None:
        """`message_bytes`: a piece ends with the row that reaches it."""
        self._columns = columns
        self._limit = message_bytes
        self._out = np.empty(message_bytes + row_bytes_max(columns), np.uint8)

    def encode(self, first: int, last: int) -> tuple[int, bytes]:
        """The row after the last one that fitted, and the bytes of rows from `first` to it. Lets other threads run."""
        row, size = _encode(self._columns, first, last, self._out, self._limit)
        return int(row), self._out[:size].tobytes()

    def encode_all(self, count: int) -> bytes:
        """The bytes of rows 0 … count - 1."""
        parts = []
        row = 0
        while row < count:
            row, part = self.encode(row, count)
            parts.append(part)
        return b"".join(parts)


def encoded_length(value: int) -> bytes:
    """A varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_bytes(tag: int, content: bytes) -> bytes:
    """A length-delimited field with a tag of one byte; nothing where the content is empty."""
    if 0 < len(content) < 0x80:
        return bytes((tag, len(content))) + content
    return bytes((tag,)) + encoded_length(len(content)) + content if content else b""


def volume_prefix(volume_type: str, period: str) -> bytes:
    """The first two fields of a Volume."""
    return field_bytes(0x0A, volume_type.encode()) + field_bytes(0x12, period.encode())


def further_prefix(name: str) -> bytes:
    """The key of an entry of Member.columns."""
    return field_bytes(0x0A, name.encode())
