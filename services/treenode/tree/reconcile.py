"""How a new tree differs from the one that it replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.treenode.tree.columns.ids import find_row
from services.treenode.tree.kernels.kernel import Int32s, UInt32s, inlined, kernel
from services.treenode.tree.kernels.links import row_of, seat_at
from services.treenode.tree.store import NOBODY, Store

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree


@dataclass(frozen=True)
class Reconciliation:
    """The figures of fasttree.v1.Reconciliation, from the tree before to the tree after."""

    members_added: int
    members_removed: int
    #: With another sponsor or placement.
    members_moved: int
    #: With another personal volume in some type and period; types and periods of one tree only count as 0 in the other.
    volumes_changed: int
    #: Sum of the absolute differences of personal volume of the members of both, in hundredths; 2**63 - 1 at most.
    volume_difference_hundredths: int
    members_before: int
    members_after: int


def reconcile(before: Tree, after: Tree) -> Reconciliation:
    """Compares two trees, both at one position."""
    pairs = np.empty(after.store.used, dtype=np.int32)
    common = int(_pair(before.store, after.store, after.store.used, pairs))
    changed, difference = _volumes(before, after, pairs)
    return Reconciliation(
        members_added=after.member_count - common,
        members_removed=before.member_count - common,
        members_moved=int(_moved(before.store, after.store, pairs)),
        volumes_changed=changed,
        volume_difference_hundredths=min(difference, 2**63 - 1),
        members_before=before.member_count,
        members_after=after.member_count,
    )


@kernel
def _pair(before: Store, after: Store, used: int, pairs: Int32s) -> int:
    """Fills `pairs` with the row before of each row after, or -1; how many members are in both."""
    common = 0
    for row in range(used):
        pairs[row] = -1
        if after.kind[row] == NOBODY:
            continue
        other = find_row(before.ids, after.ids.words, row)
        if other >= 0 and before.kind[other] != NOBODY:
            pairs[row] = other
            common += 1
    return common


@inlined
def _same_id(left: UInt32s, left_row: int, right: UInt32s, right_row: int) -> bool:
    if left_row < 0 or right_row < 0:
        return left_row < 0 and right_row < 0
    for column in range(max(left.shape[1], right.shape[1])):
        word = left[left_row, column] if column < left.shape[1] else np.uint32(0)
        other = right[right_row, column] if column < right.shape[1] else np.uint32(0)
        if word != other:
            return False
    return True


@inlined
def _placement_row(store: Store, row: int) -> int:
    seat = store.placement.parent[seat_at(store.placement, row)]
    return row_of(store.placement, seat) if seat >= 0 else -1


@kernel
def _moved(before: Store, after: Store, pairs: Int32s) -> int:
    moved = 0
    for row in range(pairs.shape[0]):
        other = pairs[row]
        if other < 0:
            continue
        same_sponsor = _same_id(
            before.ids.words, before.sponsor.parent[other], after.ids.words, after.sponsor.parent[row]
        )
        same_placement = _same_id(
            before.ids.words, _placement_row(before, other), after.ids.words, _placement_row(after, row)
        )
        if not same_sponsor or not same_placement:
            moved += 1
    return moved


def _volumes(before: Tree, after: Tree, pairs: Int32s) -> tuple[int, int]:
    """Members of both with another volume, and the sum of the absolute differences."""
    both = np.flatnonzero(pairs >= 0)
    others = pairs[both]
    changed = np.zeros(len(both), dtype=np.bool_)
    difference = 0
    slots_before, slots_after = dict(before.slots.in_order), dict(after.slots.in_order)
    for key in dict.fromkeys((*slots_before, *slots_after)):
        amounts = [
            tree.store.personal[slots[key], rows] if key in slots else np.zeros(len(both), dtype=np.int64)
            for tree, slots, rows in ((before, slots_before, others), (after, slots_after, both))
        ]
        different = amounts[0] != amounts[1]
        changed |= different
        for left, right in zip(amounts[0][different].tolist(), amounts[1][different].tolist(), strict=True):
            difference += abs(left - right)
    return int(np.count_nonzero(changed)), difference
