"""Where the members of a downline stand: ranges of seats, in tree order, without a look at each member.

A range is a clean seat with its whole downline, a single dirty seat, or several roots that lie side by side with
theirs. An untouched downline is one range; each change since the layout adds a few.
"""

from __future__ import annotations

import numpy as np

from services.treenode.tree.kernels.kernel import Int32s, Int64s, UInt8s, Whole, kernel, whole
from services.treenode.tree.kernels.links import Genealogy, first_child, next_in_walk, row_of


@kernel
def _walk(tree: Genealogy, head: Whole, ranges: Int64s, at: Whole) -> Whole:
    """Writes the ranges of a downline, its head's first, to ranges[at:], as far as they go; where they end."""
    seat = whole(head)
    while seat >= 0:
        span = whole(tree.span[seat])
        if at < ranges.shape[0]:
            ranges[at, 0] = seat
            ranges[at, 1] = span if span > 0 else seat + 1
        at += 1
        if span > 0:
            seat = next_in_walk(tree, seat, head)
        else:
            child = first_child(tree, seat)
            seat = child if child >= 0 else next_in_walk(tree, seat, head)
    return at


@kernel
def _walk_all(tree: Genealogy, hidden: UInt8s, ranges: Int64s) -> Whole:
    """Writes the ranges of every root that is not hidden (by row), as far as they go; how many there are."""
    at = whole(0)
    head = whole(tree.top[0])
    joined = False
    while head >= 0:
        if hidden.shape[0] == 0 or hidden[row_of(tree, head)] == 0:
            span = whole(tree.span[head])
            if joined and span > 0 and at <= ranges.shape[0] and ranges[at - 1, 1] == head:
                ranges[at - 1, 1] = span
            else:
                at = _walk(tree, head, ranges, at)
            joined = span > 0
        head = whole(tree.following[head])
    return at


def downline_ranges(tree: Genealogy, head: int) -> Int64s:
    """Ranges of a seat and its whole downline, int64[k, 2]: seats from … to before, in tree order."""
    capacity = 64
    while True:
        ranges = np.empty((capacity, 2), np.int64)
        count = int(_walk(tree, head, ranges, 0))
        if count <= capacity:
            return ranges[:count]
        capacity = count


def all_ranges(tree: Genealogy, hidden: UInt8s) -> Int64s:
    """Ranges of every root's downline. `hidden`: by row, not 0 for roots to leave out; of length 0: none."""
    capacity = 64
    while True:
        ranges = np.empty((capacity, 2), np.int64)
        count = int(_walk_all(tree, hidden, ranges))
        if count <= capacity:
            return ranges[:count]
        capacity = count


def single_ranges(seats: Int32s) -> Int64s:
    """Each seat as a range of its own."""
    ranges = np.empty((len(seats), 2), np.int64)
    ranges[:, 0] = seats
    ranges[:, 1] = ranges[:, 0] + 1
    return ranges


def hidden_by_row(sponsor: Genealogy, used: int) -> UInt8s:
    """For walks of the whole placement tree: members with a sponsor; those of them without a placement are no roots of
    it but in the holding tank, with whatever is placed below them."""
    parents: Int32s = sponsor.parent[:used]
    return (parents >= 0).astype(np.uint8)
