"""How a bad import file is refused: each row by line, column and reason.

One value says it, from the reader in its process to the answer that the pusher gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from services.shared.domain.sentences import counted
from services.shared.mapping.faults import FaultKind, RejectedRow, Tally
from services.treenode.tree.kernels.kernel import Int64s

#: A file's first row stands on line 2, below the header.
FIRST_LINE = 2


@dataclass(frozen=True)
class Lines:
    """On which line of the file each row begins: one after another, but for line breaks within rows."""

    first_row: int
    #: The line of first_row.
    first_line: int
    #: Rows that hold line breaks, ascending; and how many line breaks there are in these rows up to each.
    broken: Int64s
    breaks: Int64s

    @classmethod
    def plain(cls, first_row: int = 0, first_line: int = FIRST_LINE) -> Lines:
        """No row holds a line break."""
        nothing: Int64s = np.empty(0, np.int64)
        return cls(first_row, first_line, nothing, nothing)

    @classmethod
    def joined(cls, parts: Sequence[Lines]) -> Lines:
        """Those of a whole file, from its parts in order."""
        broken = np.concatenate([np.empty(0, np.int64), *(part.broken for part in parts)])
        each = np.concatenate([np.empty(0, np.int64), *(np.diff(part.breaks, prepend=0) for part in parts)])
        return cls(0, FIRST_LINE, broken, np.cumsum(each))

    def after(self, rows: int) -> Lines:
        """Those from so many rows after the first on."""
        row = self.first_row + rows
        left = self.broken >= row
        passed = int(self.breaks[~left][-1]) if not left.all() else 0
        return Lines(row, self.of(row), self.broken[left], self.breaks[left] - passed)

    def of(self, row: int) -> int:
        """The line of a row."""
        before = int(np.searchsorted(self.broken, row))
        return self.first_line + row - self.first_row + (int(self.breaks[before - 1]) if before else 0)


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Why a file is not taken. Nothing of it was."""

    #: One line for the user.
    reason: str
    #: The first of them by line, as many as ImportLimits.reported_rows; one a row.
    rejected_rows: tuple[RejectedRow, ...]
    #: All rejected rows; at least 1, also where the fault is the whole file's.
    rejected_count: int = 1
    #: All rejected rows by kind, the most frequent first; empty where the fault is the whole file's.
    kinds: tuple[FaultKind, ...] = ()
    #: Rows of the file; 0 where they were not all read.
    rows: int = 0
    #: What was not looked at, and stands in the reason too; empty where all was.
    remark: str = ""


class ImportRefusedError(Exception):
    """Carries a refusal to whoever asked for the import."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def refuse_file(reason: str, *, line: int = 0, column: str = "") -> ImportRefusedError:
    """The refusal of a file as a whole, for a fault that leaves no sense in reading on."""
    where = "the file" if line == 0 else f"line {line}"
    named = f"{where}, column {column}" if column else where
    return ImportRefusedError(Refusal(f"import refused: {named}: {reason}", (RejectedRow(line, column, reason),)))


def refuse_header(problems: Sequence[RejectedRow]) -> ImportRefusedError:
    """The refusal of a file for its header, with all that is wrong with it."""
    problems = sorted(problems)
    first = refuse_file(problems[0].reason, line=problems[0].line, column=problems[0].column).refusal
    others = f"; and {counted(len(problems) - 1, 'more fault')} in the header" if len(problems) > 1 else ""
    return ImportRefusedError(Refusal(first.reason + others, tuple(problems), len(problems)))


def refuse_rows(
    rows: Sequence[RejectedRow], count: int, tally: Tally, row_count: int, remark: str = ""
) -> ImportRefusedError:
    """The refusal of a file of `row_count` rows for `count` of them: `rows` are the first, by line."""
    first = rows[0]
    where = f"line {first.line}" + (f", column {first.column}" if first.column else "")
    wrong = counted(count, "row is", "rows are")
    reason = f"import refused: {wrong} wrong, the first at {where}: {first.reason}"
    told = f"{reason}; {remark}" if remark else reason
    return ImportRefusedError(Refusal(told, tuple(rows), count, tally.kinds(), row_count, remark))


def refuse_tree(reason: str) -> ImportRefusedError:
    """The refusal of a good file, for the tree that it would make."""
    return ImportRefusedError(Refusal(reason, (RejectedRow(0, "", reason),)))
