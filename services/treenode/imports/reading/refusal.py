"""How a bad import file is refused: each row by line, column and reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class RejectedRow:
    """A row that a file is refused for."""

    #: Line of the file, the header on line 1 (a Parquet row counts as if it stood in a CSV file); 0: the whole file.
    line: int
    #: Column as the header names it; empty where the fault is the whole row's or the whole file's.
    column: str
    #: What is wrong, and what would be right.
    reason: str


class ImportRefused(Exception):  # noqa: N818 - a refusal is an outcome, with a name of its own in the API
    """A file that is not taken. Nothing of it was."""

    def __init__(self, rejected_rows: list[RejectedRow], rejected_count: int, reason: str) -> None:
        super().__init__(reason)
        #: The first of them by line, as many as ImportLimits.reported_rows; one a row.
        self.rejected_rows = rejected_rows
        #: All rejected rows; at least 1, also where the fault is the whole file's.
        self.rejected_count = rejected_count
        #: One line for the user.
        self.reason = reason


def refuse_file(reason: str, *, line: int = 0, column: str = "") -> ImportRefused:
    """The refusal of a file as a whole, for a fault that leaves no sense in reading on."""
    where = "the file" if line == 0 else f"line {line}"
    named = f"{where}, column {column}" if column else where
    return ImportRefused([RejectedRow(line, column, reason)], 1, f"import refused: {named}: {reason}")


def refuse_rows(rows: list[RejectedRow], count: int, remark: str = "") -> ImportRefused:
    """The refusal of a file for its rows: `rows` are the first of `count`, by line."""
    first = rows[0]
    where = f"line {first.line}" + (f", column {first.column}" if first.column else "")
    noun = "row is" if count == 1 else "rows are"
    reason = f"import refused: {count:,} {noun} wrong, the first at {where}: {first.reason}"
    return ImportRefused(rows, count, f"{reason}; {remark}" if remark else reason)
