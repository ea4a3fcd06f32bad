"""Kernels that copy ids, links and columns of the seats in some ranges, each with one call for all of them.

A thread that runs a kernel gives the interpreter up once and takes it back once, whatever the event loop does
meanwhile. So the columns come as one table, of where each lies and goes; no kernel knows one by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from services.treenode.tree.kernels.addresses import column_at
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, Int64s, UInt32s, Whole, inner, kernel
from services.treenode.tree.kernels.links import Genealogy

#: Places in a row of a table of copies: which of ITEMS; where the copy begins; where the column does, and its length;
#: whether that goes by seat, not by row; what is subtracted from each value.
HOW, TO, FROM, LENGTH, BY_SEAT, BASE = range(6)
UINT8, INT16, INT32, INT64, INT32_TO_INT64 = range(5)
COPY = 6
#: Which items can be copied to which.
_ITEMS: Mapping[tuple[np.dtype[Any], np.dtype[Any]], int] = {
    (np.dtype(of), np.dtype(to)): how
    for of, to, how in (
        (np.uint8, np.uint8, UINT8),
        (np.int16, np.int16, INT16),
        (np.int32, np.int32, INT32),
        (np.int64, np.int64, INT64),
        (np.int32, np.int64, INT32_TO_INT64),
    )
}


def items(column: str, of: np.dtype[Any], to: np.dtype[Any]) -> int:
    """How a column of one dtype is copied to another.

    Raises:
        ValueError: No kernel does that.
    """
    found = _ITEMS.get((of, to))
    if found is None:
        raise ValueError(f"column {column}: no kernel copies {of.name} to {to.name}")
    return found


class CopiedLinks(NamedTuple):
    """The copy of ids and links; n seats in r ranges. What is not wanted is of length 0."""

    #: uint32[n + r + m, words]: the members' ids, the parents' of each range's first row, and m = n ids of parents in
    #: the other tree, or 0.
    words: UInt32s
    #: int32[n]: rows of `words`, or -1.
    member: Int32s
    parent: Int32s
    other_parent: Int32s


@inner
def _copy_column(to: AnyArray, of: AnyArray, by_seat: Whole, base: Whole, row_at: Int32s, ranges: Int64s) -> None:
    """Copies a column of the seats in the ranges, which goes by seat, or by row (`row_at` of length 0: the same)."""
    gathered = row_at.shape[0] > 0 and by_seat == 0
    at = np.int64(0)
    for index in range(ranges.shape[0]):
        first = ranges[index, 0]
        size = ranges[index, 1] - first
        if gathered:
            for step in range(size):
                to[at + step] = of[row_at[first + step]]
        else:
            # Slices have indices that can't be negative: the compiler makes one wide copy of the loop.
            target, source = to[at : at + size], of[first : first + size]
            if base == 0:
                for step in range(size):
                    target[step] = source[step]
            else:
                for step in range(size):
                    target[step] = source[step] - base
        at += size


@kernel
def copy_columns(copies: Int64s, count: Whole, row_at: Int32s, ranges: Int64s) -> None:
    """Copies every column of a table (int64[columns, 6], see HOW) of the `count` seats in the ranges."""
    for index in range(copies.shape[0]):
        to, of, length = copies[index, TO], copies[index, FROM], copies[index, LENGTH]
        seat, base = copies[index, BY_SEAT], copies[index, BASE]
        how = copies[index, HOW]
        if how == UINT8:
            _copy_column(column_at(to, count, np.uint8), column_at(of, length, np.uint8), seat, base, row_at, ranges)
        elif how == INT16:
            _copy_column(column_at(to, count, np.int16), column_at(of, length, np.int16), seat, base, row_at, ranges)
        elif how == INT32:
            _copy_column(column_at(to, count, np.int32), column_at(of, length, np.int32), seat, base, row_at, ranges)
        elif how == INT64:
            _copy_column(column_at(to, count, np.int64), column_at(of, length, np.int64), seat, base, row_at, ranges)
        elif how == INT32_TO_INT64:
            _copy_column(column_at(to, count, np.int64), column_at(of, length, np.int32), seat, base, row_at, ranges)


@inner
def _copy_ids(target: UInt32s, words: UInt32s, row_at: Int32s, ranges: Int64s) -> None:
    if target.shape[0] == 0:
        return
    width = words.shape[1]
    at = np.int64(0)
    for index in range(ranges.shape[0]):
        first = ranges[index, 0]
        size = ranges[index, 1] - first
        if row_at.shape[0] > 0:
            for step in range(size):
                row = np.int64(row_at[first + step])
                for word in range(width):
                    target[at + step, word] = words[row, word]
        else:
            to = target[at : at + size].reshape(size * width)
            of = words[first : first + size].reshape(size * width)
            for step in range(size * width):
                to[step] = of[step]
        at += size


@inner
def _copy_parents(
    target: Int32s, tail: UInt32s, words: UInt32s, parent: Int32s, row_at: Int32s, ranges: Int64s, tail_at: Whole
) -> None:
    """Parents of the ranges' seats. `tail`: the copy's words; from `tail_at` on it takes one id a range."""
    if target.shape[0] == 0:
        return
    mapped = row_at.shape[0] > 0
    at = np.int64(0)
    for index in range(ranges.shape[0]):
        first = ranges[index, 0]
        size = ranges[index, 1] - first
        for step in range(1, size):
            seat = np.int64(parent[first + step])
            # Roots that lie side by side are one range.
            target[at + step] = seat - first + at if seat >= 0 else -1
        above = np.int64(parent[first])
        target[at] = tail_at + index if above >= 0 else -1
        if above >= 0:
            row = np.int64(row_at[above]) if mapped else above
            for word in range(words.shape[1]):
                tail[tail_at + index, word] = words[row, word]
        at += size


@inner
def _copy_other_parents(
    target: Int32s, tail: UInt32s, words: UInt32s, walked: Genealogy, other: Genealogy, ranges: Int64s, tail_at: Whole
) -> None:
    """Parents in the other tree; from `tail_at` on the copy's words take one id a seat."""
    if target.shape[0] == 0:
        return
    row_at, seat_of, other_row_at, parent = walked.row_at, other.seat_of, other.row_at, other.parent
    at = np.int64(0)
    for index in range(ranges.shape[0]):
        for seat in range(ranges[index, 0], ranges[index, 1]):
            row = np.int64(row_at[seat]) if row_at.shape[0] else np.int64(seat)
            above = np.int64(parent[seat_of[row] if seat_of.shape[0] else row])
            target[at] = -1
            if above >= 0:
                target[at] = tail_at + at
                above = np.int64(other_row_at[above]) if other_row_at.shape[0] else above
                for word in range(words.shape[1]):
                    tail[tail_at + at, word] = words[above, word]
            at += 1


@kernel
def copy_links(
    target: CopiedLinks,
    copies: Int64s,
    words: UInt32s,
    walked: Genealogy,
    other: Genealogy,
    ranges: Int64s,
    count: Whole,
) -> None:
    """Copies the ids and links of all ranges, which hold `count` seats, and the columns of a table; one by one."""
    _copy_ids(target.words, words, walked.row_at, ranges)
    for place in range(target.member.shape[0]):
        target.member[place] = place
    _copy_parents(target.parent, target.words, words, walked.parent, walked.row_at, ranges, count)
    _copy_other_parents(target.other_parent, target.words, words, walked, other, ranges, count + ranges.shape[0])
    copy_columns(copies, count, walked.row_at, ranges)


@kernel
def copy_volumes(personal: Int64s, group: Int64s, source: AnyArray, walked: Genealogy, ranges: Int64s) -> None:
    """Copies the volumes of every slot: personal ones by row, group ones by seat."""
    for slot in range(source.shape[0]):
        _copy_column(personal[slot], source[slot], 0, 0, walked.row_at, ranges)
        _copy_column(group[slot], walked.group[slot], 1, 0, walked.row_at, ranges)
