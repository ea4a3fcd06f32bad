"""Member ids: fixed-width bytes in one column, and an open-addressing hash from id to row.

An id is 1 to 32 printable ASCII characters, kept as little 4-byte words padded with zeros: `words[row]`, as wide as the
longest id needs. No id holds a NUL, so a zero word ends it, and the same id has the same key at every width.

`slots` holds rows, or -1 where free. A key falls on slot `(key >> 32) * size >> 32` and goes on to the next free one,
so any size will do and the table can be kept about half full. Removal shifts later entries back: there are no
tombstones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from services.shared.domain.limits import MEMBER_ID_LENGTH_MAX
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, UInt32s, UInt64s, inlined, kernel, mixed, whole

FREE_SLOT = -1
#: Share of the slots that may be in use.
MAX_LOAD = 0.8

_SEED = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0xD6E8FEB86659FD93)
_SHIFT_32 = np.uint64(32)


class IdTable(NamedTuple):
    """The id column and its hash, as kernels take them."""

    #: (capacity, width) uint32; a row that is no place has zeros.
    words: UInt32s
    #: (size,) int32: rows, each place once, or FREE_SLOT.
    slots: Int32s


@inlined
def key_at(words: UInt32s, row: int) -> np.uint64:
    """The 64-bit key of the id in `words[row]`; never depends on the width of `words`."""
    key = _SEED
    for column in range(words.shape[1]):
        word = words[row, column]
        if word == 0:
            break
        key = (key ^ np.uint64(word)) * _STEP
        key = key ^ (key >> _SHIFT_32)
    return mixed(key)


@inlined
def _slot_of(key: np.uint64, size: int) -> int:
    return whole(((key >> _SHIFT_32) * np.uint64(size)) >> _SHIFT_32)


@inlined
def _same(words: UInt32s, row: int, asked: UInt32s, index: int) -> bool:
    width = words.shape[1]
    asked_width = asked.shape[1]
    for column in range(max(width, asked_width)):
        left = words[row, column] if column < width else np.uint32(0)
        right = asked[index, column] if column < asked_width else np.uint32(0)
        if left != right:
            return False
        if left == 0:
            return True
    return True


@inlined
def find_key(table: IdTable, key: np.uint64, asked: UInt32s, index: int) -> int:
    """The row of the id in `asked[index]`, whose key is `key`; -1 where no place has it."""
    size = table.slots.shape[0]
    slot = _slot_of(key, size)
    while True:
        row = table.slots[slot]
        if row < 0:
            return -1
        if _same(table.words, row, asked, index):
            return whole(row)
        slot += 1
        if slot == size:
            slot = 0


@inlined
def find_row(table: IdTable, asked: UInt32s, index: int) -> int:
    """The row of the id in `asked[index]`; -1 where no place has it. The empty id is never found."""
    if asked[index, 0] == 0:
        return -1
    return find_key(table, key_at(asked, index), asked, index)


@kernel
def find_one(table: IdTable, asked: UInt32s) -> int:
    """The row of the id in asked[0]; -1 where no place has it."""
    return find_row(table, asked, 0)


@kernel
def find_rows(table: IdTable, asked: UInt32s, rows: Int32s) -> None:
    """Fills `rows[i]` with the row of the id in `asked[i]`, or -1."""
    for index in range(asked.shape[0]):
        rows[index] = find_row(table, asked, index)


@inlined
def insert_row(table: IdTable, row: int, key: np.uint64) -> None:
    """Takes `row` in, whose id is in `words` already and in no other row. There must be a free slot."""
    size = table.slots.shape[0]
    slot = _slot_of(key, size)
    while table.slots[slot] >= 0:
        slot += 1
        if slot == size:
            slot = 0
    table.slots[slot] = row


@kernel
def insert_keys(table: IdTable, keys: UInt64s) -> None:
    """Takes the rows 0, 1, … in, whose ids have these keys."""
    for row in range(keys.shape[0]):
        insert_row(table, row, keys[row])


@kernel
def insert_rows(table: IdTable, count: int) -> None:
    """Takes the rows 0 to count - 1 in that have an id."""
    for row in range(count):
        if table.words[row, 0] != 0:
            insert_row(table, row, key_at(table.words, row))


@kernel
def remove_row(table: IdTable, row: int) -> None:
    """Takes `row` out; its id must still be in `words`."""
    size = table.slots.shape[0]
    slot = _slot_of(key_at(table.words, row), size)
    while table.slots[slot] != row:
        slot += 1
        if slot == size:
            slot = 0
    hole = slot
    while True:
        slot += 1
        if slot == size:
            slot = 0
        other = table.slots[slot]
        if other < 0:
            break
        home = _slot_of(key_at(table.words, other), size)
        # `other` may fill the hole unless its home lies after the hole, going round.
        if (slot - home) % size >= (slot - hole) % size:
            table.slots[hole] = other
            hole = slot
    table.slots[hole] = FREE_SLOT


def words_of(ids: AnyArray | Sequence[str] | Sequence[bytes]) -> UInt32s:
    """Ids as words, (len(ids), width) uint32. `ids`: an array of dtype S, or texts of 32 ASCII characters at most.

    Raises ValueError for an id that is too long or not ASCII.
    """
    if isinstance(ids, np.ndarray) and ids.dtype.kind == "S":
        column = ids
    else:
        if ids is not None and len(ids) and max(map(len, ids)) > MEMBER_ID_LENGTH_MAX:
            raise ValueError(f"a member id has at most {MEMBER_ID_LENGTH_MAX} characters")
        column = np.array(ids, dtype=f"S{MEMBER_ID_LENGTH_MAX}")
    width = max(4, -(-column.dtype.itemsize // 4) * 4)
    if column.dtype.itemsize != width:
        column = column.astype(f"S{width}")
    return np.ascontiguousarray(column).view(np.uint32).reshape(len(column), width // 4)


def ids_of(words: UInt32s) -> AnyArray:
    """The ids in `words`, (n, width) uint32, as an array of dtype S."""
    return np.ascontiguousarray(words).view(f"S{words.shape[1] * 4}").reshape(words.shape[0])


def empty_slots(places: int) -> Int32s:
    """A hash large enough for `places`."""
    return np.full(max(64, int(places / MAX_LOAD) + 2), FREE_SLOT, dtype=np.int32)


def key_of(member_id: str) -> int:
    """The 64-bit key of one id."""
    return int(keys_of(packed_id(member_id))[0])


def packed_id(member_id: str) -> UInt32s:
    """One id as words, (1, 8) uint32: the cheapest way to ask for one. Raises ValueError as words_of does.

    Of bytes that can be written, as those of many ids: for others each kernel would be compiled once more.
    """
    encoded = member_id.encode("ascii")
    if len(encoded) > MEMBER_ID_LENGTH_MAX:
        raise ValueError(f"a member id has at most {MEMBER_ID_LENGTH_MAX} characters")
    packed: np.ndarray[Any, np.dtype[np.uint32]] = np.frombuffer(
        bytearray(encoded.ljust(MEMBER_ID_LENGTH_MAX, b"\0")), dtype=np.uint32
    )
    return packed.reshape(1, -1)


def keys_of(words: UInt32s) -> UInt64s:
    """The key of every id in `words`, (n,) uint64."""
    keys = np.empty(words.shape[0], dtype=np.uint64)
    _fill_keys(words, keys)
    return keys


@kernel
def _fill_keys(words: UInt32s, keys: UInt64s) -> None:
    for row in range(words.shape[0]):
        keys[row] = key_at(words, row)
