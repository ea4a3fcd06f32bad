"""Which members of a downline a report counts: `--min`, `--max` and `--is`, each with a column and a value.

Every condition has to be met; several values of one column by `--is` are alternatives. What each column takes, and how
far its values go, stands in `_FIXED`; all other columns are the tree's own, whose values the node judges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import click

from fasttree.client import UpdateFormatError, to_hundredths
from fasttree.client.errors import CallError
from fasttree.client.forms.members import KNOWN_COLUMNS, enum_names
from fasttree.command.ranges import COUNT, COUNT_OR_NONE, RANK, Day
from fasttree.command.reports.asked import gathered
from fasttree.command.reports.field_names import told_of_conditions
from fasttree.v1 import report_pb2, types_pb2

Command = TypeVar("Command", bound=Callable[..., Any])
Conditions = tuple[tuple[str, str], ...]

_KINDS = {name: number for number, name in enum_names(types_pb2.MemberKind.DESCRIPTOR).items()}


class _Bounds(NamedTuple):
    """A column with a lower and an upper bound of its own in the API's filter."""

    least: str
    most: str
    #: What each of them may be: of a level, no upper bound is written as 0.
    least_kind: click.ParamType[Any]
    most_kind: click.ParamType[Any]


_FIXED = {
    "level": _Bounds("min_level", "max_level", COUNT_OR_NONE, COUNT),
    "rank": _Bounds("min_rank", "max_rank", RANK, RANK),
    "joined_on": _Bounds("joined_from", "joined_to", Day(), Day()),
}
#: Lists of the API's filter, and what a value is there.
_LISTS: Mapping[str, tuple[str, click.ParamType[Any]]] = {
    "status": ("statuses", click.STRING),
    "kind": ("kinds", click.Choice(list(_KINDS))),
}
_AMOUNTS = ("pv", "gv")
_NOT_FILTERED = KNOWN_COLUMNS.keys() - {*_FIXED, *_LISTS, *_AMOUNTS, "downline_count"} | {"volumes"}

_OPTIONS = [
    click.option("--levels", type=COUNT_OR_NONE, default=0, help="Only this many levels below; 0: all."),
    click.option(
        "--min",
        "least",
        nargs=2,
        multiple=True,
        metavar="COLUMN VALUE",
        help="Only those with at least this: --min gv 1000, --min rank 3, --min joined_on 2026-01-31.",
    ),
    click.option("--max", "most", nargs=2, multiple=True, metavar="COLUMN VALUE", help="Only those with at most this."),
    click.option(
        "--is",
        "equal",
        nargs=2,
        multiple=True,
        metavar="COLUMN VALUE",
        help="Only those with this: --is status A, --is kind customer. Several of one column: any of them.",
    ),
]


def filter_options(command: Command) -> Command:
    """Adds the conditions; the command gets them as `wanted`, a DownlineFilter."""
    return gathered(command, _OPTIONS, "wanted", _filter, _told)


def _told(error: CallError, wanted: report_pb2.DownlineFilter) -> str | None:
    return told_of_conditions(error, wanted, (*_FIXED, *_LISTS))


def _filter(levels: int, least: Conditions, most: Conditions, equal: Conditions) -> report_pb2.DownlineFilter:
    """The conditions as the API takes them. Raises click.BadParameter, which names the option and the mend."""
    built = _Building(report_pb2.DownlineFilter(max_level=levels))
    for column, value in least:
        built.least(column, value)
    for column, value in most:
        built.most(column, value)
    for column, value in equal:
        built.equal(column, value)
    return built.message


class _Building:
    def __init__(self, message: report_pb2.DownlineFilter) -> None:
        self.message = message
        self._ranges: dict[str, report_pb2.ColumnRange] = {}
        #: The option that set a bound, by column and end: "--levels".
        self._set_by = {("level", "most"): "--levels"} if message.max_level else {}

    def least(self, column: str, value: str, option: str = "--min") -> None:
        self._once(option, column, "least")
        if bounds := _FIXED.get(column):
            setattr(self.message, bounds.least, _typed(bounds.least_kind, f"{option} {column}", value))
        else:
            self._range(option, column).min = _range_value(option, column, value)

    def most(self, column: str, value: str, option: str = "--max") -> None:
        self._once(option, column, "most")
        if bounds := _FIXED.get(column):
            setattr(self.message, bounds.most, _typed(bounds.most_kind, f"{option} {column}", value))
        else:
            self._range(option, column).max = _range_value(option, column, value)

    def equal(self, column: str, value: str) -> None:
        if column in _FIXED:  # the API has two bounds for it, and no list
            self.least(column, value, "--is")
            self.most(column, value, "--is")
        elif listed := _LISTS.get(column):
            name, kind = listed
            typed = _typed(kind, f"--is {column}", value)
            getattr(self.message, name).append(_KINDS[typed] if column == "kind" else typed)
        else:
            is_empty_cell = not value and column not in KNOWN_COLUMNS
            found = "" if is_empty_cell else _range_value("--is", column, value)
            self._range("--is", column).any_of.append(found)

    def _once(self, option: str, column: str, end: str) -> None:
        if column in _LISTS:
            raise click.BadParameter(f"{option} {column}: it has no order; write --is {column} VALUE")
        if before := self._set_by.get((column, end)):
            raise click.BadParameter(f"{option} {column}: {before} says that already; leave one of them out")
        self._set_by[column, end] = option

    def _range(self, option: str, column: str) -> report_pb2.ColumnRange:
        if column in _NOT_FILTERED or not column:
            filtered = ", ".join([*_FIXED, *_LISTS, *_AMOUNTS, "downline_count"])
            raise click.BadParameter(
                f'{option} "{column}": members are not filtered by that; write one of {filtered}, or a further column '
                "(`fasttree describe` lists them)"
            )
        if column not in self._ranges:
            self._ranges[column] = self.message.ranges.add(column=column)
        return self._ranges[column]


def _range_value(option: str, column: str, value: str) -> str:
    """A value of a range as the API takes it: volumes in hundredths."""
    text: str = _typed(click.STRING, f"{option} {column}", value)
    if column not in _AMOUNTS:
        return text
    try:
        return str(to_hundredths(text))
    except UpdateFormatError as error:
        raise click.BadParameter(f"{option} {column}: {error}") from None


def _typed(kind: click.ParamType[Any], said: str, value: str) -> Any:
    if not value:
        raise click.BadParameter(f"{said}: a value is missing")
    try:
        return kind.convert(value, None, None)
    except click.BadParameter as error:
        raise click.BadParameter(f"{said}: {error.message}") from None
