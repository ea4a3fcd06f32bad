"""Whether each line of the threat model names tests, and these are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
HEAD = "| who | tries to | what holds it | tests |"


def test_each_threat_names_tests_that_are_there() -> None:
    lines = PAGE.read_text().splitlines()
    begin = lines.index(HEAD) + 2
    rows = [line for line in lines[begin:] if line.startswith("|")]
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
