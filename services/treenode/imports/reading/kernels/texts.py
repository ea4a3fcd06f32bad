"""Reads texts: statuses into codes, further columns into packed UTF-8 with a reference for each row."""

from __future__ import annotations

import numpy as np

from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX, STATUS_LENGTH_MAX
from services.treenode.imports.reading.faults import (
    FIELD_TOO_LONG,
    STATUS_CHARACTER,
    STATUS_TOO_LONG,
    STATUS_TOO_MANY,
    TEXT_CONTROL,
    TEXT_ENCODING,
    TEXT_RETURN,
)
from services.treenode.imports.reading.kernels.fields import mark
from services.treenode.tree.columns.text_hash import LENGTH_BITS, LENGTH_MASK
from services.treenode.tree.kernels.kernel import (
    Int16s,
    Int32s,
    Int64s,
    UInt8s,
    UInt64s,
    inlined,
    inner,
    kernel,
    mixed,
    whole,
)
from services.treenode.tree.kernels.words import WORD_BYTES, is_printable, store_word, word_at

#: Texts of a batch that are remembered.
TEXTS_REMEMBERED = 1024
_TAB, _NEWLINE, _RETURN, _QUOTE = 9, 10, 13, 34


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


@inner
def _text_fault(data: UInt8s, start: int, length: int, is_csv: bool) -> int:
    """Whether a text is UTF-8 (no overlong forms, no surrogates) without control characters but tabs and line breaks.
    `is_csv`: carriage returns belong in quotes.
    """
    position, end = start, start + length
    while position < end:
        byte = data[position]
        if byte < 32 or byte == 127:
            if byte == _RETURN and is_csv and (start == 0 or data[start - 1] != _QUOTE):
                return TEXT_RETURN
            if byte != _TAB and byte != _NEWLINE and byte != _RETURN:
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


@inlined
def _is_packed(packed: UInt8s, begin: int, end: int, length: int) -> bool:
    """Whether the text of this length that begins at `begin` is the one that begins at `end`."""
    for place in range(0, length, WORD_BYTES):
        piece = min(WORD_BYTES, length - place)
        if word_at(packed, begin + place, piece) != word_at(packed, end + place, piece):
            return False
    return True


@kernel
def pack_texts(
    data: UInt8s,
    starts: Int32s,
    lengths: Int32s,
    is_csv: bool,
    packed: UInt8s,
    seen: Int64s,
    out: Int64s,
    fault: UInt8s,
    fault_column: Int16s,
    column: int,
) -> int:
    """Texts one after another in packed, which has room for all and a word more; out: (rows,), filled with references
    to them, 0 for an empty text and for a faulty one, which is left out. Returns how many bytes there are.

    seen: (TEXTS_REMEMBERED, 2) zeros; the references and hashes that it remembers of texts that came before, so that a
    column of few different ones keeps each a few times only.
    """
    end = 0
    for row in range(starts.size):
        out[row] = 0
        start, length = whole(starts[row]), whole(lengths[row])
        if length == 0:
            continue
        if length > COLUMN_TEXT_BYTES_MAX:
            mark(fault, fault_column, row, column, FIELD_TOO_LONG)
            continue
        is_plain, both = True, np.uint64(length)
        for place in range(0, length, WORD_BYTES):
            piece = min(WORD_BYTES, length - place)
            word = word_at(data, start + place, piece)
            is_plain = is_printable(word, piece) and is_plain
            both = mixed(both ^ word)
            # What is behind the text's end the next one overwrites.
            store_word(packed, end + place, word)
        code = 0 if is_plain else _text_fault(data, start, length, is_csv)
        if code != 0:
            mark(fault, fault_column, row, column, code)
            continue
        slot = whole(both & np.uint64(TEXTS_REMEMBERED - 1))
        before = seen[slot, 0]
        if (
            seen[slot, 1] == np.int64(both)
            and before & LENGTH_MASK == length
            and _is_packed(packed, before >> LENGTH_BITS, end, length)
        ):
            out[row] = before
            continue
        out[row] = seen[slot, 0] = (end << LENGTH_BITS) | length
        seen[slot, 1] = np.int64(both)
        end += length
    return end
