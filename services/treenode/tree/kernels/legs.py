"""Legs of the placement tree: which of a member's legs are taken, and the first free one.

Nothing is kept by member for this: the children of the one in question are looked through. Only where many enrol under
one member without naming legs would that be slow, so the legs of the members asked about last are remembered while they
are 1 to n without a gap: `Store.dense_legs` holds (seat + 1, n + 1) at `seat % DENSE_LEGS`.
"""

from __future__ import annotations

import numpy as np

from services.treenode.tree.kernels.kernel import Int32s, UInt8s, inlined, inner, kernel, whole
from services.treenode.tree.kernels.links import first_child
from services.treenode.tree.store import DENSE_LEGS, Store

_ONE = np.uint64(1)
_NONE = np.uint64(0)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@inlined
def _known_dense(store: Store, above: int) -> int:
    """One more than the number of legs below the seat `above`, where they are known to be without a gap; else 0."""
    entry = above % DENSE_LEGS
    if store.dense_legs[entry, 0] != above + 1:
        return 0
    return whole(store.dense_legs[entry, 1])


@inlined
def forget_legs(store: Store, above: int) -> None:
    """To be called before the seat `above` loses a child. TOP is fine."""
    if above >= 0 and store.dense_legs[above % DENSE_LEGS, 0] == above + 1:
        store.dense_legs[above % DENSE_LEGS, 0] = 0


@inlined
def note_leg(store: Store, above: int, leg: int) -> None:
    """To be called when the seat `above` gets a child on a leg. TOP is fine."""
    if above < 0:
        return
    dense = _known_dense(store, above)
    if dense > 0 and leg == dense:
        store.dense_legs[above % DENSE_LEGS, 1] = dense + 1
    elif leg != 0:
        forget_legs(store, above)


@inlined
def leg_is_taken(store: Store, above: int, leg: int) -> bool:
    """Whether a child of the seat `above` heads that leg, from 1."""
    dense = _known_dense(store, above)
    if dense > 0:
        return leg < dense
    tree = store.placement
    seat = first_child(tree, above)
    while seat >= 0:
        if store.leg[tree.row_at[seat]] == leg:
            return True
        seat = whole(tree.following[seat])
    return False


@inner
def _first_gap(store: Store, above: int) -> int:
    """The smallest leg that no child of the seat `above` heads, by windows of 64 legs."""
    tree = store.placement
    base = 1
    while True:
        taken = _NONE
        seat = first_child(tree, above)
        while seat >= 0:
            leg = whole(store.leg[tree.row_at[seat]]) - base
            if 0 <= leg < 64:
                taken |= _ONE << np.uint64(leg)
            seat = whole(tree.following[seat])
        if taken != _ALL:
            free = 0
            while (taken >> np.uint64(free)) & _ONE != _NONE:
                free += 1
            return base + free
        base += 64


@inner
def first_free_leg(store: Store, above: int) -> int:
    """The smallest leg, from 1, that no child of the seat `above` heads."""
    dense = _known_dense(store, above)
    if dense > 0:
        return dense
    tree = store.placement
    taken = 0
    highest = 0
    seat = first_child(tree, above)
    while seat >= 0:
        leg = whole(store.leg[tree.row_at[seat]])
        if leg > 0:
            taken += 1
            highest = max(highest, leg)
        seat = whole(tree.following[seat])
    # No two have the same leg, so there is a gap only if the highest is beyond their number.
    if highest > taken:
        return _first_gap(store, above)
    store.dense_legs[above % DENSE_LEGS, 0] = above + 1
    store.dense_legs[above % DENSE_LEGS, 1] = taken + 1
    return taken + 1


@inlined
def leg_to_take(store: Store, above: int, wanted: int) -> int:
    """The leg `wanted` below the seat `above`, or the first free one where 0; -1 where it is taken."""
    if wanted == 0:
        return first_free_leg(store, above)
    if leg_is_taken(store, above, wanted):
        return -1
    return whole(wanted)


@kernel
def choose_leg(store: Store, above: int, wanted: int) -> int:
    """leg_to_take, for callers that are no kernels."""
    return leg_to_take(store, above, wanted)


@inner
def give_legs(store: Store, above: int, rows: Int32s, vacated: int, taken: UInt8s) -> None:
    """Gives legs of the seat `above` (or TOP: none) to `rows`, children of it now that came from another parent.

    `rows` come in order of their old legs: the first takes the leg `vacated` where that is not 0, the others the first
    free ones. A child without a leg stays without. `taken`: zeros, two more than `above` has children; work space.
    """
    if above >= 0:
        forget_legs(store, above)
        # Their old legs must not count below the new parent: they are marked by a minus sign.
        for row in rows:
            store.leg[row] = -store.leg[row]
        tree = store.placement
        seat = first_child(tree, above)
        while seat >= 0:
            leg = store.leg[tree.row_at[seat]]
            if 0 <= leg < taken.shape[0]:
                taken[leg] = 1
            seat = whole(tree.following[seat])
    free = 1
    for row in rows:
        if above < 0:
            store.leg[row] = 0
        elif store.leg[row] < 0 and vacated > 0:
            store.leg[row] = vacated
            if vacated < taken.shape[0]:
                taken[vacated] = 1
            vacated = 0
        elif store.leg[row] < 0:
            while taken[free]:
                free += 1
            store.leg[row] = free
            taken[free] = 1
