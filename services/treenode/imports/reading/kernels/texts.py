"""Reads texts: statuses into codes, further columns into packed UTF-8, and finds out what the latter hold."""

from __future__ import annotations

import numpy as np

from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX, DECIMAL_SCALE, NO_DAY, NO_NUMBER, STATUS_LENGTH_MAX
from services.treenode.imports.reading.faults import (
    FIELD_TOO_LONG,
    STATUS_CHARACTER,
    STATUS_TOO_LONG,
    STATUS_TOO_MANY,
    TEXT_CONTROL,
    TEXT_ENCODING,
)
from services.treenode.imports.reading.kernels.fields import mark, parse_day
from services.treenode.imports.reading.kernels.words import WORD_BYTES, is_printable, word_at
from services.treenode.tree.kernels.kernel import Int16s, Int32s, Int64s, UInt8s, UInt64s, inlined, kernel, mixed, whole

#: What a further column may still be, as bits.
MAY_BE_INTEGER = 1
MAY_BE_DECIMAL = 2
MAY_BE_DATE = 4

_MINUS = 45
_POINT = 46
_ZERO = 48


@inlined
def _find_status(low: np.uint64, high: np.uint64, names: UInt64s, slots: Int16s) -> int:
    """The code of a status, or ~slot of the free slot where it belongs. Slots: a power of two."""
    mask = slots.size - 1
    slot = np.int64(mixed(low ^ mixed(high)) & np.uint64(mask))
    while slots[slot] >= 0:
        code = np.int64(slots[slot])
        if names[code, 0] == low and names[code, 1] == high:
            return code  # type: ignore[return-value]
        slot = (slot + 1) & mask
    return ~slot  # type: ignore[return-value]


