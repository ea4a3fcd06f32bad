"""Proves every invariant that binds a tree's columns, by computing each derived figure anew from the base facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.treenode.tree.building.layout import derive_links, empty_genealogy, preorder, roll_up
from services.treenode.tree.columns.digest import place_digests
from services.treenode.tree.columns.ids import IdTable, find_rows
from services.treenode.tree.columns.shown import shown_of
from services.treenode.tree.columns.slots import rules_digest
from services.treenode.tree.held import HeldUpdates, RejectedUpdates
from services.treenode.tree.kernels.kernel import AnyArray, kernel
from services.treenode.tree.kernels.links import FREE, TOP, Genealogy, first_child
from services.treenode.tree.kernels.walks import children_of, downline_seats
from services.treenode.tree.store import (
    FREE_HEAD,
    HOLDING,
    MEMBERS,
    NOBODY,
    PLACES,
    ROOTS,
    USED,
)

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree


class InvariantError(AssertionError):
    """A broken invariant: the engine's fault, never an update's."""


def _require(holds: object, what: str) -> None:
    if not holds:
        raise InvariantError(what)


def validate(tree: Tree) -> None:
    """Raises InvariantError, naming the invariant, where one does not hold. Takes a few scans of everything."""
    used = tree.store.used
    places = np.flatnonzero(tree.sponsor.parent[:used] != FREE)
    _validate_rows(tree, used, places)
    _validate_ids(tree, used, places)
    _validate_genealogy(tree, tree.sponsor, places, "sponsor")
    _validate_genealogy(tree, tree.placement, tree.placement.seat_of[places], "placement")
    _validate_legs(tree, places)
    _validate_counters(tree, places)
    _validate_shown(tree)
    _validate_digest(tree)


def _validate_rows(tree: Tree, used: int, places: AnyArray) -> None:
    store = tree.store
    seat_of, row_at = store.placement.seat_of[:used], store.placement.row_at[:used]
    _require(np.array_equal(row_at[seat_of], np.arange(used)), "seat_of and row_at are inverse to each other")
    free = np.flatnonzero(store.sponsor.parent[:used] == FREE)
    _require((store.placement.parent[seat_of[free]] == FREE).all(), "a row is free in both trees or in none")
    _require((store.kind[free] == NOBODY).all(), "a free row is nobody")
    _require(not store.ids.words[free].any(), "a free row has no id")
    chained: list[int] = []
    row = int(store.counters[FREE_HEAD])
    while row >= 0 and len(chained) <= len(free):
        chained.append(row)
        row = int(store.sponsor.following[row])
    _require(sorted(chained) == free.tolist(), "all and only the free rows are chained")
    _require((store.status[places] < len(tree.statuses)).all(), "each status code has a name")
    _require((store.kind[places] <= 2).all(), "kinds are 0, 1 or 2")
    _require((store.rank[places] >= 0).all(), "ranks are not negative")
    for column in tree.further.values():
        _require(len(column.values) == store.capacity, "further columns have the capacity of the store")
        if column.kind == "text":
            _require(column.texts.has_all(column.values[places]), "each reference of a text column leads to a text")
        empty = places[store.kind[places] == NOBODY]
        _require((column.values[empty] == column.unknown).all(), "an empty place has no further values")


def _validate_ids(tree: Tree, used: int, places: AnyArray) -> None:
    store = tree.store
    _require(store.ids.words[places, 0].all(), "each place has an id")
    slots = store.ids.slots[store.ids.slots >= 0]
    _require(np.array_equal(np.sort(slots), places), "the id hash has each place once")
    found = np.empty(len(places), dtype=np.int32)
    find_rows(IdTable(store.ids.words, store.ids.slots), store.ids.words[places], found)
    _require(np.array_equal(found, places), "each place is found by its id, and no id has two places")
    _require(used <= store.capacity, "rows in use fit the capacity")


def _validate_genealogy(tree: Tree, columns: Genealogy, seats: AnyArray, what: str) -> None:
    """Lays the places out anew, by parents and personal volumes alone, and compares every derived column."""
    count = len(seats)
    number = np.full(tree.store.used + 1, TOP, dtype=np.int32)
    number[seats] = np.arange(count)
    above = columns.parent[seats]
    _require(((above == TOP) | (number[above] >= 0)).all(), f"{what}: a parent is a place or TOP")
    parent = np.where(above >= 0, number[above], TOP).astype(np.int32)
    _require(_is_acyclic(parent), f"{what}: no cycle")
    fresh_seat = preorder(parent)
    fresh = empty_genealogy(count, columns.group.shape[0], mapped=False)
    fresh.parent[fresh_seat] = np.where(parent >= 0, fresh_seat[parent], TOP)
    rows = columns.row_at[seats] if len(columns.row_at) else seats
    kind = np.empty(count, dtype=np.uint8)
    kind[fresh_seat] = tree.store.kind[rows]
    derive_links(fresh, count, kind)
    for name in ("level", "members"):
        same = np.array_equal(getattr(columns, name)[seats], getattr(fresh, name)[fresh_seat])
        _require(same, f"{what}: {name} is what the links say")
    for slot in range(columns.group.shape[0]):
        personal = np.empty(count, dtype=np.int64)
        personal[fresh_seat] = tree.store.personal[slot, rows]
        roll_up(fresh, slot, count, personal)
        same = np.array_equal(columns.group[slot, seats], fresh.group[slot, fresh_seat])
        _require(same, f"{what}: group volumes of slot {slot} are own and downline's volumes")
    sizes = (fresh.span[:count] - np.arange(count))[fresh_seat]
    _require(_spans_hold(columns, seats, sizes), f"{what}: spans and links of siblings hold")
    walked = downline_seats(columns, children_of(columns, TOP), tree.empty_place_count)
    _require(np.array_equal(np.sort(walked), np.sort(seats)), f"{what}: a walk from the top meets every place once")
    _require(_parents_before(columns, walked), f"{what}: a walk meets a member before its downline")


def _is_acyclic(parent: AnyArray) -> bool:
    """Whether every chain of parents ends, by leaping twice as far each time."""
    leap = np.append(parent, TOP).astype(np.int64)
    leap[leap < 0] = len(parent)
    for _ in range(max(1, len(parent).bit_length() + 1)):
        leap = leap[leap]
    return bool((leap == len(parent)).all())


@kernel
def _spans_hold(columns: Genealogy, seats: AnyArray, sizes: AnyArray) -> bool:
    """Whether siblings are linked both ways, and each span is right. `sizes`: each seat's downline, itself included."""
    for index in range(seats.shape[0]):
        seat = seats[index]
        parent = columns.parent[seat]
        span = columns.span[seat]
        if span > 0:
            if span != seat + sizes[index]:
                return False
            for below in range(seat, span):
                if columns.span[below] <= 0 or columns.span[below] > span:
                    return False
        elif parent >= 0 and columns.span[parent] > 0:
            return False
        after = columns.following[seat]
        if after >= 0 and (columns.parent[after] != parent or columns.preceding[after] != seat):
            return False
        first = columns.top[0] if parent < 0 else first_child(columns, parent)
        if after < 0 and columns.preceding[first] != seat:
            return False
        if first != seat and columns.following[columns.preceding[seat]] != seat:
            return False
    return True


