"""Builds a store from the checked rows of an import file, in two threads once the rows are numbered.

What is random in memory is kept to one pass for each column: the numbering of the sponsor tree, and the gathering of
columns from file order into row order. Once members are in pre-order, all that is derived is computed by passes from
end to end. The placement tree is numbered by row, not by row of the file: members near each other in one tree are
mostly so in the other, and where nobody is placed seats and rows are the same.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

from services.treenode.tree.building.layout import derive_links, parents_by_row, place_all, preorder, roll_up
from services.treenode.tree.building.pages import touch
from services.treenode.tree.columns.digest import placements_digest, rows_digest
from services.treenode.tree.columns.ids import IdTable, empty_slots, insert_keys, keys_of, words_of
from services.treenode.tree.kernels.kernel import AnyArray, Float64s, Int32s, Int64s, UInt32s, UInt64s, kernel
from services.treenode.tree.kernels.links import TOP, Genealogy
from services.treenode.tree.store import (
    CHANGES,
    HOLDING,
    MEMBERS,
    NARROW_MAX,
    NARROW_MIN,
    NOBODY,
    PLACES,
    ROOTS,
    USED,
    Store,
    VolumeType,
    capacity_for,
    empty_store,
)
from services.treenode.tree.table import ImportTable

#: Volume type and period.
SlotName: TypeAlias = tuple[str, str]
#: Columns of a tree that are derived from `parent`.
_DERIVED = ("span", "following", "preceding", "level", "members")


class _Builder:
    """The steps of one build; which of them may run side by side is in build_store."""

    def __init__(self, table: ImportTable, slots: list[tuple[SlotName, int]], store: Store, words: UInt32s) -> None:
        self.table = table
        self.slots = slots
        self.count = len(table)
        self.words = words
        self.store = store._replace(ids=IdTable(store.ids.words, empty_slots(capacity_for(self.count))))
        self.file_row = np.empty(self.count, dtype=np.int32)
        self.row_of_file = np.empty(0, dtype=np.int32)
        self.keys: UInt64s = np.empty(0, dtype=np.uint64)

    def number_sponsors(self) -> None:
        """Gives each row of the file its row."""
        self.row_of_file = preorder(self.table.sponsor)
        place_all(self.file_row, self.row_of_file, self.table.sponsor, self.store.sponsor.parent)
        _gather(self.table.kind, self.file_row, self.store.kind)

    def lay_placements_out(self) -> None:
        """Gives each row its seat in the placement tree, and derives that tree's links."""
        placement = self.store.placement
        above = np.empty(self.count, dtype=np.int32)
        parents_by_row(self.file_row, self.row_of_file, self.table.placement, above)
        seat = preorder(above)
        placement.seat_of[: self.count] = seat
        place_all(placement.row_at[: self.count], seat, above, placement.parent)
        derive_links(placement, self.count, self.store.kind)

    def fill_rows(self) -> None:
        """Gathers the columns by row, and fills the id hash."""
        store, table = self.store, self.table
        _gather(self.words, self.file_row, store.ids.words)
        self.keys = keys_of(store.ids.words[: self.count])
        insert_keys(store.ids, self.keys)
        for values, column in (
            (table.status, store.status),
            (table.rank, store.rank),
            (table.joined_on, store.joined_on),
            (table.placement_leg, store.leg),
        ):
            _gather(values, self.file_row, column)
        for slot_key, slot in self.slots:
            # Volumes that the file lacks stay as the store has them: zeros that take no memory.
            if (amounts := table.volumes.get(slot_key)) is not None:
                _gather_volumes(amounts, self.file_row, store.personal[slot])

    def touch(self) -> None:
        """Has the system give the memory that the next steps fill, which else each page waits for."""
        store = self.store
        for column in (
            *(store.ids.words, store.status, store.rank, store.joined_on, store.leg),
            *(getattr(tree, name) for tree in (store.sponsor, store.placement) for name in _DERIVED),
        ):
            touch(column[: self.count])

    def derive_all_links(self) -> None:
        """Lays the placement tree out, and derives the sponsor tree's links."""
        self.lay_placements_out()
        derive_links(self.store.sponsor, self.count, self.store.kind)

    def roll_up(self, tree: Genealogy) -> None:
        """Fills a tree's group volumes. Raises OverflowError, naming type and period, where one does not fit."""
        for (volume_type, period), slot in self.slots:
            if (volume_type, period) in self.table.volumes and not roll_up(
                tree, slot, self.count, self.store.personal[slot]
            ):
                raise OverflowError(f"a group total of {volume_type} in {period} does not fit 64 bits")

    def finish_placements(self) -> int:
        """Fills the placement tree's group volumes, and the counters; the digest of all placements."""
        self.roll_up(self.store.placement)
        set_magnitudes(self.store, self.count)
        count_members(self.store, self.count)
        return placements_digest(self.store, self.keys)

    def finish_sponsors(self) -> int:
        """Fills the sponsor tree's group volumes; the digest of all facts but placements."""
        self.roll_up(self.store.sponsor)
        return rows_digest(self.store, self.keys)


