"""Copies the columns that a report needs out of the tree, in two goes, so that updates wait as little as can be.

The first one copies what changes only with the tree's links: ids, parents, levels. The second one copies the values. If
no link changed in between (orders change none), the two are of one position, that of the second, and updates waited for
half of the copy at a time; else the second one does all of it. Each go is one kernel call: a thread that runs it gives
the interpreter up once and takes it back once, whatever the event loop does meanwhile.

Ids are copied too, since a removal frees a row for another member. The parent of a row is kept as a place in the copy:
within a clean range (see the tree's `links`) it is in the range itself; the first row of each range has its parent's id
in the copy's tail.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from services.treenode.reports.copy.buffers import Buffers
from services.treenode.reports.copy.rows import ID_COLUMNS, PLAIN_DTYPES
from services.treenode.tree.kernels.kernel import AnyArray, Int16s, Int32s, Int64s, UInt8s, UInt32s, Whole, kernel
from services.treenode.tree.kernels.links import Genealogy
from services.treenode.tree.store import Store


class Links(NamedTuple):
    """The copy of what changes with links only; n rows in r ranges. A column that is not wanted is of length 0."""

    #: uint32[n + r + m, words]: the members' ids, the parents' of each range's first row, and m = n ids of parents in
    #: the other tree, or 0.
    words: UInt32s
    #: int32[n]: rows of `words`, or -1.
    parent: Int32s
    other_parent: Int32s
    level: Int32s


class Values(NamedTuple):
    """The tree's values, or their copy, where a column that is not wanted is of length 0."""

    kind: UInt8s
    status: Int16s
    rank: Int16s
    joined_on: Int32s
    leg: Int32s
    #: By row, and by seat of the tree walked: of the report's volume type and period.
    personal: Int64s
    group: Int64s
    #: By seat of the tree walked.
    downline_count: Int32s


@kernel
def _copy_by_row(target: AnyArray, source: AnyArray, row_at: Int32s, ranges: Int64s) -> None:
    """Copies a by-row column of the seats in the ranges."""
    if target.shape[0] == 0:
        return
    mapped = row_at.shape[0] > 0
    at = np.int64(0)
    for index in range(ranges.shape[0]):
        first = ranges[index, 0]
        size = ranges[index, 1] - first
        if mapped:
            for step in range(size):
                target[at + step] = source[row_at[first + step]]
        else:
            # Slices have indices that can't be negative: the compiler makes one wide copy of the loop.
            to, of = target[at : at + size], source[first : first + size]
            for step in range(size):
                to[step] = of[step]
        at += size


@kernel
def _copy_by_seat(target: AnyArray, source: AnyArray, ranges: Int64s, minus: Whole) -> None:
    """Copies a by-seat column of the seats in the ranges."""
    if target.shape[0] == 0:
        return
    at = np.int64(0)
    for index in range(ranges.shape[0]):
        first = ranges[index, 0]
        size = ranges[index, 1] - first
        to, of = target[at : at + size], source[first : first + size]
        for step in range(size):
            to[step] = of[step] - minus
        at += size


@kernel
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


@kernel
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


@kernel
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
def _copy_links(
    target: Links, words: UInt32s, walked: Genealogy, other: Genealogy, ranges: Int64s, base_level: Whole, count: Whole
) -> None:
    """Copies the links of all ranges, which hold `count` seats; column by column."""
    _copy_ids(target.words, words, walked.row_at, ranges)
    _copy_parents(target.parent, target.words, words, walked.parent, walked.row_at, ranges, count)
    _copy_other_parents(target.other_parent, target.words, words, walked, other, ranges, count + ranges.shape[0])
    _copy_by_seat(target.level, walked.level, ranges, base_level)


@kernel
def _copy_values(target: Values, source: Values, row_at: Int32s, ranges: Int64s) -> None:
    """Copies the values of all ranges; column by column."""
    _copy_by_row(target.kind, source.kind, row_at, ranges)
    _copy_by_row(target.status, source.status, row_at, ranges)
    _copy_by_row(target.rank, source.rank, row_at, ranges)
    _copy_by_row(target.joined_on, source.joined_on, row_at, ranges)
    _copy_by_row(target.leg, source.leg, row_at, ranges)
    _copy_by_row(target.personal, source.personal, row_at, ranges)
    _copy_by_seat(target.group, source.group, ranges, 0)
    _copy_by_seat(target.downline_count, source.downline_count, ranges, 0)


def walked_and_other(store: Store, placement: bool) -> tuple[Genealogy, Genealogy]:
    """The tree that a report walks, and the other one."""
    return (store.placement, store.sponsor) if placement else (store.sponsor, store.placement)


