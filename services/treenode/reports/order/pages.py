"""Sorted pages over copied rows."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from services.treenode.reports.columns import MEMBER_ID, Kind
from services.treenode.reports.order.ordering import NO_IDS, Point, RowOrder, first_rows, no_point, padded_id
from services.treenode.reports.plan.page_tokens import PageKey
from services.treenode.reports.plan.paging import Sort
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree.kernels.kernel import Int64s


@dataclass(frozen=True)
class Page:
    """Some rows in order."""

    rows: FrozenRows
    #: The last row's key, where more rows follow.
    next_key: PageKey | None
    #: All rows, on every page.
    total_count: int


def first_page(rows: FrozenRows, sort: Sort, after: PageKey | None, size: int) -> Page:
    """The first `size` rows after a key, in order. The rows must have member_id and the sort's column."""
    width = rows.ids.shape[1]
    if rows.count == 0:
        return Page(rows, None, 0)
    order = _order(rows, sort)
    point = _point(rows, sort, after, width) if after is not None else no_point(width)
    chosen, more = first_rows(order, point, size)
    page = rows.take(chosen)
    return Page(page, _key(page, page.count - 1, sort) if more else None, rows.count)


def _order(rows: FrozenRows, sort: Sort) -> RowOrder:
    member = rows.values[MEMBER_ID]
    nothing: Int64s = np.empty(0, np.int64)
    if sort.column.kind is Kind.ID:
        named = NO_IDS if sort == Sort() else rows.values[sort.column]
        return RowOrder(nothing, named, sort.descending, member, rows.ids)
    values = rows.values[sort.column].astype(np.int64)
    texts = rows.texts.get(sort.column)
    if texts is not None:
        places = np.empty(len(texts), np.int64)
        places[sorted(range(len(texts)), key=texts.__getitem__)] = np.arange(len(texts))
        values = places[values]
    if sort.descending:
        np.invert(values, out=values)  # ~v turns the order round for every int64; -v would not for the smallest.
    return RowOrder(values, NO_IDS, False, member, rows.ids)


def _point(rows: FrozenRows, sort: Sort, after: PageKey, width: int) -> Point:
    member = padded_id(after.member_id, width)
    if sort.column.kind is Kind.ID:
        return Point(True, 0, padded_id(after.text, width), member)
    texts = rows.texts.get(sort.column)
    if texts is None:
        value = after.number or 0
    else:
        ordered = sorted(texts)
        value = bisect_left(ordered, after.text)
        if value == len(ordered) or ordered[value] != after.text:
            # A text that no row here ever had: all rows of the next text come after it, whatever their id.
            member = padded_id("", width)
            value -= sort.descending
    return Point(True, ~value if sort.descending else value, padded_id("", width), member)


def _key(rows: FrozenRows, row: int, sort: Sort) -> PageKey:
    part = rows.part(row, row + 1)
    member_id = part.id_texts(MEMBER_ID)[0].decode()
    if sort.column.kind is Kind.ID:
        return PageKey(None, part.id_texts(sort.column)[0].decode(), member_id)
    value = int(part.values[sort.column][0])
    texts = part.texts.get(sort.column)
    return PageKey(value, "", member_id) if texts is None else PageKey(None, texts[value], member_id)
