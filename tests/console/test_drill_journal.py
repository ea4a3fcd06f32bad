"""What a drill writes down before it changes anything, where its disk is full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fasttree.client.drill.drill import Unfinished
from fasttree.client.drill.receipt import DrillError
from services.console.drills.journal import Journal, left_in


@contextmanager
def full_disk() -> Iterator[None]:
    """No file gets more than a few bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_on_a_full_disk_nothing_begins_and_what_was_written_down_stays(tmp_path: Path) -> None:
    first, second = Unfinished("drill-1", "n1"), Unfinished("drill-2", "n2")
    with closing(Journal(tmp_path)) as journal:
        files = {path.name for path in tmp_path.iterdir()}
        with full_disk(), pytest.raises(DrillError, match=r"can't be written down: .*; nothing was changed"):
            await journal.begun(first, 1)
        assert journal.unfinished is None
        assert {path.name for path in tmp_path.iterdir()} == files
        await journal.begun(first, 1)
        with full_disk(), pytest.raises(DrillError):
            await journal.begun(second, 2)
        assert journal.unfinished == (first, 1)
    assert left_in(tmp_path) == (first, 1)
    with closing(Journal(tmp_path)) as journal:
        with full_disk():  # what is undone needs no room
            await journal.undone()
        assert journal.unfinished is None
    assert left_in(tmp_path) is None
