"""What is wrong with the rows of a file: each by its line, and all of them by kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

#: Lines that are named of a kind of fault.
LINES_OF_A_KIND = 10
#: Kinds of fault that are told; a file has few, unless its columns are many and each is wrong in many ways.
KINDS_TOLD = 100
#: All faults of a row in one text; where they would be longer, the first and that there are more.
REASON_LENGTH_MAX = 1_000
#: What stands before each fault of a row but the first.
FURTHER_FAULT = "; column {column}: "
MORE = "; and more in other columns"


class RejectedRow(msgspec.Struct, frozen=True, order=True):
    """A row that a file is refused for."""

    #: Line of the file, the header on line 1 (a Parquet row counts as if it stood in a CSV file); 0: the whole file.
    line: int
    #: Column as the header names it; empty where the fault is the whole row's or the whole file's.
    column: str
    #: What is wrong, and what would be right.
    reason: str


def by_row(rows: Iterable[RejectedRow]) -> list[RejectedRow]:
    """One for each line, ascending; of one line in the order in which they come."""
    found: dict[int, list[RejectedRow]] = {}
    for row in sorted(rows, key=lambda row: row.line):
        found.setdefault(row.line, []).append(row)
    return [with_others(faults) for faults in found.values()]


def with_others(faults: list[RejectedRow]) -> RejectedRow:
    """A row by the first of its faults, with the others in its reason."""
    first, *others = faults
    if not others:
        return first
    told = "".join(FURTHER_FAULT.format(column=row.column) + row.reason for row in others)
    reason = first.reason + told
    return msgspec.structs.replace(first, reason=reason if len(reason) <= REASON_LENGTH_MAX else first.reason + MORE)


class FaultKind(msgspec.Struct, frozen=True):
    """All rows that are wrong in one column for one reason."""

    count: int
    column: str
    #: That of the first of them, with its value.
    reason: str
    #: The first of them.
    lines: tuple[int, ...]


@dataclass
class Tally:
    """Wrong rows by kind, while a file is read."""

    #: By whatever tells kinds apart: how many, and what is told of them.
    _kinds: dict[object, tuple[int, list[RejectedRow]]] = field(default_factory=dict)

    def add(self, kind: object, count: int, first: Iterable[RejectedRow]) -> None:
        """So many more rows of that kind; `first`: the first of them, one at least where the kind is new."""
        known, rows = self._kinds.setdefault(kind, (0, []))
        rows += list(first)[: LINES_OF_A_KIND - len(rows)]
        self._kinds[kind] = known + count, rows

    def add_all(self, other: Tally) -> None:
        """What another one counted, of rows that come later."""
        for kind, (count, rows) in other._kinds.items():
            self.add(kind, count, rows)

    def kinds(self) -> tuple[FaultKind, ...]:
        """The kinds, the most frequent first."""
        found = [
            FaultKind(count, rows[0].column, rows[0].reason, tuple(row.line for row in rows))
            for count, rows in self._kinds.values()
        ]
        return tuple(sorted(found, key=lambda kind: (-kind.count, kind.lines))[:KINDS_TOLD])