def _parents_before(columns: Genealogy, walked: AnyArray) -> bool:
    turn = np.full(len(columns.parent) + 1, -1, dtype=np.int64)
    turn[walked] = np.arange(len(walked))
    parent = columns.parent[walked]
    return bool((turn[np.where(parent >= 0, parent, len(columns.parent))] < np.arange(len(walked))).all())


def _validate_legs(tree: Tree, places: AnyArray) -> None:
    store = tree.store
    legs = store.leg[places]
    above = tree.placement.parent[tree.placement.seat_of[places]]
    _require((legs >= 0).all(), "legs are not negative")
    _require((legs[above == TOP] == 0).all(), "without a placement there is no leg")
    pairs = (above[legs > 0].astype(np.int64) << 32) | legs[legs > 0]
    _require(len(np.unique(pairs)) == len(pairs), "no leg of a member is headed by two")
    for seat_after, next_leg in store.dense_legs[store.dense_legs[:, 0] > 0].tolist():
        known = np.sort(legs[(above == seat_after - 1) & (legs > 0)])
        _require(np.array_equal(known, np.arange(1, next_leg)), "remembered legs are without a gap")


def _validate_counters(tree: Tree, places: AnyArray) -> None:
    store = tree.store
    present = store.kind[places] != NOBODY
    root = store.sponsor.parent[places] == TOP
    unplaced = store.placement.parent[store.placement.seat_of[places]] == TOP
    expected = {
        MEMBERS: np.count_nonzero(present),
        PLACES: len(places),
        ROOTS: np.count_nonzero(present & root),
        HOLDING: np.count_nonzero(present & unplaced & ~root),
        USED: store.used,
    }
    for counter, value in expected.items():
        _require(store.counters[counter] == value, f"counter {counter} is {value}")
    for slot, amounts in enumerate(store.personal):
        magnitude = float(np.abs(amounts[places].astype(np.float64)).sum())
        _require(store.magnitudes[slot] >= magnitude * (1 - 1e-6), f"the magnitude of slot {slot} is large enough")


def _validate_shown(tree: Tree) -> None:
    used = tree.store.used
    for name, column in shown_of(tree.store, tree.statuses, tree.rules)._asdict().items():
        of_tree = getattr(tree.shown, name)
        _require(np.array_equal(of_tree[:used], column[:used]), f"the {name} that is shown is by the rules")
        is_own = column is getattr(tree.store, name)
        _require((of_tree is column) == is_own, f"the {name} that is shown is the recorded one where no rule alters it")


def _validate_digest(tree: Tree) -> None:
    digests = place_digests(tree.store, tree.store.used)
    total = int((digests + tree.further_digests()).sum(dtype=np.uint64)) + rules_digest(tree.rules)
    held = tree.held_updates
    total += sum(each.digest for each in held.by_position.values())
    total += sum(HeldUpdates.removal_digest(*removal) for removal in held.removals.items())
    if tree.rejected_updates.total == len(tree.rejected_updates.newest):
        total += sum(RejectedUpdates.digest_of(each) for each in tree.rejected_updates.newest)
        what = "the digest is the sum over all facts, rules, removals, held and rejected updates"
        _require(tree.digest == total % 2**64, what)
    _require(tree.digest_at(tree.position) == tree.digest, "the ring's newest digest is the digest")
    pairs = held.settled.pairs
    _require((pairs[:, 0] < pairs[:, 1]).all(), "what was held is let go later")
    _require((np.diff(pairs[:, 1]) >= 0).all(), "what was let go is in the order of when")
    _require(list(held.by_position) == sorted(held.by_position), "held updates are in the order of their positions")
    waiting = sorted(position for positions in held.waiting.values() for position in positions)
    _require(waiting == sorted(held.by_position), "each held update waits once")
    for member_id, positions in held.waiting.items():
        _require(
            all(held.by_position[position].waits_for == member_id for position in positions),
            "held updates wait for whom they say",
        )