@kernel
def read_statuses(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    names: UInt64s,
    slots: Int16s,
    out: Int16s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> int:
    """Statuses as codes. names: (limit, 2) words, filled with the statuses by code; slots: a power of two of -1, more
    than limit, the table that finds them. out: a code each row. Returns how many there are.
    """
    used = 0
    for row in range(starts.size):
        out[row] = 0
        start, length = whole(starts[row]), whole(lengths[row])
        if length > STATUS_LENGTH_MAX:
            mark(fault, fault_column, row, column, STATUS_TOO_LONG)
            continue
        head = min(length, WORD_BYTES)
        low, high = word_at(data, start, head), word_at(data, start + head, length - head)
        if not is_printable(low, head) or not is_printable(high, length - head):
            mark(fault, fault_column, row, column, STATUS_CHARACTER)
            continue
        found = _find_status(low, high, names, slots)
        if found < 0 and used == names.shape[0]:
            mark(fault, fault_column, row, column, STATUS_TOO_MANY)
            continue
        if found < 0:
            slots[~found] = used
            names[used, 0], names[used, 1] = low, high
            found = used
            used += 1
        out[row] = found
    return used


@kernel
def _text_fault(data: UInt8s, start: int, length: int) -> int:
    """Whether a text is UTF-8 (no overlong forms, no surrogates) without control characters."""
    position, end = start, start + length
    while position < end:
        byte = data[position]
        if byte < 32 or byte == 127:
            return TEXT_CONTROL
        if byte < 128:
            position += 1
            continue
        more = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        if byte < 0xC2 or byte > 0xF4 or position + more >= end:
            return TEXT_ENCODING
        for place in range(1, more + 1):
            if data[position + place] & 0xC0 != 0x80:
                return TEXT_ENCODING
        second = data[position + 1]
        if (
            (byte == 0xE0 and second < 0xA0)
            or (byte == 0xED and second > 0x9F)
            or (byte == 0xF0 and second < 0x90)
            or (byte == 0xF4 and second > 0x8F)
        ):
            return TEXT_ENCODING
        position += more + 1
    return 0


@kernel
def pack_texts(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    offsets: Int64s,
    packed: UInt8s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    """Texts one after another. offsets: (rows + 1), filled with where each begins in packed, which holds all.
    A faulty text is left out.
    """
    end = 0
    for row in range(starts.size):
        offsets[row] = end
        start, length = starts[row], lengths[row]
        code = FIELD_TOO_LONG if length > COLUMN_TEXT_BYTES_MAX else _text_fault(data, start, length)
        if code != 0:
            mark(fault, fault_column, row, column, code)
            continue
        for place in range(length):
            packed[end + place] = data[start + place]
        end += length
    offsets[starts.size] = end


@kernel
def _parse_decimal(data: UInt8s, start: int, length: int) -> tuple[int, int]:
    """(value in millionths, places) of a number as a program would write it: no leading zeros, at most 18 digits of
    it in millionths; places is -1 where it is none of that, so the text must be kept.
    """
    position, end = start, start + length
    negative = data[position] == _MINUS
    if negative:
        position += 1
    first, total, places = position, np.int64(0), -1
    while position < end:
        byte = data[position]
        if byte == _POINT and places < 0 and position > first:
            places = 0
        elif byte < _ZERO or byte > _ZERO + 9 or position - first > 18:
            return 0, -1
        else:
            if position == first + 1 and data[first] == _ZERO and places < 0:
                return 0, -1
            total = total * 10 + (np.int64(byte) - _ZERO)
            places += places >= 0
        position += 1
    if position == first or places == 0 or places > DECIMAL_SCALE or (negative and total == 0):
        return 0, -1
    places = max(places, 0)
    for _ in range(DECIMAL_SCALE - places):
        if total > 10**17:
            return 0, -1
        total *= 10
    return int(-total if negative else total), places


@kernel
def _parse_integer(data: UInt8s, start: int, length: int) -> tuple[int, bool]:
    """(value, whether it is one) of a whole number as a program would write it, at most 18 digits."""
    first = start + 1 if data[start] == _MINUS else start
    digits = start + length - first
    if digits < 1 or digits > 18 or (data[first] == _ZERO and (digits > 1 or first > start)):
        return 0, False
    total = np.int64(0)
    for position in range(first, start + length):
        digit = np.int64(data[position]) - _ZERO
        if digit < 0 or digit > 9:
            return 0, False
        total = total * 10 + digit
    return int(-total if first > start else total), True


@kernel
def what_it_may_be(packed: UInt8s, offsets: Int64s, may_be: int) -> int:
    """Takes from the bits in `may_be` those that a text in packed rules out; empty texts rule out none."""
    for row in range(offsets.size - 1):
        start = offsets[row]
        length = offsets[row + 1] - start
        if length == 0:
            continue
        if may_be & MAY_BE_INTEGER and not _parse_integer(packed, start, length)[1]:
            may_be &= ~MAY_BE_INTEGER
        if may_be & MAY_BE_DECIMAL and _parse_decimal(packed, start, length)[1] < 0:
            may_be &= ~MAY_BE_DECIMAL
        if may_be & MAY_BE_DATE and parse_day(packed, start, length)[1] != 0:
            may_be &= ~MAY_BE_DATE
        if may_be == 0:
            break
    return may_be


@kernel
def fill_integers(packed: UInt8s, offsets: Int64s, out: Int64s) -> None:
    """The texts as integers, which they all are; NO_NUMBER where empty."""
    for row in range(offsets.size - 1):
        start, length = offsets[row], offsets[row + 1] - offsets[row]
        out[row] = _parse_integer(packed, start, length)[0] if length > 0 else NO_NUMBER


@kernel
def fill_decimals(packed: UInt8s, offsets: Int64s, out: Int64s) -> None:
    """The texts as millionths, which they all can be; NO_NUMBER where empty."""
    for row in range(offsets.size - 1):
        start, length = offsets[row], offsets[row + 1] - offsets[row]
        out[row] = _parse_decimal(packed, start, length)[0] if length > 0 else NO_NUMBER


@kernel
def fill_days(packed: UInt8s, offsets: Int64s, out: Int32s) -> None:
    """The texts as days, which they all are; NO_DAY where empty."""
    for row in range(offsets.size - 1):
        start, length = offsets[row], offsets[row + 1] - offsets[row]
        out[row] = parse_day(packed, start, length)[0] if length > 0 else NO_DAY
