"""The watched folder: whatever ends the pusher, a file is taken once, as of the position that it came with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.imports.upload_folder import UploadFolder
from services.shared.files import durable
from services.shared.serving.background import Background
from tests.shared.files.power import Disk, ForgetfulOs
from tests.waiting import until

FILE, NAME, POSITION = b"member_id\nA\n", "members.csv", 3


class Ended(BaseException):
    """The process is gone."""


class EndingOs(ForgetfulOs):
    """Ends the process at a call: nothing that it would do to tidy up is done any more."""

    def _call(self, name: str, body: Any) -> Any:
        if len(self.calls) >= self.fails_at:
            raise Ended
        try:
            return super()._call(name, body)
        except OSError as error:
            raise Ended if len(self.calls) >= self.fails_at else error from None


class Imports:
    """Intake and catalog in one: what was taken, with its position. It is on disk at once."""

    def __init__(self) -> None:
        self.taken: list[types_pb2.ImportManifest] = []
        self.position = 100
        self.state = pusher_pb2.IMPORT_STATE_DONE

    async def take(self, file: Path, file_name: str, as_of_position: int) -> types_pb2.ImportManifest:
        content = await asyncio.to_thread(file.read_bytes)
        assert content == FILE
        manifest = types_pb2.ImportManifest(
            import_id=len(self.taken) + 1,
            file_name=file_name,
            size_bytes=len(content),
            as_of_position=as_of_position,
        )
        self.taken.append(manifest)
        return manifest

    def newest(self, count: int) -> list[pusher_pb2.ImportStatus]:
        return [pusher_pb2.ImportStatus(manifest=manifest) for manifest in self.taken[-count:]]

    async def watch(self, import_id: int) -> AsyncIterator[pusher_pb2.ImportStatus]:
        yield pusher_pb2.ImportStatus(manifest=self.taken[import_id - 1], state=self.state)


def folder_of(path: Path, imports: Any, background: Background) -> UploadFolder:
    return UploadFolder(path, imports, imports, background, poll_s=0.01, stable_s=60.0)


async def run_until(folder: UploadFolder, done: Any) -> None:
    """Runs the folder until it is done. Raises what ends it before."""
    running = asyncio.ensure_future(folder.run())
    try:
        await until(lambda: running.done() or done(), "the file to be taken")
        if running.done():
            running.result()
    finally:
        running.cancel()
        await asyncio.wait({running})


def put(folder: Path) -> None:
    (folder / NAME).write_bytes(FILE)
    (folder / f"{NAME}.done").write_text(f"{POSITION}\n")


def is_over(folder: Path) -> bool:
    """Whether the file has moved and its result says how the rollout ended."""
    result = folder / "done" / f"{NAME}.result.txt"
    return (
        (folder / "done" / NAME).exists()
        and result.exists()
        and result.read_text() == ("import 1 done: every healthy node serves from it\n")
    )


async def calls_of_one_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> ForgetfulOs:
    """Everything that is done to the disk for one file, from its claim to the result of its rollout."""
    imports = Imports()
    folder = folder_of(path, imports, Background())
    put(path)
    power = ForgetfulOs(path, path / "done")
    monkeypatch.setattr(durable, "os", power)
    await run_until(folder, lambda: is_over(path))
    monkeypatch.undo()
    return power


def still_told(disk: Disk, folder: Path) -> bool:
    """Whether a disk has the file, and the position unless that was recorded."""
    if (folder / "done" / NAME) in disk:
        return (folder / "done" / f"{NAME}.result.txt") in disk
    if (folder / NAME) in disk:
        return (folder / f"{NAME}.done") in disk
    return (folder / f".taking-{POSITION}-{NAME}") in disk


async def test_a_power_failure_forgets_neither_file_nor_position_nor_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power = await calls_of_one_file(tmp_path, monkeypatch)
    assert len(power.calls) > 10
    for moment, disks in enumerate([*power.moments, power.ends()]):
        for disk in disks:
            assert still_told(disk, tmp_path), f"before call {moment + 1} of {power.calls}: {sorted(disk)}"


async def test_an_end_at_any_call_is_made_good_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    calls = (await calls_of_one_file(tmp_path / "whole", monkeypatch)).calls
    for number in range(1, len(calls) + 1):
        path = tmp_path / str(number)
        path.mkdir()
        imports = Imports()
        background = Background()
        folder = folder_of(path, imports, background)
        put(path)
        monkeypatch.setattr(durable, "os", EndingOs(path, path / "done", fails_at=number))
        with pytest.raises(Ended):
            await run_until(folder, background.failed.is_set)
            raise background.error or AssertionError("it went on")
        monkeypatch.undo()
        # The next process, with a file of the same name that is not whole yet.
        imports.state = pusher_pb2.IMPORT_STATE_WAITING
        folder = folder_of(path, imports, Background())
        await run_until(folder, lambda path=path: (path / "done" / NAME).exists())
        assert [(each.file_name, each.as_of_position) for each in imports.taken] == [(NAME, POSITION)], calls[
            number - 1
        ]
        left = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        assert left == [f"done/{NAME}", f"done/{NAME}.result.txt"], f"after an end at call {number} of {calls}"
