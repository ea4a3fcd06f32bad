"""Passes over the texts of references: to pack them, to copy them out, to compare them."""

from __future__ import annotations

import numpy as np

from services.treenode.tree.columns.text_hash import LENGTH_BITS, LENGTH_MASK, address_at, prefetch_text
from services.treenode.tree.kernels.addresses import column_at
from services.treenode.tree.kernels.kernel import Int32s, Int64s, UInt8s, Whole, inner, kernel, mixed, whole


@kernel
def pack(
    references: Int64s, order: Int32s, table: Int64s, content: UInt8s, out: Int64s, olds: Int64s, news: Int64s
) -> Whole:
    """See Texts.packed; bytes written. `olds`, `news`: references that were packed, and where to; all zeros."""
    end = 0
    for index in range(order.shape[0]):
        reference = whole(references[order[index]])
        if reference == 0:
            out[index] = 0
            continue
        slot = whole(mixed(np.uint64(reference)) & np.uint64(olds.shape[0] - 1))
        if olds[slot] != reference:
            text = column_at(address_at(table, reference), reference & LENGTH_MASK, np.uint8)
            for place in range(text.shape[0]):
                content[end + place] = text[place]
            olds[slot] = reference
            news[slot] = (end << LENGTH_BITS) | text.shape[0]
            end += text.shape[0]
        out[index] = news[slot]
    return end


@kernel
def copy(references: Int64s, table: Int64s, out: UInt8s, offsets: Int64s) -> None:
    """See Texts.joined."""
    end = 0
    offsets[0] = 0
    for index in range(references.shape[0]):
        prefetch_text(references, index, table)
        reference = whole(references[index])
        if reference != 0:
            text = column_at(address_at(table, reference), reference & LENGTH_MASK, np.uint8)
            for place in range(text.shape[0]):
                out[end + place] = text[place]
            end += text.shape[0]
        offsets[index + 1] = end


@inner
def _compare(text: UInt8s, other: UInt8s, begin: Whole, end: Whole) -> Whole:
    """-1, 0 or 1 as a text comes before, is equal to or comes after other[begin:end]: UTF-8 has the order of its
    characters.
    """
    for place in range(min(text.shape[0], end - begin)):
        if text[place] != other[begin + place]:
            return np.int64(-1) if text[place] < other[begin + place] else np.int64(1)
    return np.int64(text.shape[0] > end - begin) - np.int64(text.shape[0] < end - begin)


@kernel
def texts_between(references: Int64s, table: Int64s, low: UInt8s, high: UInt8s, has_high: bool, out: UInt8s) -> None:
    """Sets out[i] to whether a text is from `low` to `high`, if there is one; the empty text is not."""
    for index in range(references.shape[0]):
        prefetch_text(references, index, table)
        out[index] = 0
        reference = whole(references[index])
        if reference != 0:
            text = column_at(address_at(table, reference), reference & LENGTH_MASK, np.uint8)
            if _compare(text, low, 0, low.shape[0]) >= 0 and (
                not has_high or _compare(text, high, 0, high.shape[0]) <= 0
            ):
                out[index] = 1


@kernel
def texts_among(
    references: Int64s, table: Int64s, wanted: UInt8s, starts: Int64s, has_empty: bool, out: UInt8s
) -> None:
    """Sets out[i] to whether a text is one of some. `wanted`: those, in order; `starts`: (n + 1,) where each begins in
    it; `has_empty`: the empty text is one too.
    """
    for index in range(references.shape[0]):
        prefetch_text(references, index, table)
        reference = whole(references[index])
        if reference == 0:
            out[index] = has_empty
            continue
        text = column_at(address_at(table, reference), reference & LENGTH_MASK, np.uint8)
        low, high, side = 0, starts.shape[0] - 1, np.int64(1)
        while low < high and side != 0:
            middle = (low + high) // 2
            side = _compare(text, wanted, starts[middle], starts[middle + 1])
            if side > 0:
                low = middle + 1
            elif side < 0:
                high = middle
        out[index] = low < high and side == 0
