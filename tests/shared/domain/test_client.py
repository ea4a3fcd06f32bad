"""The Python client's own reading of updates and amounts, held to the corpus of the rules."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fasttree.client import UpdateFormatError, from_hundredths, to_hundredths, update_from_json, update_to_json
from services.shared.domain.amounts import amount_text
from services.shared.domain.updates import update_problem
from services.treenode.imports.reading import ImportRefusedError, read_import
from tests.shared.domain.corpus import Case, amount_texts, cases, typed_columns
from tests.shared.domain.doors import updates_of


@pytest.mark.parametrize("case", [case for case in (*cases(), *typed_columns()) if case.good], ids=str)
def test_good_updates_go_through_json_lines_unchanged(case: Case) -> None:
    (*_, update) = updates_of(case.field, case.value)
    line = update_to_json(update)
    assert "\n" not in line
    assert update_from_json(line) == update
    assert update_problem(update) is None


@pytest.mark.parametrize(("text", "hundredths"), amount_texts().items(), ids=lambda value: repr(value)[:30])
def test_client_and_import_file_read_amounts_alike(text: str, hundredths: int | None, tmp_path: Path) -> None:
    path = tmp_path / "import.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        columns = ("member_id", "sponsor_id", "status", "rank", "joined_on", "pv")
        csv.writer(file).writerows([columns, ("7", "", "", "", "", text)])
    if hundredths is None:
        with pytest.raises(UpdateFormatError):
            to_hundredths(text)
        with pytest.raises(ImportRefusedError):
            read_import(path)
    else:
        assert to_hundredths(text) == hundredths
        assert read_import(path).volumes["PV", "2026-11"].tolist() == [hundredths]
        assert from_hundredths(hundredths) == amount_text(hundredths)
