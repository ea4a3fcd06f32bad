"""The one pass behind a summary: members and volume by level, status, rank and kind, over ranges of seats.

It reads the tree's own columns, each range front to back, so a summary costs about what reading their memory costs. The
tables of the groups are small and stay in the processor's cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.treenode.tree.kernels.kernel import Int16s, Int32s, Int64s, UInt8s, Whole, kernel
from services.treenode.tree.store import NOBODY

#: Levels and ranks that the tables of a first try hold; more are rare, and cost a second pass.
FIRST_LEVELS = 512
FIRST_RANKS = 32
KINDS = 3
#: Cells of the table of ranks, statuses and kinds, at most: with more, each is counted in a pass of its own.
CELLS_MAX = 2**18
#: While the sum of all absolute volumes stays below this, no group's total can leave 64 bits.
SAFE_MAGNITUDE = 2.0**62


class MemberColumns(NamedTuple):
    """What is summed, by row but for `level` and `row_at`, which are by seat."""

    level: Int32s
    #: Of length 0 where seat and row are the same.
    row_at: Int32s
    status: Int16s
    rank: Int16s
    #: NOBODY: an empty place, which does not count.
    kind: UInt8s
    personal: Int64s


class GroupTables(NamedTuple):
    """int64[groups, 2] each: members, and the sum of their personal volume."""

    level: Int64s
    status: Int64s
    rank: Int64s
    kind: Int64s


class Strides(NamedTuple):
    """Where a member counts among the cells: at rank * `rank` + status * `status` + kind * `kind`."""

    rank: int
    status: int
    kind: int


@kernel
def _tabulate(
    columns: MemberColumns,
    ranges: Int64s,
    base_level: Whole,
    mask: UInt8s,
    strides: Strides,
    ranks: Whole,
    level_table: Int64s,
    cells: Int64s,
) -> bool:
    """Adds to both tables; False: a level or a rank (from `ranks` on) lies past them.

    Two tables, since each costs a read and a write a member. `mask`: of length 0, or one entry a seat of the ranges.
    """
    level_by_seat, row_at, kinds = columns.level, columns.row_at, columns.kind
    statuses, rank_by_row, personal = columns.status, columns.rank, columns.personal
    levels = level_table.shape[0]
    mapped = row_at.shape[0] > 0
    masked = mask.shape[0] > 0
    at = 0
    for index in range(ranges.shape[0]):
        for seat in range(ranges[index, 0], ranges[index, 1]):
            row = np.int64(row_at[seat]) if mapped else np.int64(seat)
            kind = np.int64(kinds[row])
            counts = kind != NOBODY and (not masked or mask[at] != 0)
            at += 1
            if not counts:
                continue
            level = np.int64(level_by_seat[seat]) - base_level
            rank = np.int64(rank_by_row[row])
            if level >= levels or rank >= ranks:
                return False
            cell = np.uint64(rank * strides.rank + np.int64(statuses[row]) * strides.status + kind * strides.kind)
            volume = personal[row]
            level_table[np.uint64(level), 0] += 1
            level_table[np.uint64(level), 1] += volume
            cells[cell, 0] += 1
            cells[cell, 1] += volume
    return True


@kernel
def _needed(columns: MemberColumns, ranges: Int64s, base_level: Whole) -> tuple[Whole, Whole]:
    """How many levels and ranks there are in the ranges."""
    level_max = np.int64(0)
    rank_max = np.int64(0)
    mapped = columns.row_at.shape[0] > 0
    for index in range(ranges.shape[0]):
        for seat in range(ranges[index, 0], ranges[index, 1]):
            row = np.int64(columns.row_at[seat]) if mapped else np.int64(seat)
            level_max = max(level_max, np.int64(columns.level[seat]) - base_level)
            rank_max = max(rank_max, np.int64(columns.rank[row]))
    return level_max + 1, rank_max + 1


@kernel
def _absolute_sum(columns: MemberColumns, ranges: Int64s) -> float:
    """The sum of all absolute volumes in the ranges, about."""
    total = 0.0
    mapped = columns.row_at.shape[0] > 0
    for index in range(ranges.shape[0]):
        for seat in range(ranges[index, 0], ranges[index, 1]):
            total += abs(np.float64(columns.personal[columns.row_at[seat] if mapped else seat]))
    return total


def tabulate(
    columns: MemberColumns, ranges: Int64s, base_level: int, mask: UInt8s, statuses: int, magnitude: float
) -> GroupTables:
    """Members and volume by group.

    Args:
        ranges: int64[k, 2]: seats from … to before.
        base_level: Subtracted from each level.
        mask: uint8, one entry a seat of the ranges, 0 for what does not count; of length 0: all count.
        statuses: How many status codes there are.
        magnitude: At least the sum of all absolute volumes of the tree.

    Raises:
        OverflowError: A group's sum may not fit 64 bits.
    """
    if magnitude >= SAFE_MAGNITUDE and _absolute_sum(columns, ranges) >= SAFE_MAGNITUDE:
        raise OverflowError("the volumes are too large to be summed in 64 bits")
    levels, ranks = FIRST_LEVELS, FIRST_RANKS
    for _ in range(2):
        level_table = np.zeros((levels, 2), np.int64)
        if ranks * statuses * KINDS > CELLS_MAX:
            break
        cells = np.zeros((ranks * statuses * KINDS, 2), np.int64)
        strides = Strides(rank=statuses * KINDS, status=KINDS, kind=1)
        if _tabulate(columns, ranges, base_level, mask, strides, ranks, level_table, cells):
            cube = cells.reshape(ranks, statuses, KINDS, 2)
            return GroupTables(level_table, cube.sum(axis=(0, 2)), cube.sum(axis=(1, 2)), cube.sum(axis=(0, 1)))
        levels, ranks = (int(needed) for needed in _needed(columns, ranges, base_level))
    level_table = np.zeros((levels, 2), np.int64)
    tables = [np.zeros((groups, 2), np.int64) for groups in (statuses, ranks, KINDS)]
    for table, strides in zip(tables, (Strides(0, 1, 0), Strides(1, 0, 0), Strides(0, 0, 1)), strict=True):
        level_table[:] = 0
        _tabulate(columns, ranges, base_level, mask, strides, ranks, level_table, table)
    return GroupTables(level_table, *tables)
