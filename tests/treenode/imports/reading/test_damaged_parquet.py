"""A Parquet file whose pages carry checksums is held to them: a wrong byte that reads well is no value."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.treenode.imports.reading import ImportLimits, ImportRefusedError, read_import
from services.treenode.imports.reading.parquet_reader import ParquetFile

ROWS = 50
#: Of a root.
COLUMNS = {"sponsor_id": "", "status": "A", "rank": "1", "joined_on": "2026-01-01", "pv": "1.00"}


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


def test_more_rows_than_can_differ_are_no_members(tmp_path: Path) -> None:
    path = tmp_path / "members.parquet"
    rows = 1_000_001
    repeated = {
        name: pa.array([text]).take(pa.array([0] * rows)) for name, text in {**COLUMNS, "member_id": "M1"}.items()
    }
    pq.write_table(pa.table(repeated), path)
    assert path.stat().st_size < 4 * rows
    with pytest.raises(ImportRefusedError, match="can't all differ: it is taken for a bomb"):
        read_import(path)


def test_a_footer_that_hides_what_it_unpacks_to_helps_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The footer's own figures are left out; what is read is counted."""
    path = tmp_path / "members.parquet"
    rows = 20_000
    columns = {name: pa.array([text] * rows) for name, text in COLUMNS.items()}
    table = pa.table(
        {**columns, "member_id": pa.array([f"M{row}" for row in range(rows)]), "note": ["x" * 1_000] * rows}
    )
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    limits = ImportLimits.of(unpack_free_bytes=1 << 20, unpack_ratio=20)
    assert len(read_import(path)) == rows
    monkeypatch.setattr(ParquetFile, "_check_size", lambda *_: None)
    with pytest.raises(ImportRefusedError, match="more than 20 times its size: it is taken for a bomb"):
        read_import(path, limits=limits)
