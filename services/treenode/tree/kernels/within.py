"""Who stands within a downline, of members wherever they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.treenode.tree.kernels.kernel import Int32s, UInt8s, Whole, kernel, whole
from services.treenode.tree.kernels.links import Genealogy
from services.treenode.tree.kernels.ranges import downline_ranges

#: Up to so many seats it is cheaper to climb from each than to look at the whole tree once.
_CLIMBED_MAX = 4_096


@kernel
def _climb(tree: Genealogy, head: Whole, seats: Int32s, found: UInt8s) -> None:
    """Notes of each seat whether it is the head or below it; -1 is neither."""
    level = tree.level[head]
    for place in range(seats.shape[0]):
        seat = whole(seats[place])
        while seat >= 0 and seat != head and tree.level[seat] > level:
            seat = whole(tree.parent[seat])
        found[place] = seat == head


def are_within(tree: Genealogy, head: int, seats: Int32s) -> NDArray[np.bool_]:
    """Of each seat, whether it is `head` or in its downline, (n,) bool; of -1, that it is not."""
    span = int(tree.span[head])
    if span > 0:  # clean: its downline is one range
        return (seats >= head) & (seats < span)
    if len(seats) <= _CLIMBED_MAX:
        found = np.empty(len(seats), np.uint8)
        _climb(tree, head, seats, found)
        return found.astype(np.bool_)
    steps = np.zeros(len(tree.parent) + 2, np.int8)
    ranges = downline_ranges(tree, head)
    steps[ranges[:, 0]] += 1  # no two begin, and no two end, at one seat
    steps[ranges[:, 1]] -= 1
    inside = np.cumsum(steps, dtype=np.int8) > 0
    inside[-1] = False  # what -1 leads to
    return inside[seats]
