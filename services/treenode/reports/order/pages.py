"""Sorted pages over copied rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from services.treenode.reports.columns import MEMBER_ID, Kind
from services.treenode.reports.order.ordering import NO_IDS, Point, RowOrder, first_rows, no_point, padded_id
from services.treenode.reports.order.text_places import places_as_numbers, places_of_names, places_of_texts
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
    values, after_value = _values(rows, sort, after)
    order = _order(rows, sort, values)
    point = _point(sort, after, after_value, width) if after is not None else no_point(width)
    chosen, more = first_rows(order, point, size)
    page = rows.take(chosen)
    return Page(page, _key(page, page.count - 1, sort) if more else None, rows.count)


def _values(rows: FrozenRows, sort: Sort, after: PageKey | None) -> tuple[Int64s, int]:
    """What rows are ordered by first, and where a key stands among that."""
    column = sort.column
    if column.kind is Kind.ID:
        return np.empty(0, np.int64), 0
    cells, after_text = rows.values[column], "" if after is None else after.text
    if column in rows.names:
        names = rows.names[column]
        places = places_of_names([*names, after_text])
        values, after_value = places[cells], int(places[-1])
    elif column in rows.texts:
        content, offsets = rows.texts[column].joined(cells)
        texts = pa.LargeStringArray.from_buffers(rows.count, pa.py_buffer(offsets), pa.py_buffer(content))
        texts = pa.concat_arrays([texts, pa.array([after_text], pa.large_string())])
        as_number = sort.as_number
        places = places_as_numbers(texts, descending=sort.descending) if as_number else places_of_texts(texts)
        values, after_value = places[:-1].copy(), int(places[-1])
    else:
        values, after_value = cells.astype(np.int64), 0 if after is None else after.number or 0
    if sort.descending:
        np.invert(values, out=values)  # ~v turns the order round for every int64; -v would not for the smallest.
        after_value = ~after_value
    return values, after_value


def _order(rows: FrozenRows, sort: Sort, values: Int64s) -> RowOrder:
    member = rows.values[MEMBER_ID]
    if sort.column.kind is not Kind.ID:
        return RowOrder(values, NO_IDS, False, member, rows.ids)
    named = NO_IDS if sort == Sort() else rows.values[sort.column]
    return RowOrder(values, named, sort.descending, member, rows.ids)


def _point(sort: Sort, after: PageKey, after_value: int, width: int) -> Point:
    """A text that no row here has, or ever had, stands where it would: among all others."""
    named = padded_id(after.text if sort.column.kind is Kind.ID else "", width)
    return Point(True, after_value, named, padded_id(after.member_id, width))


def _key(rows: FrozenRows, row: int, sort: Sort) -> PageKey:
    part = rows.part(row, row + 1)
    member_id = part.id_texts(MEMBER_ID)[0].decode()
    if sort.column.kind is Kind.ID:
        return PageKey(None, part.id_texts(sort.column)[0].decode(), member_id)
    value = int(part.values[sort.column][0])
    if sort.column in part.names:
        return PageKey(None, part.names[sort.column][value], member_id)
    if sort.column in part.texts:
        return PageKey(None, part.texts[sort.column].text_at(value), member_id)
    return PageKey(value, "", member_id)
