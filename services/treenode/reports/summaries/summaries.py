"""Summaries of a downline: from a request to its groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from fasttree.v1 import report_pb2
from services.shared.serving.errors import InvalidArgumentError, OutOfRangeError
from services.treenode.reports.columns import KIND_TEXTS
from services.treenode.reports.copy.extents import Extent, genealogy, scope
from services.treenode.reports.copy.freeze import freeze
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.plan.filters import RowFilter
from services.treenode.reports.summaries.group_tables import GroupTables, MemberColumns, tabulate
from services.treenode.tree import Tree
from services.treenode.tree.kernels.kernel import Int64s

Dimension: TypeAlias = report_pb2.SummaryDimension.ValueType
LEVEL = report_pb2.SUMMARY_DIMENSION_LEVEL
STATUS = report_pb2.SUMMARY_DIMENSION_STATUS
RANK = report_pb2.SUMMARY_DIMENSION_RANK
KIND = report_pb2.SUMMARY_DIMENSION_KIND
EVERY = (LEVEL, STATUS, RANK, KIND)
#: Names of dimensions in a request, repeated ones among them.
DIMENSIONS_MAX = 100


def dimensions_of(asked: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """The dimensions of a request, each once, in its order; all where it names none.

    Raises:
        InvalidArgumentError: One that there is not, or too many.
    """
    if len(asked) > DIMENSIONS_MAX:
        raise InvalidArgumentError(
            f"dimensions has {len(asked)}: send {DIMENSIONS_MAX} at most",
            reason="DIMENSION_UNKNOWN",
            field="dimensions",
            value=str(len(asked)),
        )
    chosen = tuple(dict.fromkeys(asked))
    for dimension in chosen:
        if dimension not in EVERY:
            raise InvalidArgumentError(
                f"dimensions: {dimension} is none: use LEVEL, STATUS, RANK or KIND",
                reason="DIMENSION_UNKNOWN",
                field="dimensions",
                value=str(dimension),
            )
    return chosen or EVERY


def summarize(tree: Tree, choice: Choice, extent: Extent, row_filter: RowFilter) -> GroupTables:
    """The groups of an extent's members that the filter leaves. Sees one state of the tree.

    Raises:
        OutOfRangeError: The volumes are too large to be summed.
    """
    store, walked = tree.store, genealogy(tree, choice)
    if (seen := scope(tree, choice)) is not None:
        seen.check(extent.ranges)
    mask = np.empty(0, np.uint8)
    if row_filter.conditions:
        rows = freeze(tree, choice, extent, row_filter.columns, shown=False)
        found = row_filter.mask(rows)
        if found is not None:
            mask = found.view(np.uint8)
    slot = tree.slots.of(choice.volume_type, choice.period)
    columns = MemberColumns(
        level=walked.level,
        row_at=walked.row_at,
        kind=tree.shown.kind,
        status=store.status,
        rank=tree.shown.rank,
        personal=store.personal[slot],
    )
    try:
        magnitude = float(store.magnitudes[slot])
        return tabulate(columns, extent.ranges, extent.base_level, mask, len(tree.statuses.texts), magnitude)
    except OverflowError as error:
        raise OutOfRangeError(f"{error}: narrow the filter", reason="VOLUME_SUM_TOO_LARGE", field="filter") from error


def summary_answer(
    tables: GroupTables, dimensions: Iterable[Dimension], status_names: list[str]
) -> report_pb2.SummarizeDownlineResponse:
    """The answer, without its as_of. Groups without a member are left out."""
    members, volume = (int(number) for number in tables.kind.sum(axis=0))
    answer = report_pb2.SummarizeDownlineResponse(total=report_pb2.SummaryGroup(members=members, pv_hundredths=volume))
    for dimension in dimensions:
        summary = answer.summaries.add(dimension=dimension)
        if dimension == STATUS:
            groups = sorted(_groups(tables.status, status_names))
        elif dimension == KIND:
            groups = sorted(_groups(tables.kind, KIND_TEXTS))
        else:
            groups = _groups(tables.level if dimension == LEVEL else tables.rank, None)
        for key, count, amount in groups:
            summary.groups.add(key=key, members=count, pv_hundredths=amount)
    return answer


def _groups(table: Int64s, names: list[str] | tuple[str, ...] | None) -> list[tuple[str, int, int]]:
    """(key, members, volume) of each group that has members."""
    present = np.flatnonzero(table[:, 0])
    found = table[present].tolist()
    keys = [str(group) if names is None else names[group] for group in present.tolist()]
    return [(key, members, volume) for key, (members, volume) in zip(keys, found, strict=True)]