def _column(name: str, count: int, columns: Collection[str], buffers: Buffers) -> AnyArray:
    return buffers.take(count if name in columns else 0, PLAIN_DTYPES[name])


def copied_links(
    store: Store, placement: bool, ranges: Int64s, base_level: int, columns: Collection[str], buffers: Buffers
) -> tuple[UInt8s, dict[str, AnyArray]]:
    """The ids, uint8[…, w], and those of the columns that change with links only, copied.

    Args:
        placement: The tree that the seats belong to.
        ranges: int64[k, 2]: seats from … to before, each a clean range or a single seat.
        base_level: Subtracted from each level.
        buffers: What the copy takes its memory from.
    """
    count = int((ranges[:, 1] - ranges[:, 0]).sum())
    walked, other = walked_and_other(store, placement)
    walked_name, other_name = ("placement_id", "sponsor_id") if placement else ("sponsor_id", "placement_id")
    id_rows = count + len(ranges) + (count if other_name in columns else 0)
    id_rows = 0 if set(ID_COLUMNS).isdisjoint(columns) else id_rows
    width = store.ids.words.shape[1]
    target = Links(
        words=buffers.take(id_rows * width, np.uint32).reshape(id_rows, width),
        parent=_column(walked_name, count, columns, buffers),
        other_parent=_column(other_name, count, columns, buffers),
        level=_column("level", count, columns, buffers),
    )
    member = _column("member_id", count, columns, buffers)
    member[:] = np.arange(len(member), dtype=np.int32)
    _copy_links(target, store.ids.words, walked, other, ranges, base_level, count)
    copied: dict[str, AnyArray] = {
        "member_id": member,
        walked_name: target.parent,
        other_name: target.other_parent,
        "level": target.level,
    }
    ids = target.words.view(np.uint8).reshape(id_rows, 4 * width)
    return ids, {name: copied[name] for name in copied if name in columns}


def copied_values(
    store: Store, placement: bool, slot: int, ranges: Int64s, columns: Collection[str], buffers: Buffers
) -> dict[str, AnyArray]:
    """Those of the columns that are values, copied. `slot`: whose volumes pv and gv are."""
    count = int((ranges[:, 1] - ranges[:, 0]).sum())
    walked, _ = walked_and_other(store, placement)
    target = Values(
        kind=_column("kind", count, columns, buffers),
        status=_column("status", count, columns, buffers),
        rank=_column("rank", count, columns, buffers),
        joined_on=_column("joined_on", count, columns, buffers),
        leg=_column("placement_leg", count, columns, buffers),
        personal=_column("pv", count, columns, buffers),
        group=_column("gv", count, columns, buffers),
        downline_count=_column("downline_count", count, columns, buffers),
    )
    source = Values(
        kind=store.kind,
        status=store.status,
        rank=store.rank,
        joined_on=store.joined_on,
        leg=store.leg,
        personal=store.personal[slot],
        group=walked.group[slot],
        downline_count=walked.members,
    )
    _copy_values(target, source, walked.row_at, ranges)
    copied: dict[str, AnyArray] = {
        "kind": target.kind,
        "status": target.status,
        "rank": target.rank,
        "joined_on": target.joined_on,
        "placement_leg": target.leg,
        "pv": target.personal,
        "gv": target.group,
        "downline_count": target.downline_count,
    }
    return {name: copied[name] for name in copied if name in columns}


@kernel
def _copy_volumes(personal: Int64s, group: Int64s, source: Int64s, walked: Genealogy, ranges: Int64s) -> None:
    for slot in range(source.shape[0]):
        _copy_by_row(personal[slot], source[slot], walked.row_at, ranges)
        _copy_by_seat(group[slot], walked.group[slot], ranges, 0)


def copied_column(source: AnyArray, walked: Genealogy, ranges: Int64s, count: int, buffers: Buffers) -> AnyArray:
    """A by-row column of the `count` seats in the ranges, copied."""
    target = buffers.take(count, source.dtype)
    _copy_by_row(target, source, walked.row_at, ranges)
    return target


def copied_volumes(
    source: Int64s, walked: Genealogy, ranges: Int64s, count: int, buffers: Buffers
) -> tuple[Int64s, Int64s]:
    """Personal and group volumes of every slot, int64[slots, count] each, copied. `source`: personal ones by row."""
    personal = buffers.take(len(source) * count, np.int64).reshape(len(source), count)
    group = buffers.take(len(source) * count, np.int64).reshape(len(source), count)
    _copy_volumes(personal, group, source, walked, ranges)
    return personal, group
