"""Kernels that change the place of one member: moves, removals, and the return to an empty place.

Each leaves links, spans, levels, counts, group volumes, counters and digest exact, under any depth. What it costs: the
uplines it touches, and for a changed level the downline that it changes for. The caller has checked that it is allowed.
"""

from __future__ import annotations

import numpy as np

from services.shared.domain.limits import NO_DAY
from services.treenode.tree.columns.digest import place_digest, placement_fact, profile_fact, sponsor_fact, volume_fact
from services.treenode.tree.columns.ids import key_at, remove_row
from services.treenode.tree.kernels.kernel import Int32s, UInt8s, inlined, inner, kernel, whole
from services.treenode.tree.kernels.legs import forget_legs, give_legs, note_leg
from services.treenode.tree.kernels.links import (
    FREE,
    TOP,
    Genealogy,
    add_counts,
    add_volume,
    can_be_added,
    can_be_taken,
    first_child,
    link_last,
    mark_dirty,
    seat_at,
    shift_levels,
    sum_fits,
    unlink,
)
from services.treenode.tree.kernels.walks import children_of
from services.treenode.tree.store import (
    CHANGES,
    FREE_HEAD,
    NOBODY,
    PLACES,
    SAFE_MAGNITUDE,
    Store,
    tally,
)


@inner
def common_ancestor(tree: Genealogy, left: int, right: int) -> int:
    """The lowest seat that is, or is above, both; TOP where there is none."""
    while left >= 0 and right >= 0 and left != right:
        if tree.level[left] >= tree.level[right]:
            left = whole(tree.parent[left])
        else:
            right = whole(tree.parent[right])
    return left if left == right else whole(TOP)


@kernel
def move_fits(store: Store, tree: Genealogy, seat: int, above: int) -> bool:
    """Whether no group total would overflow if `seat` went below `above`."""
    before = whole(tree.parent[seat])
    common = common_ancestor(tree, before, above)
    for slot in range(tree.group.shape[0]):
        if store.magnitudes[slot] < SAFE_MAGNITUDE:
            continue
        amount = tree.group[slot, seat]
        if not can_be_taken(tree, slot, before, amount, common) or not can_be_added(tree, slot, above, amount, common):
            return False
    return True


@kernel
def removal_fits(store: Store, row: int) -> bool:
    """Whether no group total would overflow if the row's personal volume went."""
    sponsor = whole(store.sponsor.parent[row])
    above = whole(store.placement.parent[seat_at(store.placement, row)])
    for slot in range(store.personal.shape[0]):
        if store.magnitudes[slot] < SAFE_MAGNITUDE:
            continue
        amount = whole(store.personal[slot, row])
        if not can_be_taken(store.sponsor, slot, sponsor, amount, TOP):
            return False
        if not can_be_taken(store.placement, slot, above, amount, TOP):
            return False
    return True


@kernel
def heir_of(store: Store, row: int) -> int:
    """The first member above a row in the sponsor tree, to whom its volume can go; -1 where nobody is above."""
    above = whole(store.sponsor.parent[row])
    while above >= 0 and store.kind[above] == NOBODY:
        above = whole(store.sponsor.parent[above])
    return above if above >= 0 else whole(-1)


@inlined
def _shift_fits(store: Store, tree: Genealogy, row: int, heir: int) -> bool:
    own = seat_at(tree, row)
    before = whole(tree.parent[own])
    after = seat_at(tree, heir)
    common = common_ancestor(tree, before, after)
    for slot in range(store.personal.shape[0]):
        amount = whole(store.personal[slot, row])
        if amount == 0 or store.magnitudes[slot] < SAFE_MAGNITUDE:
            continue
        if not can_be_taken(tree, slot, before, amount, common):
            return False
        seat = after
        while seat != common:
            # The heir may be placed below the row, whose own total goes.
            if seat != own and not sum_fits(tree.group[slot, seat], amount):
                return False
            seat = whole(tree.parent[seat])
    return True


@kernel
def volume_can_roll_up(store: Store, row: int, heir: int) -> bool:
    """Whether no total would overflow if the row's personal volume became the heir's, and the row went."""
    for slot in range(store.personal.shape[0]):
        if not sum_fits(store.personal[slot, heir], store.personal[slot, row]):
            return False
    return _shift_fits(store, store.sponsor, row, heir) and _shift_fits(store, store.placement, row, heir)


