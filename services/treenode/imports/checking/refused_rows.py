"""The refused rows of a file, as they stand in it, each with its line, its column and the reason."""

from __future__ import annotations

import csv
from pathlib import Path

from services.shared.mapping.rows import open_unpacked, read_rows
from services.treenode.imports.reading import Refusal

_PARQUET_MAGIC = b"PAR1"


def write_refused(source: Path, target: Path, refusal: Refusal, separator: str = ",") -> int:
    """Writes them, with the header; returns how many. Those of a Parquet file go without their fields.

    Raises OSError.
    """
    reasons = {row.line: row for row in refusal.rejected_rows}
    with target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as writing:
        rows = csv.writer(writing, delimiter=separator, lineterminator="\n")
        with source.open("rb") as file:
            magic = file.read(4)
        if magic == _PARQUET_MAGIC:
            rows.writerows([["line", "column", "reason"], *([r.line, r.column, r.reason] for r in reasons.values())])
            return len(reasons)
        with open_unpacked(source) as file:
            for row in read_rows(file, separator):
                if row.line == 1:
                    rows.writerow(["line", "column", "reason", *row.fields])
                elif found := reasons.get(row.line):
                    cells = [row.text.rstrip("\r\n")] if row.problem else row.fields
                    rows.writerow([row.line, found.column, found.reason, *cells])
    return len(reasons)
