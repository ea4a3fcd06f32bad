"""The columns of all members as kernels take them, and how they grow.

What binds the columns to each other is written in this package's docstring; `validate.py` proves it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from services.treenode.tree.building.layout import empty_genealogy
from services.treenode.tree.columns.ids import IdTable, empty_slots, insert_rows
from services.treenode.tree.kernels.kernel import AnyArray, Float64s, Int16s, Int32s, Int64s, UInt8s, UInt64s, inlined
from services.treenode.tree.kernels.links import TOP, Genealogy, seat_at

#: Places in `Store.counters`.
USED = 0  # rows that ever were in use; those from here on have no meaning
FREE_HEAD = 1  # first of the rows that became free, chained by sponsor.following; -1: none
MEMBERS = 2
PLACES = 3  # members and empty places: entries of the id hash
ROOTS = 4  # members without a sponsor
HOLDING = 5  # members with a sponsor and without a placement
POSITION = 6
CHANGES = 7  # changes to either tree's links since the layout
COUNTERS = 8

#: Values of `Store.kind`.
NOBODY = 0
DISTRIBUTOR = 1
CUSTOMER = 2

#: For how many positions back the digest is known.
RING = 65_536
#: How many members' legs are remembered (legs.py).
DENSE_LEGS = 4096
#: While the sum of all posted amounts stays below this, no total can overflow, and nobody looks.
SAFE_MAGNITUDE = float(2**62)


#: Of personal volumes: few are large, and half their width is a tenth of all memory.
VolumeType: TypeAlias = type[np.int32] | type[np.int64]
NARROW_MIN, NARROW_MAX = -(2**31), 2**31 - 1


class Store(NamedTuple):
    """Columns by row, two trees by seat, and the few numbers that kernels keep up to date."""

    ids: IdTable
    #: uint8: NOBODY (a free row, or an empty place where the sponsor tree has it), DISTRIBUTOR, CUSTOMER.
    kind: UInt8s
    #: int16: codes.
    status: Int16s
    #: int16, from 0.
    rank: Int16s
    #: int32: days since 1970-01-01, or NO_DAY.
    joined_on: Int32s
    #: int32: leg of the placement, from 1; 0 without one.
    leg: Int32s
    #: (slots, capacity) hundredths; a slot is one volume type in one period (columns/slots.py). int32 until one does
    #: not fit, then int64.
    personal: AnyArray
    sponsor: Genealogy
    placement: Genealogy
    #: (slots,) uint64: hash of the slot's type and period.
    slot_tags: UInt64s
    #: uint64 by status code: hash of its name.
    status_hashes: UInt64s
    #: (COUNTERS,) int64.
    counters: Int64s
    #: (slots,) float64: at least the sum of |personal| over all members.
    magnitudes: Float64s
    #: (1 + RING,) uint64: the digest now, then the digests at positions p at 1 + p % RING.
    digests: UInt64s
    #: (DENSE_LEGS, 2) int32: see legs.py.
    dense_legs: Int32s

    @property
    def capacity(self) -> int:
        """Rows that fit before the columns must grow."""
        return len(self.kind)

    @property
    def used(self) -> int:
        """Rows that have a meaning."""
        return int(self.counters[USED])


def capacity_for(places: int) -> int:
    """Capacity to allocate for that many places. Memory that is never written costs nothing."""
    return places + places // 4 + 4096


def rows_of_zeros(rows: int, capacity: int, dtype: type[np.generic]) -> AnyArray:
    """Zeros for so many slots, with spare rows behind them (its base); zeros that nobody writes take no memory."""
    return np.zeros((rows_with_spare(rows), capacity), dtype=dtype)[:rows]


def rows_with_spare(rows: int) -> int:
    """How many rows to have for so many slots."""
    return rows + max(8, rows // 4)


def empty_store(
    capacity: int, id_words: int, slot_tags: UInt64s, status_hashes: UInt64s, volume_dtype: VolumeType = np.int32
) -> Store:
    """A store without members, and without volumes: those that nobody has take no memory."""
    slots = len(slot_tags)
    groups = [rows_of_zeros(slots, capacity, np.int64) for _ in range(2)]
    counters = np.zeros(COUNTERS, dtype=np.int64)
    counters[FREE_HEAD] = -1
    return Store(
        ids=IdTable(np.empty((capacity, id_words), dtype=np.uint32), empty_slots(0)),
        kind=np.empty(capacity, dtype=np.uint8),
        status=np.empty(capacity, dtype=np.int16),
        rank=np.empty(capacity, dtype=np.int16),
        joined_on=np.empty(capacity, dtype=np.int32),
        leg=np.empty(capacity, dtype=np.int32),
        personal=rows_of_zeros(slots, capacity, volume_dtype),
        sponsor=empty_genealogy(capacity, 0, mapped=False)._replace(group=groups[0]),
        placement=empty_genealogy(capacity, 0, mapped=True)._replace(group=groups[1]),
        slot_tags=slot_tags,
        status_hashes=status_hashes,
        counters=counters,
        magnitudes=np.zeros(slots, dtype=np.float64),
        digests=np.zeros(1 + RING, dtype=np.uint64),
        dense_legs=np.zeros((DENSE_LEGS, 2), dtype=np.int32),
    )


def widened(column: AnyArray, used: int, capacity: int) -> AnyArray:
    """A copy of a column, by row or seat in its last dimension, `capacity` long."""
    grown = np.empty((*column.shape[:-1], capacity), dtype=column.dtype)
    grown[..., :used] = column[..., :used]
    return grown


def _widened_volumes(store: Store, volumes: AnyArray, capacity: int, dtype: type[np.generic]) -> AnyArray:
    """A copy of the volumes, which takes no memory for the slots that nobody has volume in."""
    grown = rows_of_zeros(len(volumes), capacity, dtype)
    for slot in np.flatnonzero(store.magnitudes):
        grown[slot, : store.used] = volumes[slot, : store.used]
    return grown


def _grown_genealogy(store: Store, tree: Genealogy, capacity: int) -> Genealogy:
    grown = {
        name: widened(column, store.used, capacity)
        for name, column in tree._asdict().items()
        if name not in ("top", "group") and column.shape[-1] > 0
    }
    return tree._replace(group=_widened_volumes(store, tree.group, capacity, np.int64), **grown)


def with_capacity(store: Store, capacity: int) -> Store:
    """The same store, `capacity` rows large; the arrays of the old one stay as they are, for whoever reads them."""
    used, volume_dtype = store.used, store.personal.dtype.type
    words = np.empty((capacity, store.ids.words.shape[1]), dtype=np.uint32)
    words[:used] = store.ids.words[:used]
    return store._replace(
        ids=IdTable(words, store.ids.slots),
        kind=widened(store.kind, used, capacity),
        status=widened(store.status, used, capacity),
        rank=widened(store.rank, used, capacity),
        joined_on=widened(store.joined_on, used, capacity),
        leg=widened(store.leg, used, capacity),
        personal=_widened_volumes(store, store.personal, capacity, volume_dtype),
        sponsor=_grown_genealogy(store, store.sponsor, capacity),
        placement=_grown_genealogy(store, store.placement, capacity),
    )


def with_wide_volumes(store: Store) -> Store:
    """The same store, wide enough for personal volumes of any size."""
    return store._replace(personal=_widened_volumes(store, store.personal, store.capacity, np.int64))


def with_slots(store: Store, places: int) -> Store:
    """The same store with an id hash large enough for `places`."""
    table = IdTable(store.ids.words, empty_slots(places))
    insert_rows(table, store.used)
    return store._replace(ids=table)


def with_id_words(store: Store, id_words: int) -> Store:
    """The same store with wider ids."""
    used = store.used
    words = np.empty((store.capacity, id_words), dtype=np.uint32)
    words[:used] = 0
    words[:used, : store.ids.words.shape[1]] = store.ids.words[:used]
    return store._replace(ids=IdTable(words, store.ids.slots))


@inlined
def tally(store: Store, row: int, sign: int) -> None:
    """Counts a row in (sign 1) or out (-1) of MEMBERS, ROOTS and HOLDING, by what it is now."""
    if store.kind[row] == NOBODY:
        return
    store.counters[MEMBERS] += sign
    if store.sponsor.parent[row] == TOP:
        store.counters[ROOTS] += sign
    elif store.placement.parent[seat_at(store.placement, row)] == TOP:
        store.counters[HOLDING] += sign
