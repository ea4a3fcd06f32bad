"""The digest: a 64-bit sum, modulo 2^64, of a hash for each base fact of each place.

The facts of a place are its profile (kind, status, rank, joined day), its sponsor, its placement with the leg, each
volume that is not 0, and each further column that is known. A sum has no order, so the digest costs O(1) an update, and
nodes that numbered their members differently agree. Figures that follow from the facts (group volumes, counts, levels)
are not in it. Names go in by their hash, never by a node's own code for them.
"""

from __future__ import annotations

import numpy as np

from services.treenode.tree.ids import key_at
from services.treenode.tree.kernel import AnyArray, Int32s, UInt64s, inlined, kernel, mixed, whole
from services.treenode.tree.links import FREE, next_in_walk, row_of, seat_at
from services.treenode.tree.store import RING, Store

_PROFILE = np.uint64(0x243F6A8885A308D3)
_SPONSOR = np.uint64(0x13198A2E03707344)
_PLACEMENT = np.uint64(0xA4093822299F31D0)
_LEG = np.uint64(0x9E3779B97F4A7C15)
_SHIFT_8 = np.uint64(8)
_SHIFT_32 = np.uint64(32)
_LOW_32 = np.uint64(0xFFFFFFFF)
_ZERO = np.uint64(0)


@inlined
def fact(key: np.uint64, tag: np.uint64, value: np.uint64) -> np.uint64:
    """The hash of one fact: `key` says whose, `tag` which."""
    return mixed(key + mixed(value ^ tag))


@inlined
def profile_fact(store: Store, row: int, key: np.uint64) -> np.uint64:
    """Kind, status, rank and joined day."""
    joined_on = np.uint64(store.joined_on[row]) & _LOW_32
    packed = (joined_on << _SHIFT_32) | (np.uint64(store.rank[row]) << _SHIFT_8) | np.uint64(store.kind[row])
    return fact(key, _PROFILE, mixed(packed) + store.status_hashes[store.status[row]])


@inlined
def sponsor_fact(store: Store, row: int, key: np.uint64) -> np.uint64:
    """Who enrolled it."""
    above = whole(store.sponsor.parent[row])
    return fact(key, _SPONSOR, key_at(store.ids.words, above) if above >= 0 else _ZERO)


@inlined
def placement_fact(store: Store, row: int, key: np.uint64) -> np.uint64:
    """Under whom it is placed, and on which leg."""
    above = whole(store.placement.parent[seat_at(store.placement, row)])
    if above < 0:
        return fact(key, _PLACEMENT, _ZERO)
    head = key_at(store.ids.words, row_of(store.placement, above))
    return fact(key, _PLACEMENT, head + np.uint64(store.leg[row]) * _LEG)


@inlined
def volume_fact(store: Store, slot: int, row: int, key: np.uint64) -> np.uint64:
    """Personal volume of one slot; 0 where it is 0."""
    amount = store.personal[slot, row]
    if amount == 0:
        return _ZERO
    return fact(key, store.slot_tags[slot], np.uint64(amount))


@inlined
def place_digest(store: Store, row: int, key: np.uint64) -> np.uint64:
    """All facts of a place but its further columns."""
    total = profile_fact(store, row, key) + sponsor_fact(store, row, key) + placement_fact(store, row, key)
    for slot in range(store.personal.shape[0]):
        total += volume_fact(store, slot, row, key)
    return total


@kernel
def place_digests(store: Store, count: int, out: UInt64s) -> None:
    """Fills `out`, (count,) uint64, with each row's place_digest; 0 for a free row."""
    for row in range(count):
        if store.sponsor.parent[row] == FREE:
            out[row] = _ZERO
        else:
            out[row] = place_digest(store, row, key_at(store.ids.words, row))


@kernel
def all_digests(store: Store, count: int) -> np.uint64:
    """The sum of place_digest over the rows 0 to count - 1."""
    total = _ZERO
    for row in range(count):
        if store.sponsor.parent[row] != FREE:
            total += place_digest(store, row, key_at(store.ids.words, row))
    return total


@kernel
def further_fact(key: np.uint64, tag: np.uint64, value: np.uint64) -> np.uint64:
    """One further column of a place."""
    return fact(key, tag, value)


@kernel
def add_further_digests(
    store: Store, count: int, tag: np.uint64, values: AnyArray, coded: bool, hashes: UInt64s, out: UInt64s
) -> None:
    """Adds a further column's facts to `out`, (count,) uint64.

    `values`: by row; `coded`: they are codes of texts, whose `hashes` are by code, 0 for unknown; else hashes[0] is the
    value that stands for unknown.
    """
    for row in range(count):
        if store.sponsor.parent[row] == FREE:
            continue
        value = hashes[values[row]] if coded else np.uint64(values[row])
        if value != (_ZERO if coded else hashes[0]):
            out[row] += fact(key_at(store.ids.words, row), tag, value)


@kernel
def leg_digest(store: Store, head: int, digests: UInt64s) -> np.uint64:
    """The sum of `digests`, by row, over `head` and its downline in the sponsor tree."""
    tree = store.sponsor
    total = _ZERO
    seat = whole(head)
    while seat >= 0:
        end = whole(tree.span[seat])
        if end > 0:
            for below in range(seat, end):
                total += digests[below]
            seat = next_in_walk(tree, seat, head)
        else:
            total += digests[seat]
            seat = -1 - end if end < 0 else next_in_walk(tree, seat, head)
    return total


@kernel
def leg_digests(store: Store, heads: Int32s, digests: UInt64s, out: UInt64s) -> None:
    """Fills out[i] with the leg digest of heads[i]."""
    for index in range(heads.shape[0]):
        out[index] = leg_digest(store, heads[index], digests)


@inlined
def record_digest(store: Store, position: int) -> None:
    """Notes the digest now as that at `position`."""
    store.digests[1 + position % RING] = store.digests[0]
