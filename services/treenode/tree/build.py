"""Builds a store from the checked rows of an import file."""

from __future__ import annotations

import numpy as np

from services.treenode.tree.digest import all_digests
from services.treenode.tree.ids import IdTable, empty_slots, insert_rows, words_of
from services.treenode.tree.kernel import AnyArray, Int32s, UInt64s
from services.treenode.tree.layout import derive_links, pair_seats, place_all, preorder, roll_up
from services.treenode.tree.links import TOP, Genealogy
from services.treenode.tree.store import CHANGES, HOLDING, MEMBERS, PLACES, ROOTS, USED, Store, empty_store, room_for
from services.treenode.tree.table import ImportTable


def build_store(
    table: ImportTable, slot_keys: list[tuple[str, str]], slot_tags: UInt64s, status_hashes: UInt64s
) -> tuple[Store, Int32s]:
    """A laid-out store, and for each of its rows the row of the table. Further columns are not in its digest yet.

    Raises OverflowError where a group total does not fit 64 bits.
    """
    count = len(table)
    words = words_of(table.member_ids)
    store = empty_store(room_for(count), words.shape[1], slot_tags, status_hashes)
    store = store._replace(ids=IdTable(store.ids.words, empty_slots(count)))
    row_of_file = preorder(table.sponsor)
    file_row = np.empty(count, dtype=np.int32)
    place_all(file_row, row_of_file, table.sponsor, store.sponsor.parent)
    _place_second(table, row_of_file, store.placement)
    _gather(words, file_row, store.ids.words[:count])
    for column, values in (
        (store.kind, table.kind),
        (store.status, table.status),
        (store.rank, table.rank),
        (store.joined_on, table.joined_on),
        (store.leg, table.placement_leg),
    ):
        _gather(values, file_row, column[:count])
    for slot, slot_key in enumerate(slot_keys):
        amounts = table.volumes.get(slot_key)
        if amounts is None:
            store.personal[slot, :count] = 0
        else:
            _gather(amounts, file_row, store.personal[slot, :count])
    finish_layout(store, count, slot_keys)
    insert_rows(store.ids, count)
    store.digests[0] = all_digests(store, count)
    return store, file_row


def _gather(values: AnyArray, file_row: Int32s, out: AnyArray) -> None:
    np.take(values, file_row, axis=0, out=out, mode="clip")


def _place_second(table: ImportTable, row_of_file: Int32s, placement: Genealogy) -> None:
    """Numbers the placement tree, and pairs its seats with the rows."""
    seat_of_file = preorder(table.placement)
    file_at = np.empty(len(table), dtype=np.int32)
    place_all(file_at, seat_of_file, table.placement, placement.parent)
    pair_seats(row_of_file, seat_of_file, placement.seat_of, placement.row_at)


def finish_layout(store: Store, count: int, slot_keys: list[tuple[str, str]]) -> None:
    """Derives links, levels, counts, group volumes and counters of rows 0 to count - 1, whose parents are in pre-order.

    Raises OverflowError, naming type and period, where a group total does not fit 64 bits.
    """
    for tree in (store.sponsor, store.placement):
        derive_links(tree, count, store.kind)
        for slot, (volume_type, period) in enumerate(slot_keys):
            if not roll_up(tree, slot, count, store.personal[slot]):
                raise OverflowError(f"a group total of {volume_type} in {period} does not fit 64 bits")
    for slot in range(len(slot_keys)):
        store.magnitudes[slot] = np.abs(store.personal[slot, :count].astype(np.float64)).sum()
    count_members(store, count)


def count_members(store: Store, count: int) -> None:
    """Sets the counters of a store whose rows 0 to count - 1 are places, none of them free."""
    present = store.kind[:count] != 0
    rootless = store.sponsor.parent[:count] == TOP
    unplaced = (store.placement.parent[:count] == TOP)[store.placement.seat_of[:count]]
    store.counters[USED] = count
    store.counters[PLACES] = count
    store.counters[MEMBERS] = np.count_nonzero(present)
    store.counters[ROOTS] = np.count_nonzero(present & rootless)
    store.counters[HOLDING] = np.count_nonzero(present & unplaced & ~rootless)
    store.counters[CHANGES] = 0
