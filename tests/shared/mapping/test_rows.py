"""A row is what the reader of imports takes for one, whatever separates its fields."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.shared.mapping import rows as mapping_rows
from services.shared.mapping.rows import RowTooLongError, open_unpacked, read_rows
from services.treenode.imports.reading import FileFormat, ImportLimits
from services.treenode.imports.reading.source import read_blocks

_TEXTS = st.text(alphabet='ab",\n\r', max_size=40)


def _rows(content: bytes, separator: str = ",") -> list[tuple[int, list[str], bool]]:
    return [(row.line, row.fields, bool(row.problem)) for row in read_rows(io.BytesIO(content), separator)]


def test_fields_are_what_stands_between_separators() -> None:
    content = '\ufeffid;note\r\n1;"a;""b""\nc"\n2;\n\n3;x'.encode()
    assert _rows(content, ";") == [
        (1, ["id", "note"], False),
        (2, ["1", 'a;"b"\nc'], False),
        (4, ["2", ""], False),
        (5, [""], False),
        (6, ["3", "x"], False),
    ]


@pytest.mark.parametrize(
    "wrong", ['1,"a', '1,"a"b', '1,a"b', '1,"' + "a" * 3_000 + '"'], ids=["open", "after", "inside", "long"]
)
def test_a_wrong_quote_costs_its_own_line(wrong: str) -> None:
    found = _rows(f'{wrong}\n2,b\n3,"c"\n'.encode())
    assert [(line, problem) for line, _, problem in found] == [(1, True), (2, False), (3, False)]
    assert [fields for _, fields, problem in found if not problem] == [["2", "b"], ["3", "c"]]


@given(_TEXTS)
@example('a,"b\n"\n"a')
@example('"\n"\n,"\r\n"')
@settings(max_examples=150, deadline=None)
def test_rows_begin_where_the_reader_of_imports_has_them_begin(text: str) -> None:
    content = ("a,b\n" + text).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "import.csv"
        path.write_bytes(content)
        blocks = list(read_blocks(path, FileFormat.CSV, ImportLimits(), lambda share: None))
    expected = [block.lines.of(block.lines.first_row + row) for block in blocks for row in range(block.row_count)]
    rows = list(read_rows(io.BytesIO(content), ","))[1:]
    while rows and not rows[-1].text.strip("\r\n"):  # empty lines at the end are no rows to the reader of imports
        rows.pop()
    assert [row.line for row in rows] == expected


@given(st.lists(st.sampled_from(["1,a", '2,"b\nc"', "3,", '"d""",e', "é,ü"]), max_size=30), st.integers(1, 9))
@settings(deadline=None)
def test_it_does_not_matter_how_a_file_is_read(lines: list[str], chunk_bytes: int) -> None:
    content = "\r\n".join(lines).encode()
    whole = _rows(content)
    before = mapping_rows._CHUNK_BYTES
    mapping_rows._CHUNK_BYTES = chunk_bytes
    try:
        assert _rows(content) == whole
    finally:
        mapping_rows._CHUNK_BYTES = before


def test_bytes_that_are_no_utf_8_come_through() -> None:
    ((_, fields, _),) = _rows(b"a,\xe9\n")
    assert [field.encode("utf-8", "surrogateescape") for field in fields] == [b"a", b"\xe9"]


def test_a_row_without_end_is_refused() -> None:
    with pytest.raises(RowTooLongError, match="line 2: it is longer"):
        list(read_rows(io.BytesIO(b"a,b\n" + b"x" * (5 << 20)), ","))


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    for path, content in (
        (tmp_path / "a.gz", gzip.compress(b"a,b\n")),
        (tmp_path / "a", b"a,b\n"),
        (tmp_path / "e", b""),
    ):
        path.write_bytes(content)
        with open_unpacked(path) as file:
            assert [row.fields for row in read_rows(file, ",")] == ([["a", "b"]] if content else [])