def build_store(
    table: ImportTable, slots: list[tuple[SlotName, int]], slot_tags: UInt64s, status_hashes: UInt64s
) -> tuple[Store, Int32s]:
    """A laid-out store, and for each of its rows the row of the table. Further columns are not in its digest yet.

    Raises OverflowError where a group total does not fit 64 bits.
    """
    words = words_of(table.member_ids)
    store = empty_store(capacity_for(len(table)), words.shape[1], slot_tags, status_hashes, _volume_dtype(table))
    builder = _Builder(table, slots, store, words)
    with ThreadPoolExecutor(1) as beside:
        beside.submit(builder.touch)
        builder.number_sponsors()
        derived = beside.submit(builder.derive_all_links)
        builder.fill_rows()
        derived.result()
        finished = beside.submit(builder.finish_placements)
        digest = builder.finish_sponsors()
        builder.store.digests[0] = np.uint64((digest + finished.result()) % 2**64)
    return builder.store, builder.file_row


def _volume_dtype(table: ImportTable) -> VolumeType:
    """The narrow one where every volume may double in it."""
    for amounts in table.volumes.values():
        if len(amounts) and (amounts.min() < NARROW_MIN // 2 or amounts.max() > NARROW_MAX // 2):
            return np.int64
    return np.int32


def _gather(values: AnyArray, file_row: Int32s, column: AnyArray) -> None:
    np.take(values, file_row, axis=0, out=column[: len(file_row)], mode="clip")


@kernel
def _gather_volumes(amounts: Int64s, file_row: Int32s, personal: AnyArray) -> None:
    for row in range(file_row.shape[0]):
        personal[row] = amounts[file_row[row]]


@kernel
def _sum_magnitudes(personal: AnyArray, count: int, magnitudes: Float64s) -> None:
    for slot in range(personal.shape[0]):
        total = 0.0
        for row in range(count):
            total += abs(float(personal[slot, row]))
        magnitudes[slot] = total


def set_magnitudes(store: Store, count: int) -> None:
    """Sets the magnitudes to the sums over the rows 0 to count - 1."""
    _sum_magnitudes(store.personal, count, store.magnitudes)


@kernel
def count_members(store: Store, count: int) -> None:
    """Sets the counters of a store whose rows 0 to count - 1 are places, none of them free."""
    for counter in (MEMBERS, ROOTS, HOLDING, CHANGES):
        store.counters[counter] = 0
    store.counters[USED] = count
    store.counters[PLACES] = count
    for row in range(count):
        if store.kind[row] == NOBODY:
            continue
        store.counters[MEMBERS] += 1
        if store.sponsor.parent[row] == TOP:
            store.counters[ROOTS] += 1
        elif store.placement.parent[store.placement.seat_of[row]] == TOP:
            store.counters[HOLDING] += 1
