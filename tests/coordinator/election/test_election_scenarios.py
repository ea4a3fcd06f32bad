"""The scenario files: see scenario.py for their language."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.coordinator.election.scenario import Scenario, blocks

FOLDER = Path(__file__).parents[2] / "scenarios" / "election"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    scenario = Scenario()
    expected: list[str] = []
    found: list[str] = []
    for comments, command, outcome in blocks(path.read_text(encoding="utf-8")):
        happened = scenario.run(command) if command else ""
        for texts, what in ((expected, outcome), (found, happened)):
            texts.append("\n".join([*comments, *([command, "----"] if command else []), *([what] if what else [])]))
    if os.environ.get("REWRITE"):
        path.write_text("\n\n".join(found) + "\n", encoding="utf-8")
    assert "\n\n".join(found) == "\n\n".join(expected)


def test_there_are_scenarios() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 10
