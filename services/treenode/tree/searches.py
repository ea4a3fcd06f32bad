"""Scans over all members: the holding tank, and ids by prefix."""

from __future__ import annotations

import numpy as np

from services.treenode.tree.ids import MAX_ID_LENGTH, packed_id
from services.treenode.tree.kernel import Int32s, UInt32s, inlined, kernel, whole
from services.treenode.tree.links import TOP
from services.treenode.tree.store import NOBODY, Store
from services.treenode.tree.tree import Tree


@kernel
def _fill_holding(store: Store, used: int, rows: Int32s) -> int:
    filled = 0
    tree = store.placement
    for seat in range(used):
        if tree.parent[seat] == TOP:
            row = whole(tree.row_at[seat])
            if store.kind[row] != NOBODY and store.sponsor.parent[row] >= 0:
                rows[filled] = row
                filled += 1
    return filled


def holding_tank_rows(tree: Tree) -> Int32s:
    """The rows of members with a sponsor and without a placement, (n,) int32, in no order that means anything."""
    rows = np.empty(tree.holding_count, dtype=np.int32)
    filled = int(_fill_holding(tree.store, tree.store.used, rows))
    return rows[:filled]


@inlined
def _turned(word: np.uint32) -> int:
    """The four characters of a word as a number that sorts as they do."""
    value = whole(word)
    return ((value & 0xFF) << 24) | ((value & 0xFF00) << 8) | ((value >> 8) & 0xFF00) | (value >> 24)


@inlined
def _sorts_before(words: UInt32s, left: int, right: int) -> bool:
    for column in range(words.shape[1]):
        if words[left, column] != words[right, column]:
            return _turned(words[left, column]) < _turned(words[right, column])
    return False


@inlined
def _begins_with(words: UInt32s, row: int, prefix: UInt32s, masks: UInt32s) -> bool:
    for column in range(prefix.shape[1]):
        word = words[row, column] if column < words.shape[1] else np.uint32(0)
        if word & masks[0, column] != prefix[0, column]:
            return False
    return True


@kernel
def _first_by_prefix(store: Store, used: int, prefix: UInt32s, masks: UInt32s, rows: Int32s) -> int:
    """Fills `rows` with those of the first ids that begin with the prefix, as a heap with the last of them on top."""
    words = store.ids.words
    filled = 0
    limit = rows.shape[0]
    for row in range(used):
        if store.kind[row] == NOBODY or not _begins_with(words, row, prefix, masks):
            continue
        if filled < limit:
            place = filled
            filled += 1
            while place > 0 and _sorts_before(words, rows[(place - 1) // 2], row):
                rows[place] = rows[(place - 1) // 2]
                place = (place - 1) // 2
            rows[place] = row
        elif _sorts_before(words, row, rows[0]):
            place = 0
            while True:
                child = 2 * place + 1
                if child >= limit:
                    break
                if child + 1 < limit and _sorts_before(words, rows[child], rows[child + 1]):
                    child += 1
                if not _sorts_before(words, row, rows[child]):
                    break
                rows[place] = rows[child]
                place = child
            rows[place] = row
    return filled


def rows_by_prefix(tree: Tree, prefix: str, limit: int) -> Int32s:
    """The rows of the first `limit` members whose id begins with `prefix`, by id, (n,) int32.

    A prefix that is too long or not ASCII begins no id.
    """
    if not 0 < len(prefix) <= MAX_ID_LENGTH or not prefix.isascii() or limit <= 0:
        return np.empty(0, dtype=np.int32)
    asked = packed_id(prefix)
    masks = packed_id("\x7f" * len(prefix)) * np.uint32(2) | packed_id("\x01" * len(prefix))
    rows = np.empty(min(limit, tree.member_count), dtype=np.int32)
    rows = rows[: int(_first_by_prefix(tree.store, tree.store.used, asked, masks, rows))]
    ids = [tree.store.ids.words[row].tobytes() for row in rows]
    return rows[sorted(range(len(rows)), key=ids.__getitem__)]
