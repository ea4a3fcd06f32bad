"""Reads fields into numbers and codes: one kernel a kind of column.

Every kernel takes `data` (bytes), `starts` and `lengths` (a field each row, int32), fills `out` (a value each row), and
writes the row's fault (and the column's index) where it is wrong and no earlier fault stands there.
"""

from __future__ import annotations

import numpy as np

from services.shared.domain.limits import (
    AMOUNT_MAX,
    LEG_MAX,
    MEMBER_ID_LENGTH_MAX,
    NO_DAY,
    NO_NUMBER,
    NUMBER_LENGTH_MAX,
    RANK_MAX,
)
from services.treenode.imports.reading.faults import (
    AMOUNT_FORMAT,
    AMOUNT_PLACES,
    AMOUNT_RANGE,
    DATE_FORMAT,
    DATE_RANGE,
    ID_CHARACTER,
    ID_EMPTY,
    ID_SPACE,
    ID_TOO_LONG,
    KIND_UNKNOWN,
    LEG_FORMAT,
    LEG_RANGE,
    NUMBER_FORMAT,
    NUMBER_PLACES,
    NUMBER_RANGE,
    RANK_FORMAT,
    RANK_RANGE,
)
from services.treenode.tree.kernels.kernel import Int16s, Int32s, Int64s, UInt8s, UInt32s, inlined, inner, kernel, whole
from services.treenode.tree.kernels.words import WORD_BYTES, are_digits, is_printable, number_of, word_at

_SPACE = 32
_PLUS = 43
_MINUS = 45
_POINT = 46
_ZERO = 48
_ONE, _THREE = np.uint64(1), np.uint64(3)
_SHIFT_8, _SHIFT_32, _SHIFT_40 = np.uint64(8), np.uint64(32), np.uint64(40)
_LOW_8, _LOW_32 = np.uint64(0xFF), np.uint64(0xFFFFFFFF)
_ZEROS = np.uint64(0x3030303030303030)
#: Of the characters of a word, its first in the lowest byte.
_FIRST_FIVE, _LAST_TWO = np.uint64(0x000000FFFFFFFFFF), np.uint64(0xFFFF000000000000)
#: Of the first eight characters of YYYY-MM-DD: where its digits go, and its dashes.
_YEAR, _MONTH = np.uint64(0x00000000FFFFFFFF), np.uint64(0x0000FFFF00000000)
_DASH_PLACES, _DASHES = np.uint64(0xFF0000FF00000000), np.uint64(0x2D00002D00000000)
_DAYS_BEFORE_MONTH = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int32)
_DAYS_IN_MONTH = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int32)


@kernel
def mark(fault: UInt8s, fault_column: Int16s, row: int, column: int, code: int) -> None:
    """Records a fault, unless an earlier one stands."""
    if code != 0 and fault[row] == 0:
        fault[row] = code
        fault_column[row] = column


@inlined
def _id_fault(data: UInt8s, start: int, length: int) -> int:
    if length > MEMBER_ID_LENGTH_MAX:
        return ID_TOO_LONG
    if data[start] == _SPACE or data[start + length - 1] == _SPACE:
        return ID_SPACE
    for place in range(0, length, WORD_BYTES):
        piece = min(WORD_BYTES, length - place)
        if not is_printable(word_at(data, start + place, piece), piece):
            return ID_CHARACTER
    return 0


