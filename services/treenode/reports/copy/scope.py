"""What a leader sees: himself and his downline in the tree that a report walks, as that tree is when it answers.

Every member that a report asks for is looked up within it, and every row that leaves is held against it once more where
rows are copied; ids of others above, which columns would show, are blanked there. Whoever stands outside is nobody:
asked for by id, he gets the answer of an id that no member has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.treenode.tree import Tree
from services.treenode.tree.columns.ids import find_one, packed_id
from services.treenode.tree.kernels.kernel import Int32s, Int64s
from services.treenode.tree.kernels.links import Genealogy
from services.treenode.tree.kernels.within import are_within
from services.treenode.tree.store import NOBODY


class BeyondScopeError(Exception):
    """A report was about to show a member whom its caller may not see: a fault of ours, and no row leaves."""


@dataclass(frozen=True)
class Scope:
    """One leader's, in one tree at one moment."""

    walked: Genealogy
    #: His seat; -1 where no member has his id: then he sees nobody.
    head: int

    def sees(self, seats: Int32s) -> NDArray[np.bool_]:
        """Of each seat, whether he sees it; of -1, that he does not."""
        if self.head < 0:
            return np.zeros(len(seats), np.bool_)
        return are_within(self.walked, self.head, seats)

    @property
    def level(self) -> int:
        """His own: nobody tells him how many stand above him."""
        return int(self.walked.level[self.head]) if self.head >= 0 else 0

    def cut(self, upline: Int32s) -> Int32s:
        """What he sees of an upline of one of his, nearest first: up to himself."""
        count = int(np.count_nonzero(self.sees(upline)))
        found: Int32s = upline[:count]
        return found

    def check(self, ranges: Int64s) -> None:
        """Raises BeyondScopeError where he does not see every seat of the ranges. Each of them is a seat, or some that
        lie side by side with their whole downlines: he sees all of it, or not both of its ends."""
        ends = np.concatenate((ranges[:, 0], ranges[:, 1] - 1)).astype(np.int32)
        if not self.sees(ends).all():
            raise BeyondScopeError("a report went beyond the downline of its caller")

    def hide_above(self, ranges: Int64s, above: Int32s, other: Genealogy, elsewhere: Int32s) -> None:
        """Blanks in the copies of parents, by seat (in the walked tree, in the other one; of length 0: not copied),
        those whom he does not see."""
        own = self.walked
        if len(above) or len(elsewhere):
            seats = _seats_of(ranges)
        if len(above):
            above[~self.sees(own.parent[seats])] = -1
        if len(elsewhere):
            rows = own.row_at[seats] if len(own.row_at) else seats
            parents = other.parent[other.seat_of[rows] if len(other.seat_of) else rows]
            known = parents >= 0
            rows = np.where(known, parents, 0)
            rows = other.row_at[rows] if len(other.row_at) else rows
            seen = self.sees(own.seat_of[rows] if len(own.seat_of) else rows)
            elsewhere[~(known & seen)] = -1


def _seats_of(ranges: Int64s) -> Int32s:
    sizes = ranges[:, 1] - ranges[:, 0]
    before = np.cumsum(sizes) - sizes
    seats: Int32s = (np.arange(int(sizes.sum())) + np.repeat(ranges[:, 0] - before, sizes)).astype(np.int32)
    return seats


def scope_of(tree: Tree, walked: Genealogy, leads: str) -> Scope:
    """Of the member with that id."""
    row = int(find_one(tree.store.ids, packed_id(leads)))
    if row < 0 or tree.store.kind[row] == NOBODY:
        return Scope(walked, -1)
    return Scope(walked, int(walked.seat_of[row]) if len(walked.seat_of) else row)
