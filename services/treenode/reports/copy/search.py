"""Members by the beginning of their id."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from services.treenode.reports.order.ordering import NO_IDS, RowOrder, first_rows, no_point
from services.treenode.tree.columns.ids import words_of
from services.treenode.tree.kernels.kernel import Int32s, UInt8s, UInt32s, Whole, kernel
from services.treenode.tree.store import NOBODY, Store


@kernel
def _matching_rows(words: UInt32s, kind: UInt8s, used: Whole, prefix: UInt32s, mask: UInt32s, rows: Int32s) -> Whole:
    """Fills `rows` with the members whose id has `prefix` where `mask` has ones; how many there are."""
    found = 0
    for row in range(used):
        matches = kind[row] != NOBODY
        for word in range(prefix.shape[0]):
            matches &= (words[row, word] & mask[word]) == prefix[word]
        if matches:
            rows[found] = row
            found += 1
    return found


def rows_by_prefix(store: Store, prefix: str, limit: int, seen: Callable[[Int32s], NDArray[np.bool_]]) -> Int32s:
    """Rows of the first `limit` members, by id, whose id begins with `prefix` (1 to 32 ASCII characters). `seen`: of
    rows, whether the caller sees them.

    Reads every id once, front to back: about a millisecond a million members, and nothing to keep up to date.
    """
    wanted = words_of([prefix])[0]
    mask = words_of([b"\xff" * len(prefix)])[0]
    length = int(np.count_nonzero(mask))
    if length > store.ids.words.shape[1]:
        return np.empty(0, np.int32)
    rows = np.empty(store.used, np.int32)
    found = int(_matching_rows(store.ids.words, store.kind, store.used, wanted[:length], mask[:length], rows))
    ids = store.ids.words.view(np.uint8).reshape(len(store.ids.words), -1)
    rows = rows[:found]
    rows = rows[seen(rows)]
    order = RowOrder(np.empty(0, np.int64), NO_IDS, False, rows, ids)
    chosen, _ = first_rows(order, no_point(ids.shape[1]), limit)
    return rows[chosen]
