"""Every malformed file is refused whole, with line, column and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.treenode.imports.reading import ImportLimits, ImportRefusedError, read_import
from tests.treenode.imports.reading.bad_file import BadFile, csv_file
from tests.treenode.imports.reading.corpus import bad_files

_CORPUS = list(bad_files())


def test_corpus_is_large_and_its_names_differ() -> None:
    assert len(_CORPUS) >= 60
    assert len({bad.name for bad in _CORPUS}) == len(_CORPUS)


@pytest.mark.parametrize("bad", _CORPUS, ids=lambda bad: bad.name)
def test_bad_file_is_refused(bad: BadFile, tmp_path: Path) -> None:
    path = bad.write(tmp_path)
    with pytest.raises(ImportRefusedError) as refused:
        read_import(path, limits=bad.limits)
    refusal = refused.value.refusal
    rows = refusal.rejected_rows
    assert refusal.rejected_count == bad.count
    assert len(rows) == min(bad.count, 100)
    for row, told in zip(rows, bad.told, strict=False):
        assert (row.line, row.column) == (told.line, told.column), row
        assert told.words in row.reason
    assert list(rows) == sorted(rows)
    assert "\n" not in refusal.reason
    assert refusal.reason.startswith("import refused: ")


def _kinds(content: bytes, folder: Path, limits: ImportLimits | None = None) -> list[tuple[int, str, tuple[int, ...]]]:
    path = folder / "import.csv"
    path.write_bytes(content)
    with pytest.raises(ImportRefusedError) as refused:
        read_import(path, limits=limits)
    counts = [kind.count for kind in refused.value.refusal.kinds]
    assert max(counts) <= refused.value.refusal.rejected_count <= sum(counts)
    return [(kind.count, kind.column, kind.lines) for kind in refused.value.refusal.kinds]


def test_wrong_rows_are_counted_by_kind(tmp_path: Path) -> None:
    rows = [f"{n},100,A,{'x' if n % 2 else 1},{'2026' if n % 3 == 0 else ''},1" for n in range(101, 161)]
    content = csv_file("100,,A,5,,1", *rows, "170,999,A,1,,1", "171,999,A,1,,1")
    # Every odd id has a wrong rank, every third a wrong day.
    assert _kinds(content, tmp_path) == [
        (30, "rank", tuple(range(3, 23, 2))),
        (20, "joined_on", tuple(range(4, 34, 3))),
        (2, "sponsor_id", (63, 64)),
    ]


def test_kinds_are_the_same_however_a_file_is_cut(tmp_path: Path) -> None:
    rows = [f"{n},100,A,{'x' if n % 2 else 1},,{'1e3' if n % 5 == 0 else 1}" for n in range(101, 2_000)]
    content = csv_file("100,,A,5,,1", *rows)
    small = ImportLimits(block_bytes=4_096, reported_rows=1)
    assert _kinds(content, tmp_path, small) == _kinds(content, tmp_path) != []


def test_what_a_report_can_not_carry_back_is_refused_in_words(tmp_path: Path) -> None:
    """The two limits of importing an exported report that docs/imports.md names."""

    def refusal(*rows: str) -> str:
        (tmp_path / "report.csv").write_bytes(csv_file(*rows))
        with pytest.raises(ImportRefusedError) as refused:
            read_import(tmp_path / "report.csv")
        return refused.value.refusal.reason

    below_an_empty_place = refusal("1,,A,1,,0", "3,2,A,1,,0")
    assert 'the sponsor "2" is not in the file: add it, or name another' in below_an_empty_place
    top = "92233720368547758.07"
    assert "the sum of its volumes is out of range" in refusal(f"1,,A,1,,{top}", "2,1,A,1,,-0.01")
    (tmp_path / "report.csv").write_bytes(csv_file("1,,A,1,,92233720368547758.06", "2,1,A,1,,-0.01"))
    assert len(read_import(tmp_path / "report.csv")) == 2
