"""All that is wrong with an import file, at once and by kind; one of another form is read as it seems to be meant."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from services.shared.domain.columns import FurtherKind
from services.shared.mapping.canonical import KnownColumns, MappingError, Rewritten, rewrite
from services.shared.mapping.faults import FURTHER_FAULT, FaultKind, RejectedRow, with_others
from services.shared.mapping.guesses import Guess, guess
from services.shared.mapping.profile import Profile, profile_of
from services.treenode.imports.checking.refused_rows import write_refused
from services.treenode.imports.reading import FileFormat, ImportLimits, ImportRefusedError, Refusal, read_import
from services.treenode.imports.reading.source import Progress

#: Refused rows that are known one by one.
REFUSED_ROWS_MAX = 1_000_000
#: What a header must name for its rows to be looked at.
_LINKS = ("member_id", "sponsor_id")
#: Share of the time that writing a file anew takes, where that is needed.
_REWRITING_SHARE = 0.8


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which file, and what the cluster has."""

    path: str
    volume_types: list[str]
    periods: list[str]
    #: Types of the columns that the log declares, by name.
    columns: dict[str, FurtherKind]
    #: Those that are closed for good.
    sealed_periods: list[str] = []
    #: What is known of the file's form: the fields of a profile, as somebody wrote them.
    profile: dict[str, Any] = {}
    #: Where the refused rows go; empty: nowhere.
    refused_path: str = ""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True, tag="Report"):
    """What would become of the file."""

    #: Rows of the file; 0 where they could not be counted.
    rows: int = 0
    refused_rows: int = 0
    #: How the file was read in spite of what was said of it: it would be refused without these.
    guesses: tuple[Guess, ...] = ()
    #: What is wrong with the file as a whole, or with its header.
    problems: tuple[RejectedRow, ...] = ()
    #: What is wrong with its rows, the most frequent first.
    kinds: tuple[FaultKind, ...] = ()
    #: What was not looked at; empty where all was.
    remark: str = ""
    #: How many of the refused rows were written to their file.
    written_rows: int = 0


def check_file(request: CheckRequest, progress: Progress = lambda share: None) -> CheckReport:
    """Reads the file as a pusher and a node would. Raises ProfileError, or OSError where it, or the file of refused
    rows, can't be.
    """
    path, known = Path(request.path), KnownColumns(request.volume_types, request.columns)
    guessed = guess(path, profile_of(**request.profile), known)
    with tempfile.TemporaryDirectory(prefix="fasttree-check-") as folder:
        try:
            rewritten = _rewritten(path, Path(folder) / path.name, guessed.profile, known, progress)
        except MappingError as error:
            return CheckReport(guesses=tuple(guessed.guesses), problems=(RejectedRow(0, "", str(error)),))
        report, refused = _read(request, path if rewritten is None else Path(folder) / path.name, progress, rewritten)
    written = 0
    if request.refused_path and refused:
        written = write_refused(path, Path(request.refused_path), refused, guessed.profile.separator)
    return msgspec.structs.replace(report, guesses=tuple(guessed.guesses), written_rows=written)


def _rewritten(
    source: Path, target: Path, profile: Profile, known: KnownColumns, progress: Progress
) -> Rewritten | None:
    """What became of a file that had to be written anew. Raises MappingError."""
    if profile.is_canonical:
        return None
    return rewrite(source, target, profile, known, lambda share: progress(share * _REWRITING_SHARE))


def _read(
    request: CheckRequest, path: Path, progress: Progress, rewritten: Rewritten | None
) -> tuple[CheckReport, dict[int, RejectedRow]]:
    """What is wrong with a file in the form of imports, and its refused rows by line."""
    told = rewritten or Rewritten()
    before = _REWRITING_SHARE if rewritten else 0.0

    def further(share: float) -> None:
        progress(before + share * (1 - before))

    found = _found(request, path, ImportLimits(reported_rows=REFUSED_ROWS_MAX), further)
    problems: tuple[RejectedRow, ...] = ()
    if isinstance(found, Refusal) and not found.kinds:
        problems = tuple(_as_told(row, told) for row in found.rejected_rows)
        # Rows are told along with the header where that lacks nothing that rows need.
        lax = ImportLimits(reported_rows=REFUSED_ROWS_MAX, required_columns=_LINKS)
        found = _found(request, path, lax, further)
        if isinstance(found, Refusal) and not found.kinds:
            return CheckReport(problems=problems, remark="rows are looked at once that is right"), {}
    refused, kinds = dict(told.faults), list(told.tally.kinds())
    if isinstance(found, Refusal):
        kinds += [kept for kind in found.kinds if (kept := _without_empty(kind, told))]
        for row in found.rejected_rows:
            known = refused.get(row.line)
            also = _as_told(row, told)
            if known is None:
                refused[row.line] = also
            elif row.column:
                refused[row.line] = with_others([known, also])
        uncounted = found.rejected_count - len(found.rejected_rows)
    else:
        uncounted = 0
    report = CheckReport(
        rows=found if isinstance(found, int) else found.rows,
        refused_rows=len(refused) + uncounted + told.fault_count - len(told.faults),
        problems=problems,
        kinds=tuple(sorted(kinds, key=lambda kind: (-kind.count, kind.lines))),
        remark=found.remark if isinstance(found, Refusal) else "",
    )
    return report, refused


def _found(request: CheckRequest, path: Path, limits: ImportLimits, progress: Progress) -> int | Refusal:
    """How many rows it has, or why it is refused."""
    types, periods = request.volume_types, request.periods
    try:
        table = read_import(
            *(path, FileFormat.DETECT, types, periods, limits, progress),
            declared=request.columns,
            sealed_periods=request.sealed_periods,
        )
    except ImportRefusedError as error:
        return error.refusal
    return len(table)


def _as_told(row: RejectedRow, told: Rewritten) -> RejectedRow:
    """With the column's name in the file."""
    reason = row.reason
    for name, header in told.headers.items():
        reason = reason.replace(FURTHER_FAULT.format(column=name), FURTHER_FAULT.format(column=header))
    return msgspec.structs.replace(row, column=told.headers.get(row.column, row.column), reason=reason)


def _without_empty(kind: FaultKind, told: Rewritten) -> FaultKind | None:
    """Without the rows that are empty only since their fields could not be told apart, which is told already."""
    if not kind.column and told.empty_lines.intersection(kind.lines):
        lines = tuple(line for line in kind.lines if line not in told.empty_lines)
        count = kind.count - len(told.empty_lines)
        return msgspec.structs.replace(kind, count=count, lines=lines) if count else None
    return msgspec.structs.replace(kind, column=told.headers.get(kind.column, kind.column))
