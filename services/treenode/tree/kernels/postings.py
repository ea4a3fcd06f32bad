"""Kernels that take updates in by the batch: orders and enrolments, the two that come by the thousand.

Each stops at the first update that is not plain and says where; the caller deals with that one (holds it, rejects it)
and calls again. So a batch is never half of an update, and all is done in the order of the log.
"""

from __future__ import annotations

import numpy as np

from services.shared.domain.limits import AMOUNT_MAX
from services.treenode.tree.columns.digest import place_digest, record_digest, volume_fact
from services.treenode.tree.columns.ids import find_key, find_row, insert_row, key_at
from services.treenode.tree.kernels.kernel import Int32s, Int64s, UInt32s, inlined, kernel, whole
from services.treenode.tree.kernels.legs import leg_to_take, note_leg
from services.treenode.tree.kernels.links import (
    TOP,
    Genealogy,
    add_counts,
    add_volume,
    can_be_added,
    link_last,
    mark_dirty,
    seat_at,
    sum_fits,
)
from services.treenode.tree.store import (
    CHANGES,
    FREE_HEAD,
    NARROW_MAX,
    NARROW_MIN,
    NOBODY,
    PLACES,
    POSITION,
    SAFE_MAGNITUDE,
    USED,
    Store,
    tally,
)


@inlined
def volume_can_be_added(store: Store, slot: int, row: int, amount: int) -> bool:
    """Whether no total of `row` or above it, in either tree, would overflow."""
    if store.magnitudes[slot] + abs(float(amount)) < SAFE_MAGNITUDE:
        return True
    return (
        amount >= -AMOUNT_MAX
        and sum_fits(store.personal[slot, row], amount)
        and can_be_added(store.sponsor, slot, row, amount, TOP)
        and can_be_added(store.placement, slot, seat_at(store.placement, row), amount, TOP)
    )


@kernel
def post_volumes(store: Store, asked: UInt32s, slots: Int32s, amounts: Int64s, begin: int, step: int) -> int:
    """Takes orders in, from index `begin` on; the index of the first that is not plain, or their number.

    `asked`: (n, width) ids; `slots`: (n,), -1 for one that is not open; `amounts`: (n,) hundredths. Each order moves
    the position by `step`. Not plain: no such member, no such slot, a total that would overflow or needs wider columns.
    """
    position = store.counters[POSITION]
    index = begin
    while index < asked.shape[0]:
        key = key_at(asked, index)
        row = find_key(store.ids, key, asked, index)
        slot = whole(slots[index])
        if row < 0 or slot < 0 or store.kind[row] == NOBODY:
            break
        amount = whole(amounts[index])
        if store.personal.itemsize == 4 and not NARROW_MIN <= store.personal[slot, row] + amount <= NARROW_MAX:
            break
        if not volume_can_be_added(store, slot, row, amount):
            break
        digest = store.digests[0] - volume_fact(store, slot, row, key)
        store.personal[slot, row] += amount
        store.digests[0] = digest + volume_fact(store, slot, row, key)
        store.magnitudes[slot] += abs(float(amount))
        add_volume(store.sponsor, slot, row, amount)
        add_volume(store.placement, slot, seat_at(store.placement, row), amount)
        position += step
        record_digest(store, position)
        index += 1
    store.counters[POSITION] = position
    return index


@inlined
def take_row(store: Store) -> int:
    """A row for a new place: one that became free, or the next one. There must be spare capacity."""
    row = store.counters[FREE_HEAD]
    if row >= 0:
        store.counters[FREE_HEAD] = store.sponsor.following[row]
        return whole(row)
    row = store.counters[USED]
    store.counters[USED] = row + 1
    store.placement.seat_of[row] = row
    store.placement.row_at[row] = row
    return whole(row)


@inlined
def seat_new(tree: Genealogy, seat: int, above: int) -> None:
    """Gives a new member its seat below the seat `above`, or at the top."""
    mark_dirty(tree, above)
    link_last(tree, above, seat)
    tree.span[seat] = seat + 1
    tree.members[seat] = 0
    tree.level[seat] = tree.level[above] + 1 if above >= 0 else 0
    for slot in range(tree.group.shape[0]):
        tree.group[slot, seat] = 0
    add_counts(tree, above, 1)


@inlined
def enrol_one(
    store: Store, asked: UInt32s, index: int, sponsor_row: int, placement_row: int, leg: int, profile: Int32s
) -> int:
    """Takes a new member in, whose id is in asked[index] and known to nobody; its row. There must be spare capacity.

    `profile`: (n, 4) int32: kind, status code, rank, joined day.
    """
    row = take_row(store)
    words = store.ids.words
    for column in range(words.shape[1]):
        words[row, column] = asked[index, column] if column < asked.shape[1] else np.uint32(0)
    store.kind[row] = profile[index, 0]
    store.status[row] = profile[index, 1]
    store.rank[row] = profile[index, 2]
    store.joined_on[row] = profile[index, 3]
    store.leg[row] = leg
    for slot in range(store.personal.shape[0]):
        store.personal[slot, row] = 0
    placement = store.placement
    seat_new(store.sponsor, row, sponsor_row)
    above = seat_at(placement, placement_row) if placement_row >= 0 else TOP
    seat_new(placement, seat_at(placement, row), above)
    note_leg(store, above, leg)
    key = key_at(words, row)
    insert_row(store.ids, row, key)
    store.counters[PLACES] += 1
    store.counters[CHANGES] += 1
    tally(store, row, 1)
    store.digests[0] += place_digest(store, row, key)
    return row


@inlined
def _member_row(store: Store, asked: UInt32s, index: int) -> int:
    """Row of the member named, -1 for the empty id, -2 where no member has it."""
    if asked[index, 0] == 0:
        return whole(-1)
    row = find_row(store.ids, asked, index)
    if row < 0 or store.kind[row] == NOBODY:
        return whole(-2)
    return row


@kernel
def enrol_members(
    store: Store,
    asked: UInt32s,
    sponsors: UInt32s,
    placements: UInt32s,
    legs: Int32s,
    profile: Int32s,
    rows: Int32s,
    begin: int,
    step: int,
) -> int:
    """Takes new members in, from index `begin` on; the index of the first that is not plain, or their number.

    `asked`, `sponsors`, `placements`: (n, width) ids, empty where there is none; `legs`: (n,), 0 for the first free
    one; `profile`: (n, 4) int32: kind, status code, rank, joined day; `rows`: (n,), filled. Each enrolment moves the
    position by `step`. Not plain: an id that a place has already, a sponsor or placement that no member has, a taken
    leg.
    """
    position = store.counters[POSITION]
    index = begin
    while index < asked.shape[0]:
        sponsor_row = _member_row(store, sponsors, index)
        placement_row = _member_row(store, placements, index)
        if sponsor_row == -2 or placement_row == -2 or find_row(store.ids, asked, index) >= 0:
            break
        leg = whole(0)
        if placement_row >= 0:
            leg = leg_to_take(store, seat_at(store.placement, placement_row), legs[index])
            if leg < 0:
                break
        rows[index] = enrol_one(store, asked, index, sponsor_row, placement_row, leg, profile)
        position += step
        record_digest(store, position)
        index += 1
    store.counters[POSITION] = position
    return index
