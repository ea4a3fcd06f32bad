"""Checks what rows say of each other: cycles, and legs that are taken twice. Nothing here recurses."""

from __future__ import annotations

import numpy as np

from services.treenode.tree.kernels.kernel import Int32s, UInt8s, UInt64s, kernel

#: Legs up to this one have a bit of their own in leg_masks.
MASKED_LEGS = 64


@kernel
def mark_cycles(parents: Int32s, walk: Int32s, on_cycle: UInt8s) -> int:
    """Finds the rows that are above themselves.

    parents: the row above each, negative for none. walk: (rows,) of -1, filled with the row from which each was first
    walked over. on_cycle: (rows,) zeros, filled with 1 for each row on a cycle. Returns how many there are. Each row
    is walked over once.
    """
    count = 0
    for start in range(parents.size):
        row = start
        while row >= 0 and walk[row] < 0:
            walk[row] = start
            row = parents[row]
        # A row of this very walk was met again: what lies between is a cycle. Of an earlier walk: already judged.
        if row >= 0 and walk[row] == start and on_cycle[row] == 0:
            while on_cycle[row] == 0:
                on_cycle[row] = 1
                count += 1
                row = parents[row]
    return count


@kernel
def legs_are_free(placement: Int32s, legs: Int32s, leg_masks: UInt64s) -> bool:
    """Whether no leg from 1 to MASKED_LEGS is taken twice. leg_masks: (rows,) zeros, a bit a leg."""
    for row in range(placement.size):
        above, leg = placement[row], legs[row]
        if above >= 0 and leg >= 1 and leg <= MASKED_LEGS:
            bit = np.uint64(1) << np.uint64(leg - 1)
            if leg_masks[above] & bit:
                return False
            leg_masks[above] |= bit
    return True
