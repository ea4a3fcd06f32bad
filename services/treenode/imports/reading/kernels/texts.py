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
from services.treenode.tree.kernels.words import (
    WORD_BYTES,
    behind_of,
    first_of,
    is_printable,
    load_word,
    store_word,
    unprintable,
    word_at,
)

#: Texts of a batch that are remembered.
TEXTS_REMEMBERED = 1024
_SHIFT_SLOT = np.uint64(54)
#: Names, addresses and numbers are this long at most, nearly all: so many words are taken whatever the length is, for a
#: branch that nobody foresees costs more.
_SHORT_WORDS = 4
SHORT_BYTES = WORD_BYTES * _SHORT_WORDS
#: What of each word belongs to a short text, by its length.
_SHORT_MASKS = np.array(
    [
        [2 ** (8 * min(WORD_BYTES, max(0, length - WORD_BYTES * number))) - 1 for number in range(_SHORT_WORDS)]
        for length in range(SHORT_BYTES + 1)
    ],
    np.uint64,
)
_SPREAD = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], np.uint64)
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


@inlined
def _is_obeyed(second: int, third: int) -> bool:
    """Whether these two bytes after E2 are one of U+202A to U+202E and U+2066 to U+2069."""
    return (second == 0x80 and 0xAA <= third <= 0xAE) or (second == 0x81 and 0xA6 <= third <= 0xA9)


@inner
def _text_fault(data: UInt8s, start: int, length: int, is_csv: bool) -> int:
    """Whether a text is UTF-8 (no overlong forms, no surrogates) without control characters but tabs and line breaks,
    and without what `holds_obeyed` looks for. `is_csv`: carriage returns belong in quotes.
    """
    position, end, code = start, start + length, 0
    while position < end:
        piece = min(WORD_BYTES, end - position)
        odd = unprintable(word_at(data, position, piece), behind_of(piece))
        if odd == 0:
            position += piece
            continue
        position += first_of(odd)
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
        if (byte == 0xC2 and second < 0xA0) or (byte == 0xE2 and _is_obeyed(second, data[position + 2])):
            code = TEXT_CONTROL
        position += more + 1
    return code


@inlined
def _take_short(data: UInt8s, start: int, length: int, packed: UInt8s, end: int) -> tuple[bool, np.uint64]:
    """Copies a short text, behind which there are SHORT_BYTES of data and of room; whether it is printable ASCII, and a
    hash of it. What is behind its end the next one overwrites.
    """
    odd, both = np.uint64(0), np.uint64(length)
    for number in range(_SHORT_WORDS):
        mask = _SHORT_MASKS[length, number]
        word = load_word(data, start + WORD_BYTES * number) & mask
        store_word(packed, end + WORD_BYTES * number, word)
        odd |= unprintable(word, ~mask)
        both += word * _SPREAD[number]
    return odd == 0, mixed(both)


@inner
def _take_long(data: UInt8s, start: int, length: int, packed: UInt8s, end: int) -> tuple[bool, np.uint64]:
    """As _take_short, for any text and any data behind it."""
    is_plain, both = True, np.uint64(length)
    for place in range(0, length, WORD_BYTES):
        piece = min(WORD_BYTES, length - place)
        word = word_at(data, start + place, piece)
        is_plain = is_printable(word, piece) and is_plain
        both = mixed(both ^ word)
        store_word(packed, end + place, word)
    return is_plain, both


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
    """Texts one after another in packed, which has room for all and SHORT_BYTES more; out: (rows,), filled with
    references to them, 0 for an empty text and for a faulty one, which is left out. Returns how many bytes there are.

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
        if length <= SHORT_BYTES and start + SHORT_BYTES <= data.size:
            is_plain, both = _take_short(data, start, length, packed, end)
        else:
            is_plain, both = _take_long(data, start, length, packed, end)
        code = 0 if is_plain else _text_fault(data, start, length, is_csv)
        if code != 0:
            mark(fault, fault_column, row, column, code)
            continue
        slot = whole(both >> _SHIFT_SLOT)
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


@kernel
def move_references(references: Int64s, begin: int) -> None:
    """Makes references to texts that begin at 0 lead to where they are put: from `begin` on."""
    for row in range(references.size):
        if references[row] != 0:
            references[row] += begin << LENGTH_BITS