@inlined
def _shift_volume(store: Store, tree: Genealogy, row: int, heir: int) -> None:
    """Takes the row's personal volume from the group volumes above it, and adds it to the heir's and those above that.
    The row's own stays: it goes."""
    before = whole(tree.parent[seat_at(tree, row)])
    after = seat_at(tree, heir)
    common = common_ancestor(tree, before, after)
    for slot in range(store.personal.shape[0]):
        amount = whole(store.personal[slot, row])
        if amount == 0:
            continue
        seat = before
        while seat != common:
            tree.group[slot, seat] -= amount
            seat = whole(tree.parent[seat])
        seat = after
        while seat != common:
            tree.group[slot, seat] += amount
            seat = whole(tree.parent[seat])


@kernel
def roll_up_volume(store: Store, row: int, heir: int) -> None:
    """Makes the row's personal volume the heir's, who stands above it in the sponsor tree; the row is removed next."""
    _shift_volume(store, store.sponsor, row, heir)
    _shift_volume(store, store.placement, row, heir)
    key, heir_key = key_at(store.ids.words, row), key_at(store.ids.words, heir)
    for slot in range(store.personal.shape[0]):
        amount = whole(store.personal[slot, row])
        if amount == 0:
            continue
        digest = store.digests[0] - volume_fact(store, slot, row, key) - volume_fact(store, slot, heir, heir_key)
        store.personal[slot, row] = 0
        store.personal[slot, heir] += amount
        store.digests[0] = digest + volume_fact(store, slot, heir, heir_key)


@inner
def _move_seat(tree: Genealogy, seat: int, above: int, present: int) -> None:
    """Puts `seat`, with its downline, below the seat `above` or at the top. `present`: 0 for an empty place, else 1."""
    before = whole(tree.parent[seat])
    if before == above:
        return
    members = whole(tree.members[seat]) + present
    mark_dirty(tree, before)
    mark_dirty(tree, above)
    unlink(tree, seat)
    add_counts(tree, before, -members)
    link_last(tree, above, seat)
    add_counts(tree, above, members)
    for slot in range(tree.group.shape[0]):
        amount = tree.group[slot, seat]
        if amount != 0:
            add_volume(tree, slot, before, -amount)
            add_volume(tree, slot, above, amount)
    levels = (whole(tree.level[above]) + 1 if above >= 0 else whole(0)) - whole(tree.level[seat])
    if levels != 0:
        shift_levels(tree, seat, levels)


@kernel
def move_sponsor(store: Store, row: int, above: int) -> None:
    """Gives a place another sponsor: a row, or TOP."""
    key = key_at(store.ids.words, row)
    tally(store, row, -1)
    digest = store.digests[0] - sponsor_fact(store, row, key)
    _move_seat(store.sponsor, row, above, 0 if store.kind[row] == NOBODY else 1)
    store.digests[0] = digest + sponsor_fact(store, row, key)
    store.counters[CHANGES] += 1
    tally(store, row, 1)


@kernel
def move_placement(store: Store, row: int, above_row: int, leg: int) -> None:
    """Gives a place another placement: a row and a free leg of it, or TOP and 0."""
    tree = store.placement
    key = key_at(store.ids.words, row)
    tally(store, row, -1)
    digest = store.digests[0] - placement_fact(store, row, key)
    above = seat_at(tree, above_row) if above_row >= 0 else whole(TOP)
    seat = seat_at(tree, row)
    forget_legs(store, whole(tree.parent[seat]))
    _move_seat(tree, seat, above, 0 if store.kind[row] == NOBODY else 1)
    store.leg[row] = leg
    note_leg(store, above, leg)
    store.digests[0] = digest + placement_fact(store, row, key)
    store.counters[CHANGES] += 1
    tally(store, row, 1)


@kernel
def set_profile(store: Store, row: int, kind: int, status: int, rank: int, joined_on: int) -> None:
    """Sets a place's profile, and counts it in or out of its uplines where it becomes a member or empty."""
    key = key_at(store.ids.words, row)
    tally(store, row, -1)
    arrives = (0 if kind == NOBODY else 1) - (0 if store.kind[row] == NOBODY else 1)
    digest = store.digests[0] - profile_fact(store, row, key)
    store.kind[row] = kind
    store.status[row] = status
    store.rank[row] = rank
    store.joined_on[row] = joined_on
    store.digests[0] = digest + profile_fact(store, row, key)
    if arrives != 0:
        add_counts(store.sponsor, whole(store.sponsor.parent[row]), arrives)
        placement = store.placement
        add_counts(placement, whole(placement.parent[seat_at(placement, row)]), arrives)
    tally(store, row, 1)


