"""The rows of ids among the members of a file, and the members that come twice."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from services.treenode.imports.reading.structure.join_kernels import count_partitions, deal, join
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, Int64s, UInt32s

#: Small enough that a partition with its slots stays in a core's cache.
_IDS_A_PARTITION = 16_384


@dataclass(frozen=True)
class Repeats:
    """Rows that hold what an earlier row holds."""

    #: Ascending.
    rows: Int64s
    #: The first row that holds the same, for each.
    firsts: Int64s

    def first_of(self, row: int) -> int:
        """The first row that holds what `row` holds."""
        return int(self.firsts[np.searchsorted(self.rows, row)])


@dataclass(frozen=True)
class Partitions:
    """Ids dealt into partitions by their keys, each with its row."""

    words: UInt32s
    rows: Int32s
    #: (partitions + 1,) where each begins.
    bounds: Int64s


def deal_ids(ids: AnyArray, partitions: int, width: int) -> Partitions:
    """Deals ids, dtype S of at most `width` bytes (a multiple of 4), empty ones left out."""
    words = ids.astype(f"S{width}", copy=False).view(np.uint32).reshape(len(ids), width // 4)
    bounds = np.zeros(partitions + 1, np.int64)
    count_partitions(words, bounds)
    dealt = Partitions(np.empty((bounds[-1], width // 4), np.uint32), np.empty(bounds[-1], np.int32), bounds)
    deal(words, bounds[:-1].copy(), dealt.words, dealt.rows)
    return dealt


def partition_count(ids: int) -> int:
    """How many partitions to deal so many ids into."""
    return max(1, ids // _IDS_A_PARTITION)


def join_ids(members: Partitions, asked: Partitions, rows: int, pool: Executor, threads: int) -> tuple[Int32s, Repeats]:
    """The row of the member that each asked id names, (rows,), -1 for none; and the members that come twice."""
    found: Int32s = np.full(rows, -1, np.int32)
    partitions = len(members.bounds) - 1
    cuts = np.linspace(0, partitions, threads + 1).astype(np.int64)
    largest = int(np.diff(members.bounds).max())
    jobs = [
        pool.submit(_join_some, members, asked, int(cuts[part]), int(cuts[part + 1]), largest, found)
        for part in range(threads)
    ]
    repeats = [job.result() for job in jobs]
    repeat_rows = np.concatenate([each.rows for each in repeats])
    order = np.argsort(repeat_rows)
    return found, Repeats(repeat_rows[order], np.concatenate([each.firsts for each in repeats])[order])


def _join_some(
    members: Partitions, asked: Partitions, first_partition: int, end_partition: int, largest: int, found: Int32s
) -> Repeats:
    most = int(members.bounds[end_partition] - members.bounds[first_partition])
    # Memory of these two is only used where there are repeats.
    rows, firsts = np.empty(most, np.int64), np.empty(most, np.int64)
    slots = np.empty(max(8, 4 * largest), np.int32)
    count = join(
        members.words,
        members.rows,
        members.bounds,
        asked.words,
        asked.rows,
        asked.bounds,
        first_partition,
        end_partition,
        slots,
        found,
        rows,
        firsts,
    )
    return Repeats(rows[:count].copy(), firsts[:count].copy())


def repeats(keys: Int64s, rows: Int64s) -> Repeats:
    """The rows whose key an earlier row has. `keys`: one for each of `rows`, which are ascending."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    again = np.concatenate(([False], ordered[1:] == ordered[:-1]))
    first = np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))
    found, firsts = rows[order[again]], rows[order[first[again]]]
    ascending = np.argsort(found)
    return Repeats(found[ascending], firsts[ascending])