@kernel
def read_ids(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    may_be_empty: bool,
    out: UInt32s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    """Ids. out: (rows, width) of four characters each, filled with the characters and zeros behind them; a faulty or
    empty id is all zeros.
    """
    width = out.shape[1]
    for row in range(starts.size):
        start, length = whole(starts[row]), whole(lengths[row])
        code = (0 if may_be_empty else ID_EMPTY) if length == 0 else _id_fault(data, start, length)
        mark(fault, fault_column, row, column, code)
        left = 0 if code != 0 else length
        for place in range(0, width, 2):
            word = word_at(data, start + place * 4, min(WORD_BYTES, max(left - place * 4, 0)))
            out[row, place] = np.uint32(word & _LOW_32)
            if place + 1 < width:
                out[row, place + 1] = np.uint32(word >> _SHIFT_32)


@inner
def _parse_hundredths(data: UInt8s, start: int, length: int) -> tuple[int, int]:
    """(hundredths, fault) of -?digits[.digits] with one or two places."""
    position, end = start, start + length
    negative = data[position] == _MINUS
    if negative:
        position += 1
    total, digits, places, too_precise = np.int64(0), 0, -1, False
    while position < end:
        digit = np.int64(data[position]) - _ZERO
        if digit < 0 or digit > 9:
            if data[position] != _POINT or places >= 0 or digits == 0:
                return 0, AMOUNT_FORMAT
            places = 0
        else:
            digits += 1
            if places >= 0:
                places += 1
            if places > 2:
                too_precise = True
            elif total > (AMOUNT_MAX - digit) // 10:
                return 0, _number_fault(data, position, end, places)
            else:
                total = total * 10 + digit
        position += 1
    if digits == 0 or places == 0:
        return 0, AMOUNT_FORMAT
    if too_precise:
        return 0, AMOUNT_PLACES
    for _ in range(2 - max(places, 0)):
        if total > AMOUNT_MAX // 10:
            return 0, AMOUNT_RANGE
        total *= 10
    return int(-total if negative else total), 0


@inner
def _number_fault(data: UInt8s, position: int, end: int, places: int) -> int:
    """Whether a number that is too large so far is a number at all."""
    points = 1 if places >= 0 else 0
    while position < end:
        byte = data[position]
        points += byte == _POINT
        if points > 1 or ((byte < _ZERO or byte > _ZERO + 9) and byte != _POINT):
            return AMOUNT_FORMAT
        position += 1
    return AMOUNT_RANGE


@inlined
def _usual_hundredths(data: UInt8s, start: int, length: int) -> int:
    """Hundredths of one to five digits, a point and two digits, as nearly every volume is written; else -1."""
    if length < 4 or length > WORD_BYTES:
        return -1
    before = np.uint64(WORD_BYTES - length) << _THREE
    word = (word_at(data, start, length) << before) | (_ZEROS & ((_ONE << before) - _ONE))
    if (word >> _SHIFT_40) & _LOW_8 != _POINT:
        return -1
    digits = (word & _LAST_TWO) | ((word & _FIRST_FIVE) << _SHIFT_8) | np.uint64(_ZERO)
    return number_of(digits) if are_digits(digits) else -1


@kernel
def read_hundredths(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    out: Int64s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    """Volumes in hundredths; an empty field is 0."""
    for row in range(starts.size):
        out[row] = 0
        if lengths[row] > 0:
            value = _usual_hundredths(data, starts[row], lengths[row])
            code = 0
            if value < 0:
                value, code = _parse_hundredths(data, starts[row], lengths[row])
            out[row] = value
            mark(fault, fault_column, row, column, code)


@kernel
def absolute_sum(values: Int64s) -> tuple[int, int]:
    """The sum of the absolute values as (high, low), which is high * 2**32 + low: neither part can overflow."""
    high, low = np.int64(0), np.int64(0)
    for value in values:
        absolute = abs(value)
        high += absolute >> 32
        low += absolute & 0xFFFFFFFF
    return int(high), int(low)


@inner
def _parse_whole(data: UInt8s, start: int, length: int, most: int) -> int:
    """A whole number from 0 to `most`; -1: not a number; -2: out of range."""
    total, too_large = np.int64(0), False
    first = start + 1 if length > 1 and data[start] == _MINUS else start
    for position in range(first, start + length):
        digit = np.int64(data[position]) - _ZERO
        if digit < 0 or digit > 9:
            return -1
        if not too_large:
            total = total * 10 + digit
            too_large = bool(total > most)
    return -2 if too_large or first > start else int(total)


@kernel
def read_ranks(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    out: Int16s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    """Ranks; an empty field is 0."""
    for row in range(starts.size):
        rank = _parse_whole(data, starts[row], lengths[row], RANK_MAX)
        out[row] = max(rank, 0)
        if rank < 0:
            mark(fault, fault_column, row, column, RANK_FORMAT if rank == -1 else RANK_RANGE)


@kernel
def read_legs(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    out: Int32s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    """Legs: L is 1, R is 2, or a number; an empty field is 0: no leg is named."""
    for row in range(starts.size):
        out[row] = 0
        start, length = starts[row], lengths[row]
        if length == 0:
            continue
        first = data[start]
        if length == 1 and (first == 76 or first == 108):
            out[row] = 1
        elif length == 1 and (first == 82 or first == 114):
            out[row] = 2
        else:
            leg = _parse_whole(data, start, length, LEG_MAX)
            out[row] = max(leg, 0)
            if leg < 0:
                mark(fault, fault_column, row, column, LEG_FORMAT if leg == -1 else LEG_RANGE)


@inner
def parse_day(data: UInt8s, start: int, length: int) -> tuple[int, int]:
    """(days since 1970-01-01, fault) of YYYY-MM-DD in the Gregorian calendar, years 1 to 9999."""
    if length != 10:
        return NO_DAY, DATE_FORMAT
    head, tail = word_at(data, start, WORD_BYTES), word_at(data, start + 2, WORD_BYTES)
    dashes = head & _DASH_PLACES
    digits = (head & _YEAR) | ((head >> _SHIFT_8) & _MONTH) | (tail & _LAST_TWO)
    if dashes != _DASHES or not are_digits(digits):
        return NO_DAY, DATE_FORMAT
    number = number_of(digits)
    year, month, day = number // 10000, number // 100 % 100, number % 100
    if year < 1 or month < 1 or month > 12 or day < 1:
        return NO_DAY, DATE_RANGE
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    if day > _DAYS_IN_MONTH[month - 1] + (1 if leap and month == 2 else 0):
        return NO_DAY, DATE_RANGE
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + _DAYS_BEFORE_MONTH[month - 1] + day - 1
    return days + (1 if leap and month > 2 else 0) - 719162, 0


@kernel
def read_days(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    out: Int32s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    """Days; an empty field is NO_DAY."""
    for row in range(starts.size):
        out[row] = NO_DAY
        if lengths[row] > 0:
            day, code = parse_day(data, starts[row], lengths[row])
            out[row] = day
            mark(fault, fault_column, row, column, code)


@inner
def _parse_number(data: UInt8s, start: int, length: int, places: int) -> tuple[int, int]:
    """(value in units of 10 ** -places, fault) of a number of a further column, as `parse_number` of the domain."""
    if length > NUMBER_LENGTH_MAX:
        return NO_NUMBER, NUMBER_FORMAT
    position, end = start, start + length
    negative = data[position] == _MINUS
    if negative or data[position] == _PLUS:
        position += 1
    total, digits, behind, too_precise, too_large = np.int64(0), 0, -1, False, False
    while position < end:
        digit = np.int64(data[position]) - _ZERO
        if digit < 0 or digit > 9:
            if data[position] != _POINT or behind >= 0 or digits == 0:
                return NO_NUMBER, NUMBER_FORMAT
            behind = 0
        elif behind >= places:
            behind += 1
            if digit > 0:
                too_precise = True
        else:
            digits += 1
            behind += behind >= 0
            if total > (AMOUNT_MAX - digit) // 10:
                too_large = True
            else:
                total = total * 10 + digit
        position += 1
    if digits == 0 or behind == 0:
        return NO_NUMBER, NUMBER_FORMAT
    for _ in range(max(behind, 0), places):
        if total > AMOUNT_MAX // 10:
            too_large = True
        else:
            total *= 10
    if too_precise or too_large:
        return NO_NUMBER, NUMBER_PLACES if too_precise else NUMBER_RANGE
    return int(-total if negative else total), 0


@kernel
def read_numbers(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    places: int,
    out: Int64s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    """Numbers of a further column in units of 10 ** -places; an empty field is NO_NUMBER."""
    for row in range(starts.size):
        out[row] = NO_NUMBER
        if lengths[row] > 0:
            value, code = _parse_number(data, starts[row], lengths[row], places)
            out[row] = value
            mark(fault, fault_column, row, column, code)


@inner
def _is_word(data: UInt8s, start: int, length: int, word: UInt8s) -> bool:
    """Whether the field is `word` (lower case letters) or its first letter, in either case."""
    if length != 1 and length != word.size:
        return False
    for place in range(length):
        byte = data[start + place]
        if (byte | 32) != word[place] or byte < 65:
            return False
    return True


@kernel
def read_kinds(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    words: tuple[UInt8s, UInt8s],
    out: UInt8s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> None:
    """Kinds: 1 for the first word or an empty field, 2 for the second."""
    for row in range(starts.size):
        out[row] = 1
        start, length = starts[row], lengths[row]
        if length == 0 or _is_word(data, start, length, words[0]):
            continue
        if _is_word(data, start, length, words[1]):
            out[row] = 2
        else:
            mark(fault, fault_column, row, column, KIND_UNKNOWN)
