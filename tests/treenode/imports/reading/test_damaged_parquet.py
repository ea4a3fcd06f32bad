"""A Parquet file whose pages carry checksums is held to them: a wrong byte that reads well is no value."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.treenode.imports.reading import ImportRefusedError, read_import

ROWS = 50


def write(path: Path) -> None:
    table = pa.table(
        {
            "member_id": [f"M{row}" for row in range(ROWS)],
            "sponsor_id": ["" if row == 0 else "M0" for row in range(ROWS)],
            "status": ["A"] * ROWS,
            "rank": [1] * ROWS,
            "joined_on": ["2026-01-01"] * ROWS,
            "pv": ["1.00"] * ROWS,
            "city": [f"Springfield {row}" for row in range(ROWS)],
        }
    )
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)


def test_a_page_whose_checksum_is_wrong_refuses_the_file(tmp_path: Path) -> None:
    path = tmp_path / "members.parquet"
    write(path)
    assert len(read_import(path)) == ROWS
    content = path.read_bytes()
    assert content.count(b"Springfield 7") == 1
    path.write_bytes(content.replace(b"Springfield 7", b"Shelbyville 7"))
    with pytest.raises(ImportRefusedError, match="its Parquet data is damaged"):
        read_import(path)
