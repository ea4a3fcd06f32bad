"""The digest: a 64-bit sum, modulo 2^64, of a hash for each base fact of each place.

The facts of a place are its profile (kind, status, rank, joined day), its sponsor, its placement with the leg, each
volume that is not 0, and each further column that is known. A sum has no order, so the digest costs O(1) an update, and
nodes that numbered their members differently agree. Figures that follow from the facts (group volumes, counts, levels)
are not in it. Names go in by their hash, never by a node's own code for them.
"""

from __future__ import annotations

import numpy as np

from services.treenode.tree.columns.ids import key_at, keys_of
from services.treenode.tree.kernels.kernel import Int32s, UInt32s, UInt64s, inlined, kernel, mixed, whole
from services.treenode.tree.kernels.links import FREE, next_in_walk, row_of, seat_at
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
def _placed(key: np.uint64, above_key: np.uint64, leg: int) -> np.uint64:
    return fact(key, _PLACEMENT, above_key + np.uint64(leg) * _LEG)


@inlined
def placement_fact(store: Store, row: int, key: np.uint64) -> np.uint64:
    """Under whom it is placed, and on which leg."""
    above = whole(store.placement.parent[seat_at(store.placement, row)])
    if above < 0:
        return fact(key, _PLACEMENT, _ZERO)
    return _placed(key, key_at(store.ids.words, row_of(store.placement, above)), store.leg[row])


@inlined
def volume_fact(store: Store, slot: int, row: int, key: np.uint64) -> np.uint64:
    """Personal volume of one slot; 0 where it is 0."""
    amount = whole(store.personal[slot, row])
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
def _add_rows(store: Store, keys: UInt64s, out: UInt64s) -> np.uint64:
    """The sum of all facts but placements; added to `out` by row too, unless that has length 0."""
    total = _ZERO
    apart = out.shape[0] > 0
    for row in range(keys.shape[0]):
        above = store.sponsor.parent[row]
        if above == FREE:
            continue
        key = keys[row]
        digest = profile_fact(store, row, key) + fact(key, _SPONSOR, keys[above] if above >= 0 else _ZERO)
        for slot in range(store.personal.shape[0]):
            digest += volume_fact(store, slot, row, key)
        total += digest
        if apart:
            out[row] += digest
    return total


@kernel
def _add_placements(store: Store, keys: UInt64s, out: UInt64s) -> np.uint64:
    """The sum of all placements, seat by seat; added to `out` by row too, unless that has length 0."""
    total = _ZERO
    tree = store.placement
    apart = out.shape[0] > 0
    for seat in range(keys.shape[0]):
        above = tree.parent[seat]
        if above == FREE:
            continue
        row = tree.row_at[seat]
        if above >= 0:
            digest = _placed(keys[row], keys[tree.row_at[above]], store.leg[row])
        else:
            digest = fact(keys[row], _PLACEMENT, _ZERO)
        total += digest
        if apart:
            out[row] += digest
    return total


def place_digests(store: Store, count: int) -> UInt64s:
    """The digest of each row from 0 to count - 1 without its further columns, (count,) uint64; 0 for a free row."""
    keys = keys_of(store.ids.words[:count])
    out = np.zeros(count, dtype=np.uint64)
    _add_rows(store, keys, out)
    _add_placements(store, keys, out)
    return out


def rows_digest(store: Store, keys: UInt64s) -> int:
    """The sum of all facts but placements and further columns, modulo 2^64. `keys`: (used,) of the ids by row."""
    return int(_add_rows(store, keys, np.empty(0, dtype=np.uint64)))


def placements_digest(store: Store, keys: UInt64s) -> int:
    """The sum of all placements, modulo 2^64. `keys`: (used,) of the ids by row."""
    return int(_add_placements(store, keys, np.empty(0, dtype=np.uint64)))


@kernel
def further_fact(key: np.uint64, tag: np.uint64, value: np.uint64) -> np.uint64:
    """One further column of a place."""
    return fact(key, tag, value)


@kernel
def digest_rows(store: Store, rows: Int32s, out: UInt64s) -> None:
    """Sets out[row], uint64 by row, to the digest of each of `rows` without its further columns."""
    for row in rows:
        out[row] = place_digest(store, row, key_at(store.ids.words, row))


@kernel
def add_facts(words: UInt32s, rows: Int32s, tag: np.uint64, numbers: UInt64s, unknown: np.uint64, out: UInt64s) -> None:
    """Adds a further column's fact of rows[i], a place, to out[i]. `words`: the ids by row; `numbers`: (n,) the value
    of each, `unknown` where it is not known.
    """
    for index in range(rows.shape[0]):
        if numbers[index] != unknown:
            out[index] += fact(key_at(words, rows[index]), tag, numbers[index])


@kernel
def sum_facts(keys: UInt64s, tag: np.uint64, numbers: UInt64s, unknown: np.uint64) -> np.uint64:
    """The sum of a further column's facts. `keys`: (n,) of the ids; `numbers`, `unknown`: as in add_facts."""
    total = _ZERO
    for index in range(keys.shape[0]):
        if numbers[index] != unknown:
            total += fact(keys[index], tag, numbers[index])
    return total


@inlined
def _leg_sum(store: Store, head: int, digests: UInt64s) -> np.uint64:
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
def sum_legs(store: Store, heads: Int32s, digests: UInt64s, out: UInt64s) -> None:
    """Sets out[i] to the sum of `digests`, uint64 by row, over heads[i] and its downline in the sponsor tree."""
    for index in range(heads.shape[0]):
        out[index] = _leg_sum(store, heads[index], digests)


@inlined
def record_digest(store: Store, position: int) -> None:
    """Notes the digest now as that at `position`."""
    store.digests[1 + position % RING] = store.digests[0]
