"""Copies the columns that a report needs out of the tree, in two goes, so that updates wait as little as can be.

The first one copies what changes only with the tree's links: ids, parents, levels. The second one copies the values. If
no link changed in between (orders change none), the two are of one position, that of the second, and updates waited for
half of the copy at a time; else the second one does all of it.

Ids are copied too, since a removal frees a row for another member. The parent of a row is kept as a place in the copy:
within a clean range (see the tree's `links`) it is in the range itself; the first row of each range has its parent's id
in the copy's tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fasttree.v1 import types_pb2
from services.treenode.reports.columns import KIND, VOLUMES, Column, Kind, Where
from services.treenode.reports.copy import kernels
from services.treenode.reports.copy.buffers import Buffers
from services.treenode.reports.copy.extents import Extent, genealogy, scope
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree import Tree
from services.treenode.tree.kernels.addresses import address_of
from services.treenode.tree.kernels.kernel import AnyArray, Int64s, UInt8s


@dataclass(frozen=True)
class FrozenLinks:
    """The first half of a copy; good for as long as no link of its tree changes."""

    tree: Tree
    change_count: int
    extent: Extent
    ids: UInt8s
    values: Mapping[Column, AnyArray]

    def still_hold(self, tree: Tree) -> bool:
        """Whether the tree's links are what they were."""
        return tree is self.tree and tree.change_count == self.change_count


def columns_to_copy(tree: Tree, choice: Choice, columns: Iterable[Column], *, shown: bool) -> tuple[Column, ...]:
    """`columns`, those that the choice shows, and what tells empty places apart; each once."""
    wanted = dict.fromkeys((*columns, *(choice.columns if shown else ())))
    if tree.empty_place_count:
        wanted[KIND] = None
    return tuple(wanted)


