"""Every core does what its scenario files say."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.driver import Table, replay
from tests.scenarios.tables import election

FOLDER = Path(__file__).parent
TABLES: dict[str, Table[Any, Any]] = {
    "election": election.TABLE,
}
FILES = sorted(FOLDER.glob("*/*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_core_does_what_the_file_says(path: Path) -> None:
    written = path.read_text()
    came = replay(written, TABLES[path.parent.name])
    if os.environ.get("REWRITE") and came != written:
        path.write_text(came)
        return
    if came != written:
        lines = difflib.unified_diff(
            written.split("\n"), came.split("\n"), str(path), "what the core does", lineterm=""
        )
        pytest.fail("\n".join(lines), pytrace=False)


def test_every_core_has_files_and_every_folder_a_core() -> None:
    assert {path.parent.name for path in FILES} == set(TABLES)
