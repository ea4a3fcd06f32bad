"""How a bad import file is refused: each row by line, column and reason.

One value says it, from the reader in its process to the answer that the pusher gets.
"""

from __future__ import annotations

import msgspec


class RejectedRow(msgspec.Struct, frozen=True, order=True):
    """A row that a file is refused for."""

    #: Line of the file, the header on line 1 (a Parquet row counts as if it stood in a CSV file); 0: the whole file.
    line: int
    #: Column as the header names it; empty where the fault is the whole row's or the whole file's.
    column: str
    #: What is wrong, and what would be right.
    reason: str


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Why a file is not taken. Nothing of it was."""

    #: One line for the user.
    reason: str
    #: The first of them by line, as many as ImportLimits.reported_rows; one a row.
    rejected_rows: tuple[RejectedRow, ...]
    #: All rejected rows; at least 1, also where the fault is the whole file's.
    rejected_count: int = 1


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


def refuse_rows(rows: list[RejectedRow], count: int, remark: str = "") -> ImportRefusedError:
    """The refusal of a file for its rows: `rows` are the first of `count`, by line."""
    first = rows[0]
    where = f"line {first.line}" + (f", column {first.column}" if first.column else "")
    noun = "row is" if count == 1 else "rows are"
    reason = f"import refused: {count:,} {noun} wrong, the first at {where}: {first.reason}"
    return ImportRefusedError(Refusal(f"{reason}; {remark}" if remark else reason, tuple(rows), count))


def refuse_tree(reason: str) -> ImportRefusedError:
    """The refusal of a good file, for the tree that it would make."""
    return ImportRefusedError(Refusal(reason, (RejectedRow(0, "", reason),)))
