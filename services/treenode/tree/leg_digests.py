"""Digests of a member and of each of its legs: to find where two nodes' trees differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.treenode.tree.columns.digest import digest_rows, place_digests, sum_legs
from services.treenode.tree.columns.ids import ids_of
from services.treenode.tree.kernels.kernel import UInt64s
from services.treenode.tree.kernels.links import TOP
from services.treenode.tree.kernels.walks import children_of, downline_seats
from services.treenode.tree.tree import Tree


@dataclass(frozen=True)
class LegDigest:
    """A place's own digest, and that of it and its whole downline in the sponsor tree."""

    member_id: str
    member_digest: int
    leg_digest: int


def leg_digests(tree: Tree, row: int) -> tuple[LegDigest | None, list[LegDigest]]:
    """The digests of a row (None for TOP), and of each of its legs, or of the roots, sorted by id.

    Empty places are among the legs, since they have facts too. Scans the row's downline.
    """
    heads = children_of(tree.sponsor, row)
    rows = downline_seats(tree.sponsor, heads, tree.empty_place_count)
    if row != TOP:
        rows = np.append(rows, np.int32(row))
    digests: UInt64s
    if len(rows) > tree.store.used // 4:
        # Passes over everything read each id once, and not at random.
        digests = place_digests(tree.store, tree.store.used)
    else:
        digests = np.zeros(tree.store.used, dtype=np.uint64)
        digest_rows(tree.store, rows, digests)
    for column in tree.further.values():
        column.add_digests(tree.store.ids.words, rows, digests)
    sums = np.empty(len(heads), dtype=np.uint64)
    sum_legs(tree.store, heads, digests, sums)
    ids = ids_of(tree.store.ids.words[heads]).tolist()
    legs = [
        LegDigest(member_id.decode(), int(digests[head]), int(total))
        for member_id, head, total in zip(ids, heads.tolist(), sums, strict=True)
    ]
    legs.sort(key=lambda leg: leg.member_id)
    if row == TOP:
        return None, legs
    own = int(digests[row])
    member_id = ids_of(tree.store.ids.words[row : row + 1])[0].decode()
    return LegDigest(member_id, own, (own + sum(leg.leg_digest for leg in legs)) % 2**64), legs
