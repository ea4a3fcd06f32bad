"""What a Parquet file's pages unpack to is known before any of them is unpacked, whatever its footer says."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.treenode.imports.reading import ImportLimits, ImportRefusedError, read_import
from services.treenode.imports.reading.parquet_pages import PagesDamagedError, look_at_pages, read_page_header
from services.treenode.imports.reading.parquet_reader import ParquetFile
from tests.treenode.imports.reading.test_damaged_parquet import COLUMNS


def members(rows: int, **further: Any) -> pa.Table:
    columns = {name: pa.array([text] * rows) for name, text in COLUMNS.items()}
    return pa.table({**columns, "member_id": [f"M{row}" for row in range(rows)], **further})


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    pq.write_table(table, path, **{"use_dictionary": False, "compression": "zstd", **options})
    return path


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "zstd", "gzip", "snappy"])
@pytest.mark.parametrize("coded", [True, False, ["status"]])
def test_every_page_is_seen_as_the_library_sees_it(
    version: str, compression: str, coded: bool | list[str], tmp_path: Path
) -> None:
    table = members(5_000, note=["" if row % 3 else f"note {row}" for row in range(5_000)], size=range(5_000))
    path = write(
        tmp_path / "m.parquet",
        table,
        data_page_version=version,
        compression=compression,
        use_dictionary=coded,
        data_page_size=4_096,
        write_batch_size=100,
        row_group_size=2_000,
        write_statistics=True,
        write_page_checksum=True,
    )
    metadata = pq.read_metadata(path)
    pages = look_at_pages(path, metadata)
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    # The footer counts the headers too, some tens of bytes each.
    promised_bytes = sum(group.total_byte_size for group in groups)
    assert promised_bytes - 100 * pages.count < pages.unpacked_bytes < promised_bytes
    texts = {*COLUMNS, "member_id", "note"}
    assert pages.coded == (texts if coded is True else set() if coded is False else {"status"})
    assert pages.count > len(groups) * metadata.num_columns
    assert len(read_import(path)) == 5_000


def test_a_large_page_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.parquet", members(3, note=["", "x" * (8 << 20), ""]))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(ParquetFile, "parts", lambda *_: pytest.fail("it is read"))
    with pytest.raises(
        ImportRefusedError, match=r"column note: a page of it unpacks to 8,388,\d+ bytes, at most 1,048"
    ) as told:
        read_import(path, limits=ImportLimits.of(page_bytes=1 << 20))
    assert "imports.page_bytes" in str(told.value)
    with pytest.raises(ImportRefusedError, match="more than 20 times its size: it is taken for a bomb"):
        read_import(path, limits=ImportLimits.of(unpack_free_bytes=1 << 20, unpack_ratio=20))
    with pytest.raises(ImportRefusedError, match="more than the limit of 2,000,000 bytes"):
        limits = ImportLimits.of(unpacked_bytes=2_000_000, unpack_free_bytes=1 << 20)
        read_import(path, limits=limits)


def test_texts_that_are_written_by_what_they_share_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    """300 texts of 200 KB take little more than one in the file; a batch of them would take 60 MB."""
    rows = 300
    notes = ["x" * 200_000 + str(row) for row in range(rows)]
    encodings = dict.fromkeys(("note",), "DELTA_BYTE_ARRAY")
    path = write(tmp_path / "m.parquet", members(rows, note=notes), column_encoding=encodings, data_page_size=1 << 30)
    pages = look_at_pages(path, pq.read_metadata(path))
    assert 200_000 < pages.prefixed_bytes < 300_000
    shares: list[float] = []
    limits = ImportLimits.of(page_bytes=1 << 20, unpack_free_bytes=4 << 20, unpack_ratio=1)
    with pytest.raises(ImportRefusedError, match="it is taken for a bomb"):
        read_import(path, limits=limits, progress=shares.append)
    assert max(shares, default=0.0) < 0.2, "it went on after the limit"


def test_values_of_one_length_have_a_bound(tmp_path: Path) -> None:
    for length, refused in ((16, False), (1_024, False), (1_025, True), (1_000_000, True)):
        values = pa.array([b"x" * length] * 3, pa.binary(length))
        path = write(tmp_path / "m.parquet", members(3, note=values), use_dictionary=True)
        if refused:
            with pytest.raises(ImportRefusedError, match=f"its values have {length:,} bytes each, at most 1,024"):
                read_import(path)
        else:
            assert len(read_import(path)) == 3


def test_whatever_bytes_a_header_has_it_is_a_page_or_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "m.parquet", members(50))
    content = path.read_bytes()
    start = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    whole, _ = read_page_header(content, start)
    assert (whole.kind, whole.values, whole.encoding) == (0, 50, 0)
    chance = random.Random(7)
    damaged = 0
    for _ in range(3_000):
        header = bytearray(content[start : start + 60])
        for _ in range(chance.randint(1, 4)):
            header[chance.randrange(20)] = chance.randrange(256)
        try:
            page, _ = read_page_header(bytes(header), 0)
        except PagesDamagedError:
            damaged += 1
        else:
            assert min(page.unpacked_bytes, page.packed_bytes, page.values) >= 0
    assert damaged > 300
    for deep in (b"\x1c" * 60, b"\x15\x00" * 120, b"\x15" + b"\xff" * 20, b""):
        with pytest.raises(PagesDamagedError):
            read_page_header(deep, 0)


def test_a_file_whose_headers_are_damaged_is_refused_in_words(tmp_path: Path) -> None:
    path = write(tmp_path / "m.parquet", members(50))
    content = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(0).column(0).data_page_offset
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(ImportRefusedError, match="its Parquet data is damaged"):
        read_import(path)
