"""What a page asks of a report, in the words of its address: options, columns, order, filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from fasttree.client import to_hundredths
from fasttree.client.forms.members import enum_names
from fasttree.v1 import report_pb2, types_pb2
from services.console.http.answers import AskError, whole_of

ROW: Final = (
    "member_id", "sponsor_id", "level", "kind", "status", "rank", "joined_on", "pv", "gv", "downline_count",
)  # fmt: skip
#: Rows of a page, at most.
SIZE_MAX: Final = 2_000
_TREES: Final = {"": types_pb2.TREE_SPONSOR, "sponsor": types_pb2.TREE_SPONSOR, "placement": types_pb2.TREE_PLACEMENT}
_KINDS: Final = {name: number for number, name in enum_names(types_pb2.MemberKind.DESCRIPTOR).items()}


def options_of(query: Mapping[str, str], columns: Sequence[str]) -> report_pb2.ReportOptions:
    tree = _TREES.get(query.get("tree", ""))
    if tree is None:
        raise AskError("tree must be sponsor or placement")
    return report_pb2.ReportOptions(
        tree=tree,
        volume_type=query.get("volume_type", ""),
        period=query.get("period", ""),
        as_of_period=query.get("as_of_period", ""),
        columns=columns,
    )


def columns_of(query: Mapping[str, str]) -> list[str]:
    """Those asked for, a JSON-free list: one a line, since a name may have any other character."""
    named = [name for name in query.get("columns", "").split("\n") if name]
    return named[:64] or list(ROW)


def sort_of(query: Mapping[str, str]) -> report_pb2.SortKey | None:
    column = query.get("sort", "")
    return report_pb2.SortKey(column=column, descending=query.get("descending") == "1") if column else None


def size_of(query: Mapping[str, str]) -> int:
    return min(max(whole_of(query, "size") or 100, 1), SIZE_MAX)


def filter_of(query: Mapping[str, str]) -> report_pb2.DownlineFilter:
    made = report_pb2.DownlineFilter(
        min_level=whole_of(query, "min_level"),
        max_level=whole_of(query, "max_level"),
        joined_from=query.get("joined_from", ""),
        joined_to=query.get("joined_to", ""),
        statuses=[query["status"]] if query.get("status") else [],
    )
    if kind := query.get("kind"):
        if kind not in _KINDS:
            raise AskError(f"kind must be {' or '.join(_KINDS)}")
        made.kinds.append(cast("types_pb2.MemberKind.ValueType", _KINDS[kind]))
    if query.get("min_rank"):
        made.min_rank = whole_of(query, "min_rank")
    for column in ("pv", "gv"):
        if least := query.get(f"min_{column}"):
            made.ranges.add(column=column, min=str(to_hundredths(least)))
    return made
