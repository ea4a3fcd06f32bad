"""Filters of a downline: from the request to a mask over rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fasttree.v1 import report_pb2, types_pb2
from services.shared.domain.columns import is_number
from services.shared.domain.limits import DECIMAL_SCALE, NO_DAY, NO_NUMBER, NUMBER_LENGTH_MAX
from services.shared.domain.sentences import quoted
from services.shared.serving.errors import InvalidArgumentError
from services.treenode.reports.columns import COLUMNS, KIND, LEVEL, RANGE_COLUMNS, Column, Kind
from services.treenode.reports.plan.choice import Catalogue, known_column
from services.treenode.reports.plan.days import day_number
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree.columns.text_kernels import texts_among, texts_between
from services.treenode.tree.kernels.kernel import UInt8s

Mask = npt.NDArray[np.bool_]
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
#: What an empty cell holds, where a cell may be empty.
EMPTY_CELLS = {Kind.DATE: NO_DAY, Kind.INTEGER: NO_NUMBER, Kind.DECIMAL: NO_NUMBER}
#: Values in all lists of a request together, at most: each costs a look, whatever column it is for.
VALUES_MAX = 10_000
RANGES_MAX = 100
_KINDS = frozenset(types_pb2.MemberKind.values())


class Condition(Protocol):
    """One thing that every row left must meet."""

    @property
    def column(self) -> Column:
        """The column that it reads."""

    def holds(self, rows: FrozenRows) -> Mask:
        """bool[rows.count]."""


@dataclass(frozen=True)
class NumberRange:
    """low ≤ value ≤ high; an empty cell is in no range."""

    column: Column
    low: int
    high: int
    #: What an empty cell holds; None where no cell is empty.
    empty: int | None = None

    def holds(self, rows: FrozenRows) -> Mask:
        """bool[rows.count]."""
        values = rows.values[self.column]
        bounds = np.iinfo(values.dtype)
        if self.low > bounds.max or self.high < bounds.min or self.low > self.high:
            return np.zeros(rows.count, np.bool_)
        mask = np.ones(rows.count, np.bool_)
        if self.low > bounds.min:
            mask &= values >= self.low
        if self.high < bounds.max:
            mask &= values <= self.high
        if self.empty is not None and self.low <= self.empty:
            mask &= values != self.empty
        return mask


@dataclass(frozen=True)
class NumberIn:
    """The value is one of some."""

    column: Column
    values: tuple[int, ...]

    def holds(self, rows: FrozenRows) -> Mask:
        """bool[rows.count]."""
        return np.isin(rows.values[self.column], np.array(self.values, np.int64))


@dataclass(frozen=True)
class NameIn:
    """What a code stands for is one of some."""

    column: Column
    names: frozenset[str]

    def holds(self, rows: FrozenRows) -> Mask:
        """bool[rows.count]."""
        names = rows.names[self.column]
        passes: Mask = np.fromiter((name in self.names for name in names), np.bool_, len(names))
        found: Mask = passes[rows.values[self.column]]
        return found


@dataclass(frozen=True)
class TextRange:
    """low ≤ text ≤ high, by the characters' numbers; no high end where it is empty. An empty text is in no range."""

    column: Column
    low: str
    high: str

    def holds(self, rows: FrozenRows) -> Mask:
        """bool[rows.count]."""
        references, table = rows.values[self.column], rows.texts[self.column].table
        out = np.empty(rows.count, np.uint8)
        low, high = _array_of(self.low.encode()), _array_of(self.high.encode())
        texts_between(references, table, low, high, bool(self.high), out)
        return out.view(np.bool_)


@dataclass(frozen=True)
class TextIn:
    """The text is one of some."""

    column: Column
    texts: frozenset[str]

    def holds(self, rows: FrozenRows) -> Mask:
        """bool[rows.count]."""
        references, table = rows.values[self.column], rows.texts[self.column].table
        wanted = sorted(text.encode() for text in self.texts if text)
        starts = np.concatenate(([0], np.cumsum([len(text) for text in wanted], dtype=np.int64)))
        out = np.empty(rows.count, np.uint8)
        texts_among(references, table, _array_of(b"".join(wanted)), starts.astype(np.int64), "" in self.texts, out)
        return out.view(np.bool_)


def _array_of(text: bytes) -> UInt8s:
    """A text for kernels, which are compiled for arrays that may be written."""
    return np.frombuffer(bytearray(text) + b"\0", np.uint8)[: len(text)]


@dataclass(frozen=True)
class RowFilter:
    """All conditions of a request."""

    conditions: Sequence[Condition]
    #: No deeper level is wanted; 0: any.
    max_level: int = 0

    @property
    def columns(self) -> frozenset[Column]:
        """The columns that it reads."""
        return frozenset(condition.column for condition in self.conditions)

    def mask(self, rows: FrozenRows) -> Mask | None:
        """The rows that meet every condition; None: all."""
        mask: Mask | None = None
        for condition in self.conditions:
            holds = condition.holds(rows)
            mask = holds if mask is None else mask & holds
        return mask