def copy_bytes(tree: Tree, choice: Choice, columns: Iterable[Column], count: int, *, shown: bool = True) -> int:
    """Memory that `freeze` of `count` members takes, about."""
    wanted = columns_to_copy(tree, choice, columns, shown=shown)
    cells = sum(np.dtype(column.dtype).itemsize for column in wanted if column is not VOLUMES)
    volumes = 16 * len(tree.slots.keys) if VOLUMES in wanted else 0
    links = {column.where for column in wanted if column.kind is Kind.ID}
    ids = 4 * tree.store.ids.words.shape[1] * (len(links - {Where.MEMBER}) or len(links))
    # Beyond that: members who came since they were counted, parents outside, alignment.
    row_bytes: int = cells + volumes + ids + 1
    return (count + count // 64 + 1024) * row_bytes


def freeze_links(
    tree: Tree,
    choice: Choice,
    extent: Extent,
    columns: Iterable[Column],
    *,
    shown: bool = True,
    buffers: Buffers | None = None,
) -> FrozenLinks:
    """Copies what changes with links only. Parameters as of `freeze`."""
    buffers, ranges, count = buffers or Buffers(), extent.ranges, extent.seat_count
    wanted = [column for column in columns_to_copy(tree, choice, columns, shown=shown) if column.is_link]
    ids = [column for column in wanted if column.kind is Kind.ID]
    if (seen := scope(tree, choice)) is not None:
        seen.check(ranges)
    placement = choice.tree == types_pb2.TREE_PLACEMENT
    walked, other = (tree.placement, tree.sponsor) if placement else (tree.sponsor, tree.placement)
    above, elsewhere = (Where.PLACEMENT, Where.SPONSOR) if placement else (Where.SPONSOR, Where.PLACEMENT)
    sizes = {column.where: count for column in ids}
    id_rows = count + len(ranges) + sizes.get(elsewhere, 0) if ids else 0
    width = tree.store.ids.words.shape[1]
    links = kernels.CopiedLinks(
        words=buffers.take(id_rows * width, np.uint32).reshape(id_rows, width),
        member=buffers.take(sizes.get(Where.MEMBER, 0), np.int32),
        parent=buffers.take(sizes.get(above, 0), np.int32),
        other_parent=buffers.take(sizes.get(elsewhere, 0), np.int32),
    )
    copies = _copies(tree, choice, extent, [column for column in wanted if column.kind is not Kind.ID], buffers)
    kernels.copy_links(links, copies.table, tree.store.ids.words, walked, other, ranges, count)
    if seen is not None:
        seen.hide_above(ranges, links.parent, other, links.other_parent)
    rows = {Where.MEMBER: links.member, above: links.parent, elsewhere: links.other_parent}
    values = {**copies.values, **{column: rows[column.where] for column in ids}}
    return FrozenLinks(tree, tree.change_count, extent, links.words.view(np.uint8).reshape(id_rows, 4 * width), values)


def freeze_values(
    links: FrozenLinks,
    choice: Choice,
    columns: Iterable[Column],
    *,
    shown: bool = True,
    buffers: Buffers | None = None,
) -> FrozenRows:
    """Copies the values to links that still hold. Parameters as of `freeze`."""
    tree, extent, buffers = links.tree, links.extent, buffers or Buffers()
    walked, ranges, count = genealogy(tree, choice), extent.ranges, extent.seat_count
    wanted = columns_to_copy(tree, choice, columns, shown=shown)
    plain = [column for column in wanted if not column.is_link and column is not VOLUMES]
    copies = _copies(tree, choice, extent, plain, buffers)
    kernels.copy_columns(copies.table, count, walked.row_at, ranges)
    rows = FrozenRows(
        count=count,
        ids=links.ids,
        values={**links.values, **copies.values},
        names={
            column: _names(column.names(tree), None if choice.leads is None else copies.values[column])
            for column in plain
            if column.names is not None
        },
        texts={column: column.texts(tree) for column in plain if column.texts is not None},
    )
    if VOLUMES not in wanted:
        return rows
    slots = len(tree.slots.keys)
    personal = buffers.take(slots * count, np.int64).reshape(slots, count)
    group = buffers.take(slots * count, np.int64).reshape(slots, count)
    kernels.copy_volumes(personal, group, tree.store.personal, walked, ranges)
    names, order = zip(*tree.slots.in_order, strict=True)
    if order != tuple(range(slots)):  # some are free, or a later period took the place of an earlier one
        personal, group = personal[list(order)], group[list(order)]
    return replace(rows, volume_names=names, personal=personal, group=group)


def freeze(
    tree: Tree,
    choice: Choice,
    extent: Extent,
    columns: Iterable[Column] = (),
    *,
    shown: bool = True,
    buffers: Buffers | None = None,
) -> FrozenRows:
    """Copies columns of the extent's members; needs nothing of the tree afterwards.

    Args:
        columns: Beyond those that the choice shows.
        shown: False: `columns` only.
        buffers: Memory that was got ready for the copy.
    """
    links = freeze_links(tree, choice, extent, columns, shown=shown, buffers=buffers)
    return freeze_values(links, choice, columns, shown=shown, buffers=buffers)


def _names(names: Sequence[str], used: AnyArray | None) -> tuple[str, ...]:
    """What codes stand for; those alone that are used, where not all may be known."""
    if used is None:
        return tuple(names)
    known = set(np.unique(used).tolist())
    return tuple(name if code in known else "" for code, name in enumerate(names))


def without_empty_places(rows: FrozenRows) -> FrozenRows:
    """The rows that are members."""
    kinds = rows.values.get(KIND)
    if kinds is None or kinds.all():
        return rows
    return rows.take(np.flatnonzero(kinds))


class _Copies(NamedTuple):
    """What is to be copied, as kernels take it."""

    #: int64[columns, 6], see `kernels.HOW`.
    table: Int64s
    #: Where it goes.
    values: dict[Column, AnyArray]
    #: Where it comes from, kept for as long as the table.
    sources: list[AnyArray]


def _copies(tree: Tree, choice: Choice, extent: Extent, columns: Sequence[Column], buffers: Buffers) -> _Copies:
    walked, slot, count = genealogy(tree, choice), tree.slots.of(choice.volume_type, choice.period), extent.seat_count
    table: list[tuple[int, ...]] = []
    values, sources = {}, []
    for column in columns:
        if column.values is None:
            raise ValueError(f"column {column.name}: nothing says where in a tree it stands")
        source, target = column.values(tree, walked, slot), buffers.take(count, column.dtype)
        base = extent.base_level if column.where is Where.LEVEL else 0
        how = kernels.items(column.name, source.dtype, target.dtype)
        table.append((how, address_of(target), address_of(source), len(source), column.is_by_seat, base))
        values[column] = target
        sources.append(source)
    return _Copies(np.array(table, np.int64).reshape(-1, kernels.COPY), values, sources)
