"""Whether each line of the threat model names tests, and these are there."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
HEADS = {
    "threats": "| who | tries to | what holds it | tests |",
    "attacks": "| attack | who may make that call | what holds it off besides | tests |",
}


@pytest.mark.parametrize("table", HEADS)
def test_each_threat_names_tests_that_are_there(table: str) -> None:
    lines = PAGE.read_text().splitlines()
    begin = lines.index(HEADS[table]) + 2
    rows = list(itertools.takewhile(lambda line: line.startswith("|"), lines[begin:]))
    assert len(rows) >= 10
    for row in rows:
        *_, tests, _ = (cell.strip() for cell in row.split("|"))
        named = re.findall(r"`([^`]+)`", tests)
        assert named, row
        for each in named:
            path = ROOT / each
            assert path.exists(), f"{each} is not there: {row}"
            assert path.suffix == ".txt" or any(_tests_in(path)), f"{each} has no test: {row}"


def _tests_in(path: Path) -> list[str]:
    files = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
    return [name for file in files for name in _TEST.findall(file.read_text())]
