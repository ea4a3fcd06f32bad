"""Finds ids among ids: both sides are dealt into small partitions by their keys, then each is joined in the cache.

A hash over ten million ids misses the cache two or three times a look-up, and every id is looked up at least once here.
Dealt into partitions of some ten thousand, all but the dealing stays in the cache: several times faster, and any
number of threads can join them.
"""

from __future__ import annotations

import numpy as np

from services.treenode.tree.kernels.kernel import Int32s, Int64s, UInt32s, inner, kernel, mixed

_SEED = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0xD6E8FEB86659FD93)
_SHIFT_32 = np.uint64(32)


@inner
def _key_at(words: UInt32s, row: int) -> np.uint64:
    """A 64-bit key of the id in words[row]; only to be compared with keys of the same width."""
    key = _SEED
    for column in range(words.shape[1]):
        key = (key ^ np.uint64(words[row, column])) * _STEP
        key = key ^ (key >> _SHIFT_32)
    return mixed(key)


@inner
def _partition_of(words: UInt32s, row: int, partitions: int) -> int:
    """The partition of an id: by the upper half of its key, so that the lower is left for the slots within."""
    return int(np.int64(((_key_at(words, row) >> _SHIFT_32) * np.uint64(partitions)) >> _SHIFT_32))


@kernel
def count_partitions(words: UInt32s, bounds: Int64s) -> None:
    """words: (rows, width), an id a row, zeros for none. bounds: (partitions + 1) zeros, filled: where each begins."""
    partitions = bounds.size - 1
    for row in range(words.shape[0]):
        if words[row, 0] != 0:
            bounds[_partition_of(words, row, partitions) + 1] += 1
    for partition in range(partitions):
        bounds[partition + 1] += bounds[partition]


@kernel
def deal(words: UInt32s, ends: Int64s, dealt_words: UInt32s, dealt_rows: Int32s) -> None:
    """Puts each id and its row into its partition, rows ascending within it. ends: (partitions,) where each begins,
    left where it ends. dealt_words, dealt_rows: (ids, width) and (ids,), filled.
    """
    partitions = ends.size
    for row in range(words.shape[0]):
        if words[row, 0] != 0:
            partition = _partition_of(words, row, partitions)
            place = ends[partition]
            ends[partition] = place + 1
            dealt_rows[place] = row
            for column in range(words.shape[1]):
                dealt_words[place, column] = words[row, column]


@inner
def _find(words: UInt32s, slots: Int32s, size: int, asked: UInt32s, place: int) -> int:
    """The place of asked[place] among `words`, or ~slot of the free slot where it belongs. size: a power of two."""
    slot = int(np.int64(_key_at(asked, place) & np.uint64(size - 1)))
    while slots[slot] >= 0:
        other = np.int64(slots[slot])
        same = True
        for column in range(words.shape[1]):
            same = same and words[other, column] == asked[place, column]
        if same:
            return int(other)
        slot = (slot + 1) & (size - 1)
    return ~slot


@kernel
def join(
    member_words: UInt32s,
    member_rows: Int32s,
    member_bounds: Int64s,
    asked_words: UInt32s,
    asked_rows: Int32s,
    asked_bounds: Int64s,
    first_partition: int,
    end_partition: int,
    slots: Int32s,
    found: Int32s,
    repeat_rows: Int64s,
    repeat_firsts: Int64s,
) -> int:
    """Joins the partitions from first_partition to before end_partition, of members and of ids asked for, of one width.

    slots: twice the largest partition of members, rounded up to a power of two. found: by row of the asked ids, filled
    with the row of the first member with that id where there is one. repeat_rows, repeat_firsts: filled with the
    members whose id an earlier one has, and the earlier one. Returns how many those are.
    """
    repeats = 0
    for partition in range(first_partition, end_partition):
        begin, end = member_bounds[partition], member_bounds[partition + 1]
        size = 8
        while size < 2 * (end - begin):
            size *= 2
        slots[:size] = -1
        for place in range(begin, end):
            other = _find(member_words, slots, size, member_words, place)
            if other < 0:
                slots[~other] = place
            else:
                repeat_rows[repeats] = member_rows[place]
                repeat_firsts[repeats] = member_rows[other]
                repeats += 1
        for place in range(asked_bounds[partition], asked_bounds[partition + 1]):
            other = _find(member_words, slots, size, asked_words, place)
            if other >= 0:
                found[asked_rows[place]] = member_rows[other]
    return repeats
