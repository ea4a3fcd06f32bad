"""Every malformed file is refused whole, with line, column and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.treenode.imports.reading import ImportRefusedError, read_import
from tests.treenode.imports.reading.bad_file import BadFile
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
