"""What the tests of the watched folder have in common: intake and catalog in memory, and a process that may end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.imports.uploads.folder import UploadFolder
from services.shared.serving.background import Background
from tests.shared.files.power import ForgetfulOs
from tests.waiting import until

FILE, NAME, POSITION = b"member_id\nA\n", "members.csv", 3
UNREADABLE = b"fault\n"


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

    async def take(
        self, file: Path, file_name: str, as_of_position: int, *, named: bool = True, profile: str = ""
    ) -> types_pb2.ImportManifest:
        content = await asyncio.to_thread(file.read_bytes)
        if content == UNREADABLE:
            raise ValueError("a fault that nobody thought of")
        manifest = types_pb2.ImportManifest(
            import_id=len(self.taken) + 1,
            file_name=file_name,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).digest(),
            as_of_position=as_of_position,
        )
        self.taken.append(manifest)
        return manifest

    def newest(self, count: int) -> list[pusher_pb2.ImportStatus]:
        return [pusher_pb2.ImportStatus(manifest=manifest) for manifest in self.taken[-count:]]

    async def watch(self, import_id: int) -> AsyncIterator[pusher_pb2.ImportStatus]:
        yield pusher_pb2.ImportStatus(manifest=self.taken[import_id - 1], state=self.state)


class Time:
    """What a folder goes by; it passes when a test says so."""

    def __init__(self) -> None:
        #: How often the folder has asked.
        self.looks = 0
        self._now_s = 0.0

    def now_s(self) -> float:
        self.looks += 1
        return self._now_s

    def pass_s(self, passed_s: float) -> None:
        self._now_s += passed_s


def folder_of(
    path: Path, imports: Any, background: Background, now_s: Callable[[], float] = time.monotonic
) -> UploadFolder:
    return UploadFolder(
        path, imports, imports, background, poll_s=0.01, stable_s=60.0, marker_settle_s=0.0, now_s=now_s
    )


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


def refusal(folder: Path, name: str) -> str:
    """What the result says of a refused file, once it is there; empty before."""
    result = folder / "refused" / f"{name}.result.txt"
    return result.read_text() if result.exists() and os.path.lexists(folder / "refused" / name) else ""
