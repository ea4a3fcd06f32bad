"""Kernels that read links: uplines, front lines, downlines. None is recursive; a clean seat's downline is one range."""

from __future__ import annotations

import numpy as np

from services.treenode.tree.kernels.kernel import Int32s, kernel, whole
from services.treenode.tree.kernels.links import Genealogy, first_child, next_in_walk


@kernel
def _walk_up(tree: Genealogy, seat: int, seats: Int32s) -> int:
    """Counts the seats above `seat`; fills `seats` with as many of them as it holds."""
    count = 0
    above = whole(tree.parent[seat])
    while above >= 0:
        if count < seats.shape[0]:
            seats[count] = above
        count += 1
        above = whole(tree.parent[above])
    return count


@kernel
def _walk_along(tree: Genealogy, seat: int, seats: Int32s) -> int:
    """Counts the seats right below `seat`; fills `seats` with as many of them as it holds."""
    count = 0
    child = first_child(tree, seat) if seat >= 0 else whole(tree.top[0])
    while child >= 0:
        if count < seats.shape[0]:
            seats[count] = child
        count += 1
        child = whole(tree.following[child])
    return count


#: Seats that are enough for nearly every upline and front line, so that they are walked once.
_SEATS_MIN = 256


def upline_of(tree: Genealogy, seat: int) -> Int32s:
    """The seats above `seat`, nearest first, (n,) int32."""
    seats = np.empty(_SEATS_MIN, dtype=np.int32)
    count = int(_walk_up(tree, seat, seats))
    if count > _SEATS_MIN:
        seats = np.empty(count, dtype=np.int32)
        _walk_up(tree, seat, seats)
    return seats[:count]


def children_of(tree: Genealogy, seat: int) -> Int32s:
    """The seats right below `seat`, or at the top for TOP, in order, (n,) int32."""
    seats = np.empty(_SEATS_MIN, dtype=np.int32)
    count = int(_walk_along(tree, seat, seats))
    if count > _SEATS_MIN:
        seats = np.empty(count, dtype=np.int32)
        _walk_along(tree, seat, seats)
    return seats[:count]


@kernel
def _fill_downlines(tree: Genealogy, heads: Int32s, seats: Int32s) -> int:
    filled = 0
    for head in heads:
        seat = whole(head)
        while seat >= 0:
            span = whole(tree.span[seat])
            if span > 0:
                for below in range(seat, span):
                    seats[filled] = below
                    filled += 1
                seat = next_in_walk(tree, seat, head)
            else:
                seats[filled] = seat
                filled += 1
                seat = -1 - span if span < 0 else next_in_walk(tree, seat, head)
    return filled


def downline_seats(tree: Genealogy, heads: Int32s, empty_places: int) -> Int32s:
    """The seats of `heads` and their downlines, in tree order, (n,) int32. `empty_places`: in the whole tree."""
    bound = int(tree.members[heads].sum(dtype=np.int64)) + len(heads) + empty_places
    seats = np.empty(min(bound, len(tree.members)), dtype=np.int32)
    return seats[: int(_fill_downlines(tree, heads, seats))]


@kernel
def _walk_within(tree: Genealogy, heads: Int32s, levels: int, seats: Int32s) -> int:
    """Counts the seats of `heads` and `levels` levels below; fills `seats` with them unless it has length 0."""
    filled = 0
    fills = seats.shape[0] > 0
    for head in heads:
        deepest = whole(tree.level[head]) + levels
        seat = whole(head)
        while seat >= 0:
            if fills:
                seats[filled] = seat
            filled += 1
            child = first_child(tree, seat) if tree.level[seat] < deepest else whole(-1)
            seat = child if child >= 0 else next_in_walk(tree, seat, head)
    return filled


def seats_within(tree: Genealogy, heads: Int32s, levels: int) -> Int32s:
    """The seats of `heads` and of `levels` levels below each, in tree order, (n,) int32."""
    seats = np.empty(int(_walk_within(tree, heads, levels, np.empty(0, dtype=np.int32))), dtype=np.int32)
    if len(seats):
        _walk_within(tree, heads, levels, seats)
    return seats
