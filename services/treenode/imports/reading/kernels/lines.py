"""Splits lines into fields. One line is one row, but for line breaks in quotes: those belong to the field.

The rule keeps each row's line number certain, whatever is wrong with the rows before it. A quoted field may go on over
line breaks only as far as the longest text does, and only where a comma or a line end follows its closing quote; else
its row ends with its line. So a quote that somebody forgot costs its own line, never the rest of the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from services.treenode.imports.reading.faults import (
    EMPTY_LINE,
    FIELD_TOO_LONG,
    QUOTE_IN_FIELD,
    QUOTE_NOT_CLOSED,
    TEXT_AFTER_QUOTE,
    TOO_FEW_FIELDS,
    TOO_MANY_FIELDS,
)
from services.treenode.tree.kernels.kernel import Int16s, Int32s, UInt8s, UInt64s, inner, kernel, whole

_NEWLINE = 10
_RETURN = 13
_QUOTE = 34
_COMMA = 44
_NEXT = np.uintp(1)
_ONE, _SHIFT_56 = np.uint64(1), np.uint64(56)
#: Times 1 << 8 n, its highest byte is n.
_PLACE_OF_BIT = np.uint64(0x0001020304050607)


@inner
def _after_quotes(data: UInt8s, begin: Any, field_bytes: int) -> Any:
    """Looks for the end of the quoted field that opens at `begin`, as far as a text of `field_bytes` may go.

    Returns the position after its closing quote; -1: it has none, or not there; -2: the data end before that is known.
    """
    position, end = begin + 1, begin + 2 * field_bytes + 2
    while position < min(end, data.size):
        if data[position] == _QUOTE:
            if position + 1 == data.size:
                return -2
            if data[position + 1] != _QUOTE:
                return position + 1
            position += 1
        position += 1
    return -1 if end <= data.size else -2


@inner
def _row_end(data: UInt8s, begin: Any, field_bytes: int, is_last: bool) -> Any:
    """The position after the newline that ends the row at `begin`; -1 where the data end before that is known.
    `is_last`: nothing follows the data, whose last byte is a newline.
    """
    at = begin
    quotes_count = True
    while at < data.size:
        if data[at] == _QUOTE and quotes_count:
            after = _after_quotes(data, at, field_bytes)
            if after == -2 or after >= data.size - 1:
                if not is_last:
                    return -1
                after = -1 if after >= data.size or after < 0 else after
            if after >= 0 and (data[after] == _COMMA or _is_line_end(data, after)):
                at = after
            else:
                quotes_count = False
        while at < data.size and data[at] != _COMMA and data[at] != _NEWLINE:
            at += 1
        if at == data.size:
            return -1
        at += 1
        if data[at - 1] == _NEWLINE:
            return at
    return -1


@kernel
def find_rows(data: UInt8s, field_bytes: int, is_last: bool, row_starts: Int32s) -> int:
    """Fills row_starts, (newlines + 1,), with where each whole row begins, and behind them with where the rest begins.
    Returns how many rows there are.
    """
    count, at = 0, np.int64(0)
    row_starts[0] = 0
    while at < data.size:
        at = _row_end(data, at, field_bytes, is_last)
        if at < 0:
            break
        count += 1
        row_starts[count] = at
    return count


@inner
def _unquote(data: UInt8s, begin: Any, end: Any) -> tuple[Any, Any]:
    """Reads the quoted field that opens at `begin` in the row that ends at `end`, undoubling its quotes in place.

    Returns (length of the text, which starts at begin + 1; position after the closing quote, or -1 if it is missing).
    """
    write = begin + 1
    position = begin + 1
    while position < end - 1:
        if data[position] == _QUOTE:
            if data[position + 1] != _QUOTE:
                return write - begin - 1, position + 1
            position += 1
        data[write] = data[position]
        write += 1
        position += 1
    return 0, -1


@inner
def _is_line_end(data: UInt8s, position: Any) -> bool:
    """Whether a line ends at `position`, with or without a carriage return."""
    return bool(data[position] == _NEWLINE or (data[position] == _RETURN and data[position + 1] == _NEWLINE))


@inner
def _split_line(
    data: UInt8s,
    position: int,
    end: int,
    row: int,
    field_bytes: int,
    starts: Int32s,
    lengths: Int32s,
) -> tuple[int, int, Any]:
    """Splits the row from `position` to `end`, the place after its newline, into row `row` of `starts` and
    `lengths`, shape (columns, rows).

    Returns (fault or 0, its column or -1 for the whole line, a position not after the row's newline).
    """
    column_count = starts.shape[0]
    column = 0
    # Numba takes a signed index for one that may count from the end, and looks each time.
    at = np.uintp(position)
    while True:
        if data[at] == _QUOTE:
            length, after = _unquote(data, np.int64(at), end)
            if after < 0:
                return QUOTE_NOT_CLOSED, min(column, column_count - 1), np.int64(at)
            start = np.int64(at) + 1
            at = np.uintp(after)
            if data[at] != _COMMA and not _is_line_end(data, np.int64(at)):
                return TEXT_AFTER_QUOTE, min(column, column_count - 1), np.int64(at)
        else:
            start = np.int64(at)
            byte = data[at]
            while byte != _COMMA and byte != _NEWLINE:
                if byte == _QUOTE:
                    return QUOTE_IN_FIELD, min(column, column_count - 1), np.int64(at)
                at += _NEXT
                # Nothing above a comma ends a field, and most characters are.
                while data[at] > _COMMA:
                    at += _NEXT
                byte = data[at]
            length = np.int64(at) - start
            if byte == _NEWLINE and length > 0 and data[at - _NEXT] == _RETURN:
                length -= 1
        if column == column_count:
            return TOO_MANY_FIELDS, -1, np.int64(at)
        if length > field_bytes:
            return FIELD_TOO_LONG, column, np.int64(at)
        starts[column, row] = start
        lengths[column, row] = length
        column += 1
        if data[at] != _COMMA:
            break
        at += _NEXT
    if column == column_count:
        return 0, -1, np.int64(at)
    if column == 1 and length == 0:
        return EMPTY_LINE, -1, np.int64(at)
    return TOO_FEW_FIELDS, -1, np.int64(at)


@inner
def _split_or_fault(
    data: UInt8s,
    position: int,
    end: int,
    row: int,
    field_bytes: int,
    starts: Int32s,
    lengths: Int32s,
    fault: UInt8s,
    fault_column: Int16s,
) -> None:
    """Splits a row as `_split_line`, and tells its fault."""
    code, column, _ = _split_line(data, position, end, row, field_bytes, starts, lengths)
    fault[row] = code
    fault_column[row] = column
    if code != 0:
        for each in range(starts.shape[0]):
            starts[each, row] = 0
            lengths[each, row] = 0


@kernel
def split_rows(
    data: UInt8s,
    row_starts: Int32s,
    field_bytes: int,
    starts: Int32s,
    lengths: Int32s,
    fault: UInt8s,
    fault_column: Int16s,
) -> None:
    """Splits a block of whole rows.

    data: the block; doubled quotes are undoubled in place. row_starts: (rows + 1,), as find_rows fills it. starts,
    lengths: (columns, rows), filled with each field's place in data; a faulty row's fields are all empty. fault,
    fault_column: (rows), filled with the row's fault or 0, and its column or -1.
    """
    for row in range(starts.shape[1]):
        begin, end = whole(row_starts[row]), whole(row_starts[row + 1])
        _split_or_fault(data, begin, end, row, field_bytes, starts, lengths, fault, fault_column)


@kernel
def count_lines(data: UInt8s) -> int:
    """How many newlines there are."""
    count = 0
    for place in range(data.size):
        count += data[place] == _NEWLINE
    return count


@kernel
def mark_ends(data: UInt8s, marks: UInt8s) -> None:
    """Sets marks to 1 where data, as long or shorter, has a comma or a newline, else to 0."""
    for place in range(data.size):
        marks[place] = (data[place] == _COMMA) | (data[place] == _NEWLINE)
    for place in range(data.size, marks.size):
        marks[place] = 0


@kernel
def split_plain_lines(
    data: UInt8s,
    marks: UInt64s,
    field_bytes: int,
    starts: Int32s,
    lengths: Int32s,
    fault: UInt8s,
    fault_column: Int16s,
) -> None:
    """As split_rows, for a block without any quote, whose rows are its lines. marks: what `mark_ends` made of it,
    eight bytes a word.
    """
    column_count = np.uintp(starts.shape[0])
    row, column, start, line, longest = np.uintp(0), np.uintp(0), 0, 0, 0
    for place in range(marks.size):
        left = marks[place]
        while left != 0:
            lowest = left & (~left + _ONE)
            left ^= lowest
            end = place * 8 + whole((lowest * _PLACE_OF_BIT) >> _SHIFT_56)
            length = end - start
            longest |= length  # no less than the longest, and less than twice that: good enough to pass most lines
            if column < column_count:
                starts[column, row] = start
                lengths[column, row] = length
            column += _NEXT
            start = end + 1
            if data[np.uintp(end)] == _COMMA:
                continue
            if column == column_count and longest < field_bytes:
                fault[row] = 0
                fault_column[row] = -1
                if length > 0 and data[np.uintp(end - 1)] == _RETURN:
                    lengths[column - _NEXT, row] = length - 1
            else:
                _split_or_fault(data, line, end + 1, whole(row), field_bytes, starts, lengths, fault, fault_column)
            row, column, line, longest = row + _NEXT, np.uintp(0), start, 0
