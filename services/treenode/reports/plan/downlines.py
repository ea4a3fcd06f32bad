"""What a report of a downline asks for."""

from __future__ import annotations

from dataclasses import dataclass

from fasttree.v1 import report_pb2
from services.treenode.reports.columns import MEMBER_ID, Column
from services.treenode.reports.plan.choice import Catalogue, Choice
from services.treenode.reports.plan.filters import RowFilter, compile_filter
from services.treenode.reports.plan.paging import Sort, sort_of


@dataclass(frozen=True)
class DownlinePlan:
    """Which rows, which columns of them, in which order."""

    choice: Choice
    row_filter: RowFilter
    sort: Sort
    #: To copy beside those that the choice shows.
    columns: frozenset[Column]


def plan_downline(
    choice: Choice,
    row_filter: report_pb2.DownlineFilter,
    sort_key: report_pb2.SortKey | None,
    catalogue: Catalogue,
) -> DownlinePlan:
    """The plan of a request. `sort_key`: None for tree order, which needs nothing to sort by.

    Raises:
        InvalidArgumentError: Its filter or its sort can't be.
    """
    compiled = compile_filter(row_filter, catalogue)
    if sort_key is None:
        return DownlinePlan(choice, compiled, Sort(), compiled.columns)
    sort = sort_of(sort_key, catalogue)
    return DownlinePlan(choice, compiled, sort, compiled.columns | {MEMBER_ID, sort.column})
