"""How many rows a page has, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

from fasttree.v1 import report_pb2
from services.shared.serving.errors import InvalidArgumentError
from services.treenode.reports.columns import MEMBER_ID, Column, Kind
from services.treenode.reports.plan.choice import Catalogue, known_column

PAGE_SIZE = 1_000
PAGE_SIZE_MAX = 10_000


@dataclass(frozen=True)
class Sort:
    """What rows are sorted by; ties go by member_id."""

    column: Column = MEMBER_ID
    descending: bool = False
    #: Texts that are numbers go by their value, ahead of all others.
    as_number: bool = False


def sort_of(key: report_pb2.SortKey, catalogue: Catalogue) -> Sort:
    """The sort that a request asks for.

    Raises:
        InvalidArgumentError: No such column, or none whose texts may be numbers.
    """
    column = known_column(key.column, catalogue, "sort.column") if key.column else MEMBER_ID
    if key.as_number and column.kind is not Kind.TEXT:
        raise InvalidArgumentError(
            f'sort.as_number is for columns of texts, and "{column.name}" is none: leave it out',
            reason="SORT_INVALID",
            field="sort.as_number",
            value=column.name,
        )
    return Sort(column, key.descending, key.as_number)


def page_size(asked: int, most: int = PAGE_SIZE_MAX, default: int = PAGE_SIZE, field: str = "page_size") -> int:
    """The rows of a page.

    Raises:
        InvalidArgumentError: More than `most`.
    """
    if asked > most:
        raise InvalidArgumentError(
            f"{field} {asked} is too large: ask for {most} at most, and for the rest by page or stream",
            reason="PAGE_TOO_LARGE",
            field=field,
            value=str(asked),
        )
    return asked or default
