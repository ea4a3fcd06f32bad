"""Lays a tree out anew: the same members in the same order, numbered in pre-order again, without free rows.

Wanted when many enrolments, moves and removals have made much of the tree dirty: walks are exact before it and after
it, and faster after it. It only reads the old tree, a copy that updates don't come to; the cutover brings the new one
up to what came since. The new tree has the same position, digest, and order of siblings; texts that were replaced are
left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.treenode.tree.building.build import set_magnitudes
from services.treenode.tree.building.layout import derive_links
from services.treenode.tree.columns.ids import IdTable, empty_slots, insert_keys, keys_of
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, kernel
from services.treenode.tree.kernels.links import TOP, Genealogy
from services.treenode.tree.kernels.walks import children_of, downline_seats
from services.treenode.tree.store import CHANGES, FREE_HEAD, USED, Store, capacity_for, empty_store

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree


@kernel
def _invert(order: Int32s, number: Int32s) -> None:
    for place in range(order.shape[0]):
        number[order[place]] = place


@kernel
def _renumber(values: Int32s, number: Int32s) -> None:
    """Replaces each value that is not negative by its number."""
    for place in range(values.shape[0]):
        if values[place] >= 0:
            values[place] = number[values[place]]


def _take(values: AnyArray, order: Int32s, out: AnyArray) -> None:
    np.take(values, order, axis=0, out=out[: len(order)], mode="clip")


def relayout(tree: Tree) -> Tree:
    """The same tree, laid out anew; the old one is only read, and shares nothing with it that either changes."""
    old = tree.store
    rows = downline_seats(old.sponsor, children_of(old.sponsor, TOP), tree.empty_place_count)
    seats = downline_seats(old.placement, children_of(old.placement, TOP), tree.empty_place_count)
    count = len(rows)
    number = np.empty(old.used, dtype=np.int32)
    _invert(rows, number)
    volume_dtype = np.int32 if old.personal.dtype == np.int32 else np.int64
    new = empty_store(capacity_for(count), old.ids.words.shape[1], old.slot_tags, old.status_hashes, volume_dtype)
    _take(old.ids.words, rows, new.ids.words)
    new = new._replace(ids=IdTable(new.ids.words, empty_slots(capacity_for(count))))
    insert_keys(new.ids, keys_of(new.ids.words[:count]))
    for name in ("kind", "status", "rank", "joined_on", "leg"):
        _take(getattr(old, name), rows, getattr(new, name))
    for slot in np.flatnonzero(old.magnitudes):  # in the others nobody has volume: zeros that take no memory
        _take(old.personal[slot], rows, new.personal[slot])
    set_magnitudes(new, count)
    new.placement.row_at[:count] = number[old.placement.row_at[seats]]
    _invert(new.placement.row_at[:count], new.placement.seat_of)
    _lay_out(old.sponsor, rows, new.sponsor, new)
    _lay_out(old.placement, seats, new.placement, new)
    new.counters[:] = old.counters
    new.counters[USED], new.counters[FREE_HEAD], new.counters[CHANGES] = count, -1, 0
    new.digests[:] = old.digests
    return _with_store(tree, new, rows)


def _lay_out(old: Genealogy, order: Int32s, new: Genealogy, store: Store) -> None:
    """Fills a tree's columns. `order`: old seats in pre-order. `store`: the new one, with its rows."""
    count = len(order)
    number = np.empty(len(old.parent), dtype=np.int32)
    _invert(order, number)
    _take(old.parent, order, new.parent)
    _renumber(new.parent[:count], number)
    derive_links(new, count, store.kind)
    for slot in np.flatnonzero(store.magnitudes):
        _take(old.group[slot], order, new.group[slot])


def _with_store(tree: Tree, store: Store, rows: Int32s) -> Tree:
    """A tree like `tree` on its laid-out store."""
    new = tree.like(store)
    new.further = tree.further.laid_out(rows, store.capacity)
    return new
