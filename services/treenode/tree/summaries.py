"""Members and personal volume of a downline by level, status, rank and kind, in one scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from services.treenode.tree.kernel import AnyArray, Int16s, Int32s, Int64s, UInt8s, inlined, kernel, whole
from services.treenode.tree.queries import Downline, Which, genealogy
from services.treenode.tree.store import SAFE_MAGNITUDE
from services.treenode.tree.tree import Tree


@dataclass(frozen=True)
class Summary:
    """Counts and sums of what counts, by key: [0] members, [1] personal volume in hundredths."""

    total: tuple[int, int]
    #: By level below the start, ascending.
    by_level: dict[int, tuple[int, int]]
    #: By status, ascending.
    by_status: dict[str, tuple[int, int]]
    #: By rank, ascending.
    by_rank: dict[int, tuple[int, int]]
    #: By kind (1 distributor, 2 customer), ascending.
    by_kind: dict[int, tuple[int, int]]


@inlined
def _index(rows: Int32s, begin: int, place: int) -> int:
    return whole(rows[place]) if rows.shape[0] > 0 else begin + place


@kernel
def _bounds(
    rank: Int16s, level: Int32s, rows: Int32s, row_begin: int, seats: Int32s, seat_begin: int, count: int
) -> tuple[int, int]:
    """The deepest level and the highest rank among the rows."""
    deepest = 0
    highest = 0
    for place in range(count):
        deepest = max(deepest, whole(level[_index(seats, seat_begin, place)]))
        highest = max(highest, whole(rank[_index(rows, row_begin, place)]))
    return deepest, highest


@kernel
def _add_up(
    kind: UInt8s,
    status: Int16s,
    rank: Int16s,
    level: Int32s,
    personal: Int64s,
    rows: Int32s,
    row_begin: int,
    seats: Int32s,
    seat_begin: int,
    count: int,
    counts: AnyArray,
    by_level: Int64s,
    by_profile: Int64s,
) -> None:
    """Adds members and volumes to by_level, (levels, 2), and by_profile, (kinds, statuses, ranks, 2).

    `rows`, `seats`: of length 0 where they are row_begin, row_begin + 1, …; `level`: less the start's level already at
    index 0 of by_level; `counts`: bool by place, of length 0 where each counts.
    """
    filtered = counts.shape[0] > 0
    statuses, ranks = by_profile.shape[1], by_profile.shape[2]
    profile = by_profile.reshape(-1, 2)
    for place in range(count):
        if filtered and not counts[place]:
            continue
        row = _index(rows, row_begin, place)
        depth = whole(level[_index(seats, seat_begin, place)])
        amount = personal[row]
        group = (whole(kind[row]) * statuses + whole(status[row])) * ranks + whole(rank[row])
        by_level[depth, 0] += 1
        by_level[depth, 1] += amount
        profile[group, 0] += 1
        profile[group, 1] += amount


def summarize(tree: Tree, downline: Downline, slot: int, counts: AnyArray | None = None) -> Summary:
    """The summary of a downline. `counts`: (len(downline),) bool, which members count; None: every one."""
    store, columns = tree.store, genealogy(tree, downline.which)
    nobody = np.empty(0, dtype=np.int32)
    rows, row_begin = (nobody, downline.rows.start) if isinstance(downline.rows, slice) else (downline.rows, 0)
    seats, seat_begin = (nobody, downline.seats.start) if isinstance(downline.seats, slice) else (downline.seats, 0)
    count = len(downline)
    deepest, highest = _bounds(store.rank, columns.level, rows, row_begin, seats, seat_begin, count)
    by_level = np.zeros((max(int(deepest), downline.base_level) + 1, 2), dtype=np.int64)
    by_profile = np.zeros((3, len(tree.statuses), int(highest) + 1, 2), dtype=np.int64)
    if store.magnitudes[slot] >= SAFE_MAGNITUDE:
        return _summarize_exactly(tree, downline, slot, counts)
    _add_up(
        store.kind,
        store.status,
        store.rank,
        columns.level,
        store.personal[slot],
        rows,
        row_begin,
        seats,
        seat_begin,
        count,
        np.empty(0, dtype=np.bool_) if counts is None else counts,
        by_level,
        by_profile,
    )
    by_level = by_level[downline.base_level :]
    texts = tree.statuses.texts
    by_status = _groups(by_profile.sum(axis=(0, 2)))
    return Summary(
        total=(int(by_level[:, 0].sum()), int(by_level[:, 1].sum())),
        by_level=_groups(by_level),
        by_status={texts[code]: by_status[code] for code in sorted(by_status, key=texts.__getitem__)},
        by_rank=_groups(by_profile.sum(axis=(0, 1))),
        by_kind=_groups(by_profile.sum(axis=(1, 2))),
    )


def _groups(figures: Int64s) -> dict[int, tuple[int, int]]:
    return {int(key): (int(figures[key, 0]), int(figures[key, 1])) for key in np.flatnonzero(figures[:, 0])}


def _summarize_exactly(tree: Tree, downline: Downline, slot: int, counts: AnyArray | None) -> Summary:
    """The same with integers of any size, for volumes so large that a sum of some members might not fit 64 bits."""
    store = tree.store
    every = slice(None) if counts is None else counts
    rows = np.arange(store.used, dtype=np.int32)[downline.rows][every]
    seats = rows if downline.which == Which.SPONSOR else store.placement.seat_of[rows]
    levels = genealogy(tree, downline.which).level[seats] - downline.base_level
    amounts = store.personal[slot, rows].tolist()
    statuses = [tree.statuses.texts[code] for code in store.status[rows].tolist()]
    return Summary(
        total=(len(amounts), sum(amounts)),
        by_level=_grouped(levels.tolist(), amounts),
        by_status=_grouped(statuses, amounts),
        by_rank=_grouped(store.rank[rows].tolist(), amounts),
        by_kind=_grouped(store.kind[rows].tolist(), amounts),
    )


def _grouped(keys: list[Any], amounts: list[int]) -> dict[Any, tuple[int, int]]:
    groups: dict[Any, tuple[int, int]] = {}
    for key, amount in zip(keys, amounts, strict=True):
        members, volume = groups.get(key, (0, 0))
        groups[key] = (members + 1, volume + amount)
    return dict(sorted(groups.items()))
