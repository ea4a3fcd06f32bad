"""A cut through the tree: the rows of a downline, copied at one position, and what is to become of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fasttree.v1 import report_pb2
from services.treenode.reports.copy.buffers import Buffers
from services.treenode.reports.copy.extents import downline, downline_size
from services.treenode.reports.copy.freeze import (
    FrozenLinks,
    copy_bytes,
    freeze_links,
    freeze_values,
    without_empty_places,
)
from services.treenode.reports.copy.node_reader import Context, NodeReader, Ready, Scan
from services.treenode.reports.plan.choice import Catalogue, Choice
from services.treenode.reports.plan.downlines import DownlinePlan, plan_downline
from services.treenode.reports.plan.filters import RowFilter
from services.treenode.reports.plan.paging import Sort
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree import Tree


@dataclass(frozen=True)
class Cut:
    """Copied rows; nothing of it changes with the tree."""

    #: Empty places and what the filter does not want among them.
    rows: FrozenRows
    choice: Choice
    row_filter: RowFilter
    sort: Sort

    def members(self) -> FrozenRows:
        """The rows that the report shows."""
        mask = self.row_filter.mask(self.rows)
        return without_empty_places(self.rows if mask is None else self.rows.take(np.flatnonzero(mask)))


def downline_scan(
    reader: NodeReader,
    request: report_pb2.ListDownlineRequest | report_pb2.StreamDownlineRequest,
    sort_key: report_pb2.SortKey | None,
    loop_rows_max: int,
    context: Context,
) -> Scan[Cut]:
    """How a downline is copied: a large one in two goes (see `freeze`). `sort_key`: None for tree order."""

    planned: list[tuple[Catalogue, DownlinePlan]] = []

    def plan(tree: Tree) -> DownlinePlan:
        """Made once for each catalogue: a filter may hold thousands of values."""
        catalogue = reader.catalogue(tree)
        if not planned or planned[0][0] is not catalogue:
            choice = reader.choice(tree, request.options, context)
            planned[:] = [(catalogue, plan_downline(choice, request.filter, sort_key, catalogue))]
        return planned[0][1]

    def begin_links(tree: Tree, buffers: Buffers | None) -> Callable[[], FrozenLinks]:
        wanted = plan(tree)

        def work() -> FrozenLinks:
            extent = downline(tree, wanted.choice, request.member_id, wanted.row_filter.max_level)
            return freeze_links(tree, wanted.choice, extent, wanted.columns, buffers=buffers)

        return work

    def begin(tree: Tree, ready: Ready) -> Callable[[], Cut]:
        wanted = plan(tree)
        copied = ready.links if ready.links is not None and ready.links.still_hold(tree) else None
        copy_links = begin_links(tree, ready.buffers)

        def work() -> Cut:
            links = copied or copy_links()
            rows = freeze_values(links, wanted.choice, wanted.columns, buffers=ready.buffers)
            return Cut(rows, wanted.choice, wanted.row_filter, wanted.sort)

        return work

    def size(tree: Tree) -> int:
        return downline_size(tree, reader.choice(tree, request.options, context), request.member_id)

    def buffer_bytes(tree: Tree, count: int) -> int:
        wanted = plan(tree)
        return copy_bytes(tree, wanted.choice, wanted.columns, count)

    return Scan(size, loop_rows_max, begin, buffer_bytes, begin_links)