@inner
def _replace_by_children(tree: Genealogy, seat: int) -> None:
    """Puts the children of `seat` (dirty, as all above it) in its place among its parent's children."""
    first = first_child(tree, seat)
    if first < 0:
        unlink(tree, seat)
        return
    parent = whole(tree.parent[seat])
    head = whole(tree.top[0]) if parent < 0 else first_child(tree, parent)
    tail = whole(tree.preceding[head])
    before = whole(tree.preceding[seat])
    after = whole(tree.following[seat])
    last = whole(tree.preceding[first])
    child = first
    while child >= 0:
        tree.parent[child] = parent
        shift_levels(tree, child, -1)
        child = whole(tree.following[child])
    tree.following[last] = after
    if after >= 0:
        tree.preceding[after] = last
    if head != seat:
        tree.following[before] = first
        tree.preceding[first] = before
    else:
        head = first
        if parent < 0:
            tree.top[0] = first
        else:
            tree.span[parent] = -1 - first
    tree.preceding[head] = last if after < 0 else tail


@inner
def _facts_of(store: Store, rows: Int32s, sponsored: bool) -> np.uint64:
    """The sum of what the rows say about their parent in one tree."""
    total = np.uint64(0)
    for index in range(rows.shape[0]):
        key = key_at(store.ids.words, rows[index])
        total += sponsor_fact(store, rows[index], key) if sponsored else placement_fact(store, rows[index], key)
    return total


@inner
def _lift_out(store: Store, tree: Genealogy, seat: int, row: int) -> None:
    """Takes a member out of one tree; its children go up to its parent there."""
    parent = whole(tree.parent[seat])
    mark_dirty(tree, seat)
    for slot in range(store.personal.shape[0]):
        amount = whole(store.personal[slot, row])
        if amount != 0:
            add_volume(tree, slot, parent, -amount)
    add_counts(tree, parent, -1)
    _replace_by_children(tree, seat)
    tree.parent[seat] = FREE


@kernel
def _remove(store: Store, row: int, sponsored: Int32s, placed: Int32s, taken: UInt8s) -> None:
    """See remove_member. `placed` in order of their legs; `taken`: see give_legs."""
    seat = seat_at(store.placement, row)
    above = whole(store.placement.parent[seat])
    tally(store, row, -1)
    store.digests[0] -= place_digest(store, row, key_at(store.ids.words, row))
    store.digests[0] -= _facts_of(store, sponsored, True) + _facts_of(store, placed, False)
    for child in sponsored:
        tally(store, child, -1)
    _lift_out(store, store.sponsor, row, row)
    for child in sponsored:
        tally(store, child, 1)
    for child in placed:
        tally(store, child, -1)
    forget_legs(store, seat)
    _lift_out(store, store.placement, seat, row)
    for child in placed:
        tally(store, child, 1)
    give_legs(store, above, placed, store.leg[row], taken)
    store.digests[0] += _facts_of(store, sponsored, True) + _facts_of(store, placed, False)
    _free_row(store, row, seat)


@inner
def _free_row(store: Store, row: int, seat: int) -> None:
    """Makes the row of a place that is in no tree any more ready for another one."""
    remove_row(store.ids, row)
    for column in range(store.ids.words.shape[1]):
        store.ids.words[row, column] = 0
    store.kind[row] = NOBODY
    store.status[row] = 0
    store.rank[row] = 0
    store.joined_on[row] = NO_DAY
    store.leg[row] = 0
    for slot in range(store.personal.shape[0]):
        store.personal[slot, row] = 0
        store.sponsor.group[slot, row] = 0
        store.placement.group[slot, seat] = 0
    store.sponsor.following[row] = store.counters[FREE_HEAD]
    store.counters[FREE_HEAD] = row
    store.counters[PLACES] -= 1
    store.counters[CHANGES] += 1


def remove_member(store: Store, row: int) -> None:
    """Takes a member out for good; its front lines go up to its own sponsor and placement.

    Placed children take the removed one's leg (the one with the lowest leg), or the first free ones, in order of their
    legs; those without a leg stay without.
    """
    placement = store.placement
    seat = int(placement.seat_of[row])
    placed = placement.row_at[children_of(placement, seat)]
    placed = placed[np.argsort(store.leg[placed], kind="stable")]
    above = int(placement.parent[seat])
    siblings = len(children_of(placement, above)) if above >= 0 else 0
    taken = np.zeros(siblings + len(placed) + 2, dtype=np.uint8)
    _remove(store, row, children_of(store.sponsor, row), placed, taken)
