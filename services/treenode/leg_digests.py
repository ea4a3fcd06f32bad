"""Digests of a member's legs: two nodes that differ are compared leg by leg, down to the members that differ."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from services.treenode.tree import Tree
from services.treenode.tree.digest import leg_digests as sum_legs
from services.treenode.tree.digest import place_digests
from services.treenode.tree.ids import MAX_ID_LENGTH, find_row, packed_id
from services.treenode.tree.links import TOP
from services.treenode.tree.queries import member_id as id_of_row
from services.treenode.tree.walks import children_of


class LegDigest(NamedTuple):
    """A member's own digest, and that of the member with its whole downline."""

    member_id: str
    member_digest: int
    leg_digest: int


def leg_digests(tree: Tree, member_id: str) -> tuple[LegDigest | None, list[LegDigest]] | None:
    """The member's own digests, and those of each of its legs by member id; of "": None, and the roots'.

    None where nobody has that id. Places that a removed member left empty count as members here: they hold volume, and
    have legs. Scans the whole tree: run it in a thread.
    """
    row = TOP
    if member_id:
        if len(member_id) > MAX_ID_LENGTH or not member_id.isascii():
            return None
        row = int(find_row(tree.store.ids, packed_id(member_id), 0))
        if row < 0:
            return None
    digests = tree.further_digests()
    places = np.empty_like(digests)
    place_digests(tree.store, tree.store.used, places)
    digests += places
    heads = children_of(tree.sponsor, row)
    if row >= 0:
        heads = np.append(heads, np.int32(row)).astype(np.int32)
    sums = np.empty(len(heads), dtype=np.uint64)
    sum_legs(tree.store, heads, digests, sums)
    found = [
        LegDigest(id_of_row(tree, int(head)), int(digests[head]), int(leg))
        for head, leg in zip(heads, sums, strict=True)
    ]
    own = found.pop() if row >= 0 else None
    return own, sorted(found)
