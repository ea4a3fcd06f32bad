"""All that is wrong with an import file, at once and by kind."""

from __future__ import annotations

from pathlib import Path

import msgspec

from services.shared.domain.columns import FurtherKind
from services.shared.mapping.faults import FaultKind, RejectedRow
from services.treenode.imports.checking.refused_rows import write_refused
from services.treenode.imports.reading import FileFormat, ImportLimits, ImportRefusedError, Refusal, read_import
from services.treenode.imports.reading.source import Progress

#: Refused rows that are written to a file of their own.
REFUSED_ROWS_MAX = 1_000_000
#: What a header must name for its rows to be looked at.
_LINKS = ("member_id", "sponsor_id")


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which file, and what the cluster has."""

    path: str
    volume_types: list[str]
    periods: list[str]
    #: Types of the columns that the log declares, by name.
    columns: dict[str, FurtherKind]
    #: Where the refused rows go; empty: nowhere.
    refused_path: str = ""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True, tag="Report"):
    """What a node would say of the file."""

    #: Rows of the file; 0 where they could not be counted.
    rows: int = 0
    refused_rows: int = 0
    #: What is wrong with the file as a whole, or with its header.
    problems: tuple[RejectedRow, ...] = ()
    #: What is wrong with its rows, the most frequent first.
    kinds: tuple[FaultKind, ...] = ()
    #: What was not looked at; empty where all was.
    remark: str = ""
    #: How many of the refused rows were written to their file.
    written_rows: int = 0


def check_file(request: CheckRequest, progress: Progress = lambda share: None) -> CheckReport:
    """Reads the file as a node would. Raises OSError where it, or the file of refused rows, can't be."""
    found = _read(request, ImportLimits(), progress)
    if isinstance(found, int):
        return CheckReport(rows=found)
    problems: tuple[RejectedRow, ...] = ()
    if not found.kinds:
        problems = found.rejected_rows
        # Rows are told along with the header where that lacks nothing that rows need.
        found = _read(request, ImportLimits(required_columns=_LINKS), progress)
        if isinstance(found, int):
            return CheckReport(rows=found, problems=problems)
        if not found.kinds:
            return CheckReport(problems=problems, remark="rows are looked at once that is right")
    written = write_refused(Path(request.path), Path(request.refused_path), found) if request.refused_path else 0
    return CheckReport(
        rows=found.rows,
        refused_rows=found.rejected_count,
        problems=problems,
        kinds=found.kinds,
        remark=found.remark,
        written_rows=written,
    )


def _read(request: CheckRequest, limits: ImportLimits, progress: Progress) -> int | Refusal:
    """How many rows it has, or why it is refused."""
    if request.refused_path:
        limits = msgspec.structs.replace(limits, reported_rows=REFUSED_ROWS_MAX)
    try:
        table = read_import(
            Path(request.path),
            FileFormat.DETECT,
            request.volume_types,
            request.periods,
            limits,
            progress,
            declared=request.columns,
        )
    except ImportRefusedError as error:
        return error.refusal
    return len(table)
