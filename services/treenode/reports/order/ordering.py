"""The first k of many rows in an order, past a point in it: a sorted page, or a top N.

An order has three keys: a value (int64, already turned round for "largest first"), then an id that the sort names
(member_id, sponsor_id, placement_id; it may run downwards), then the member's own id, upwards. No two rows are equal in
it, so the last row of a page is a point from which any node can go on.

One pass gathers rows that may be among the first k; whenever 4 k are together, they are sorted, cut to k, and the last
one bounds what is gathered from then on. O(n) for most orders of rows, O(n log k) at worst, and no copy of the n rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.treenode.tree.kernels.kernel import AnyArray as Array
from services.treenode.tree.kernels.kernel import Int32s, Int64s, UInt8s, Whole, kernel

NO_IDS = np.empty(0, np.int32)
#: Rows that are gathered before they are sorted, at least.
GATHERED_ROWS_MIN = 1_024


class RowOrder(NamedTuple):
    """What rows are ordered by; n rows, w the width of ids."""

    #: int64[n]; empty: all the same.
    value: Array
    #: int32[n]: row in `ids` of the id that is sorted by, -1 for an empty one; empty array: none.
    named: Array
    #: The named id runs downwards.
    named_descending: bool
    #: int32[n]: row in `ids` of the member.
    member: Array
    #: uint8[members, w], zero-padded.
    ids: Array


class Point(NamedTuple):
    """A place in an order; rows strictly after it are wanted."""

    #: False: from the start.
    given: bool
    value: int
    #: uint8[w], zero-padded.
    named: Array
    member: Array


@kernel
def _compare(ids: UInt8s, row: Whole, text: UInt8s) -> Whole:
    """-1, 0 or 1 as the id in `row` (-1: the empty one) is before, equal to or after a text."""
    if row < 0:
        return np.int64(0) if text[0] == 0 else np.int64(-1)
    for place in range(ids.shape[1]):
        if ids[row, place] != text[place]:
            return np.int64(-1) if ids[row, place] < text[place] else np.int64(1)
    return np.int64(0)


@kernel
def _between(order: RowOrder, after: Point, before: Point, first: Whole, rows: Int64s) -> tuple[Whole, Whole]:
    """Fills `rows` with rows from `first` on that lie strictly between two points, until it is full.

    (The next row to look at, how many were found.) What is called within the loop gets one array only: counting
    references to more would cost more than the comparison.
    """
    value, named, member, ids = order.value, order.named, order.member, order.ids
    valued = value.shape[0] > 0
    is_named = named.shape[0] > 0
    turn = -1 if order.named_descending else 1
    found = 0
    for row in range(first, member.shape[0]):
        if after.given:
            side = np.int64(0)
            if valued:
                side = np.int64(value[row] > after.value) - np.int64(value[row] < after.value)
            if side == 0 and is_named:
                side = turn * _compare(ids, named[row], after.named)
            if side == 0:
                side = _compare(ids, member[row], after.member)
            if side <= 0:
                continue
        if before.given:
            side = np.int64(0)
            if valued:
                side = np.int64(value[row] > before.value) - np.int64(value[row] < before.value)
            if side == 0 and is_named:
                side = turn * _compare(ids, named[row], before.named)
            if side == 0:
                side = _compare(ids, member[row], before.member)
            if side >= 0:
                continue
        rows[found] = row
        found += 1
        if found == rows.shape[0]:
            return row + 1, found
    return member.shape[0], found


def first_rows(order: RowOrder, point: Point, count_max: int) -> tuple[Int64s, bool]:
    """The first `count_max` (≥ 1) rows after `point`, in order, and whether there are more. Lets other threads run."""
    gathered = np.empty(min(len(order.member), max(4 * count_max, GATHERED_ROWS_MIN)), np.int64)
    kept: Int64s = gathered[:0].copy()
    bound = no_point(order.ids.shape[1])
    following, more = 0, False
    while following < len(order.member):
        following, found = _between(order, point, bound, following, gathered)
        kept = _sorted(order, np.concatenate((kept, gathered[:found])))
        if len(kept) > count_max:
            kept, more = kept[:count_max], True
            bound = _point_of(order, int(kept[-1]))
    return kept, more


def _sorted(order: RowOrder, rows: Int64s) -> Int64s:
    """The rows in order: by the last key first, each sort keeping what the one before made."""
    rows = rows[np.argsort(_texts(order.ids, order.member[rows]), kind="stable")]
    if len(order.named):
        texts = _texts(order.ids, order.named[rows])
        if order.named_descending:
            backwards = np.argsort(texts[::-1], kind="stable")[::-1]
            rows = rows[len(rows) - 1 - backwards]
        else:
            rows = rows[np.argsort(texts, kind="stable")]
    if len(order.value):
        rows = rows[np.argsort(order.value[rows], kind="stable")]
    return rows


def _texts(ids: UInt8s, rows: Int32s) -> npt.NDArray[np.bytes_]:
    texts = np.ascontiguousarray(ids[rows]).view(f"S{ids.shape[1]}").reshape(len(rows))
    texts[rows < 0] = b""
    return texts


def _point_of(order: RowOrder, row: int) -> Point:
    nobody = np.zeros(order.ids.shape[1], np.uint8)
    named = order.named[row] if len(order.named) else -1
    return Point(
        given=True,
        value=int(order.value[row]) if len(order.value) else 0,
        named=order.ids[named] if named >= 0 else nobody,
        member=order.ids[order.member[row]],
    )


def padded_id(text: str, width: int) -> npt.NDArray[np.uint8]:
    """An id as a row of `ids`; what is longer than `width` is cut."""
    padded = np.zeros(width, np.uint8)
    content = text.encode()[:width]
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    return padded


def no_point(width: int) -> Point:
    """From the start."""
    return Point(False, 0, np.zeros(width, np.uint8), np.zeros(width, np.uint8))
