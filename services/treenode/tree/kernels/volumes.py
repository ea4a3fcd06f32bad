"""What is computed of one slot's volumes as a whole."""

from __future__ import annotations

import numpy as np

from services.treenode.tree.columns.digest import volume_fact
from services.treenode.tree.columns.ids import key_at
from services.treenode.tree.kernels.kernel import kernel
from services.treenode.tree.kernels.links import FREE
from services.treenode.tree.store import USED, Store


@kernel
def volumes_digest(store: Store, slot: int) -> np.uint64:
    """The share of a slot's volumes in the digest, modulo 2^64."""
    total = np.uint64(0)
    for row in range(store.counters[USED]):
        if store.sponsor.parent[row] != FREE and store.personal[slot, row] != 0:
            total += volume_fact(store, slot, row, key_at(store.ids.words, row))
    return total