#: No conditions.
EVERYONE = RowFilter(())


def compile_filter(message: report_pb2.DownlineFilter, catalogue: Catalogue) -> RowFilter:
    """The filter as conditions.

    Raises:
        InvalidArgumentError: A column, kind, day or number that can't be; names the field and the value.
    """
    _check_size(message)
    conditions: list[Condition] = []
    if message.min_level or message.max_level:
        conditions.append(NumberRange(LEVEL, message.min_level, message.max_level or INT64_MAX))
    for kind in message.kinds:
        if kind not in _KINDS:
            raise _wrong("filter.kinds", str(kind), "KIND_UNKNOWN", "use DISTRIBUTOR or CUSTOMER")
    if message.kinds and types_pb2.MEMBER_KIND_UNSPECIFIED not in message.kinds:
        conditions.append(NumberIn(KIND, tuple(message.kinds)))
    if message.statuses:
        conditions.append(NameIn(COLUMNS["status"], frozenset(message.statuses)))
    if message.HasField("min_rank") or message.HasField("max_rank"):
        low = message.min_rank if message.HasField("min_rank") else INT64_MIN
        high = message.max_rank if message.HasField("max_rank") else INT64_MAX
        conditions.append(NumberRange(COLUMNS["rank"], low, high))
    if message.joined_from or message.joined_to:
        low = day_number(message.joined_from, "filter.joined_from") if message.joined_from else INT64_MIN
        high = day_number(message.joined_to, "filter.joined_to") if message.joined_to else INT64_MAX
        conditions.append(NumberRange(COLUMNS["joined_on"], low, high, empty=NO_DAY))
    for index, asked in enumerate(message.ranges):
        conditions += _range_conditions(asked, catalogue, f"filter.ranges[{index}]")
    return RowFilter(tuple(conditions), message.max_level)


def _check_size(message: report_pb2.DownlineFilter) -> None:
    """Before anything is looked at."""
    if len(message.ranges) > RANGES_MAX:
        raise _wrong("filter.ranges", f"{len(message.ranges)} ranges", "TOO_MANY_RANGES", f"send {RANGES_MAX} at most")
    values = len(message.statuses) + len(message.kinds) + sum(len(asked.any_of) for asked in message.ranges)
    if values > VALUES_MAX:
        raise _wrong(
            "filter", f"{values} values", "TOO_MANY_VALUES", f"send {VALUES_MAX} at most, in all lists together"
        )


def _range_conditions(asked: report_pb2.ColumnRange, catalogue: Catalogue, field: str) -> list[Condition]:
    column = known_column(asked.column, catalogue, f"{field}.column", RANGE_COLUMNS)
    if column.kind is Kind.TEXT:
        return _text_conditions(column, asked)
    places = DECIMAL_SCALE if column.kind is Kind.DECIMAL else 0
    is_day = column.kind is Kind.DATE
    empty = EMPTY_CELLS.get(column.kind)

    def bound(text: str, name: str, rounding: str) -> int:
        return day_number(text, f"{field}.{name}") if is_day else _scaled(text, places, f"{field}.{name}", rounding)

    conditions: list[Condition] = []
    if asked.min or asked.max:
        low = bound(asked.min, "min", ROUND_CEILING) if asked.min else INT64_MIN
        high = bound(asked.max, "max", ROUND_FLOOR) if asked.max else INT64_MAX
        conditions.append(NumberRange(column, low, high, empty))
    if asked.any_of:
        values = set()
        for text in asked.any_of:
            if not text and empty is not None:
                values.add(empty)
                continue
            value = bound(text, "any_of", ROUND_FLOOR)
            # What lies between two values of the column equals none of them.
            if INT64_MIN <= value <= INT64_MAX and value == bound(text, "any_of", ROUND_CEILING):
                values.add(value)
        conditions.append(NumberIn(column, tuple(sorted(values))))
    return conditions


def _text_conditions(column: Column, asked: report_pb2.ColumnRange) -> list[Condition]:
    conditions: list[Condition] = []
    if asked.min or asked.max:
        conditions.append(TextRange(column, asked.min, asked.max))
    if asked.any_of:
        conditions.append(TextIn(column, frozenset(asked.any_of)))
    return conditions


def _scaled(text: str, places: int, field: str, rounding: str) -> int:
    """A number in units of 10 ** -places, rounded where it has more places."""
    if not is_number(text):
        raise _wrong(field, text, "NUMBER_INVALID", 'write a number such as "150" or "-2.5"')
    with localcontext() as context:
        context.prec = 2 * NUMBER_LENGTH_MAX
        return int(Decimal(text).scaleb(places).to_integral_value(rounding))


def _wrong(field: str, value: str, reason: str, mend: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"{field} {quoted(value)} can't be: {mend}", reason=reason, field=field, value=value)
