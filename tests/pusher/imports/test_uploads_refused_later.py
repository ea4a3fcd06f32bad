"""The watched folder: a file that was taken, and that the nodes refuse, lies with the refused ones in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fasttree.v1 import pusher_pb2
from services.shared.files import durable
from services.shared.serving.background import Background
from tests.pusher.imports.watched_folder import (
    FILE,
    NAME,
    POSITION,
    Ended,
    EndingOs,
    Imports,
    folder_of,
    put,
    refusal,
    run_until,
)
from tests.shared.files.power import ForgetfulOs

REFUSED = "import 1 refused: the tree before serves on\n"


async def refused_by_nodes(path: Path, background: Background, is_over: Callable[[], bool]) -> None:
    """A file that is taken, and that the nodes refuse."""
    imports = Imports()
    imports.state = pusher_pb2.IMPORT_STATE_REFUSED
    put(path)
    await run_until(folder_of(path, imports, background), is_over)


def files_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_a_file_that_the_nodes_refuse_lies_with_the_refused_ones(tmp_path: Path) -> None:
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / NAME).write_bytes(b"one of the same name that was refused before")
    moved, done = tmp_path / "refused", tmp_path / "done"
    await refused_by_nodes(tmp_path, Background(), lambda: len(files_in(moved)) == 3 and not files_in(done))
    first, result, _ = files_in(tmp_path / "refused")
    assert (result, first.endswith(f"-{NAME}")) == (f"{first}.result.txt", True)
    assert (tmp_path / "refused" / first).read_bytes() == FILE
    assert (tmp_path / "refused" / result).read_text() == REFUSED


async def test_an_end_while_a_refused_file_moves_is_made_good_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("whole", "whole/done", "whole/refused"):
        (tmp_path / folder).mkdir()
    power = ForgetfulOs(tmp_path / "whole", tmp_path / "whole" / "done", tmp_path / "whole" / "refused")
    monkeypatch.setattr(durable, "os", power)
    await refused_by_nodes(tmp_path / "whole", Background(), lambda: is_refused(tmp_path / "whole"))
    for number in range(1, len(power.calls) + 1):
        path = tmp_path / str(number)
        for made in (path, path / "done", path / "refused"):
            made.mkdir()
        ending = EndingOs(path, path / "done", path / "refused", fails_at=number)
        monkeypatch.setattr(durable, "os", ending)
        with pytest.raises(Ended):
            background = Background()
            await refused_by_nodes(path, background, background.failed.is_set)
            raise background.error or AssertionError("it went on")
        monkeypatch.undo()
        imports = Imports()
        if (path / "done" / f"{NAME}.result.txt").exists():
            await imports.take(next(file for file in path.rglob(f"*{NAME}")), NAME, POSITION)
        imports.state = pusher_pb2.IMPORT_STATE_REFUSED
        await run_until(folder_of(path, imports, Background()), lambda path=path: is_refused(path))
        assert refusal(path, NAME) == REFUSED, f"after an end at call {number} of {power.calls}"


def is_refused(folder: Path) -> bool:
    """Whether the file has moved, and whatever result there is says that it was refused."""
    try:
        return bool(refusal(folder, NAME)) and all(each.read_text() == REFUSED for each in folder.rglob("*.result.txt"))
    except FileNotFoundError:
        return False  # it is being moved
