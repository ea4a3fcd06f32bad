"""The refused rows of a file, as they stand in it, each with its line, its column and the reason."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from services.shared.mapping.faults import RejectedRow
from services.shared.mapping.rows import open_unpacked, read_rows

_PARQUET_MAGIC = b"PAR1"


def write_refused(source: Path, target: Path, refused: Mapping[int, RejectedRow], separator: str) -> int:
    """Writes the rows of these lines, with the header; returns how many. Those of Parquet go without their fields.

    Raises OSError.
    """
    with target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as writing:
        rows = csv.writer(writing, delimiter=separator, lineterminator="\n")
        with source.open("rb") as file:
            is_parquet = file.read(4) == _PARQUET_MAGIC
        if is_parquet:
            rows.writerow(["line", "column", "reason"])
            rows.writerows([row.line, row.column, row.reason] for row in refused.values())
            return len(refused)
        with open_unpacked(source) as file:
            for row in read_rows(file, separator):
                if row.line == 1:
                    rows.writerow(["line", "column", "reason", *row.fields])
                elif found := refused.get(row.line):
                    cells = [row.text.rstrip("\r\n")] if row.problem else row.fields
                    rows.writerow([row.line, found.column, found.reason, *cells])
    return len(refused)
