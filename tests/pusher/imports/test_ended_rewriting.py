"""A file of another form, and the end of the process that writes it anew, or of the pusher, at any moment of it: the
file is taken once, whole, or not at all.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Client, Endpoints, UploadOptions
from fasttree.v1 import pusher_pb2
from services.shared.files.checksums import file_sha256
from tests.newcomer_file import FILE_NAME
from tests.pusher.pusher_process import PusherProcess
from tests.pusher.running_pusher import running_pusher
from tests.waiting import WAIT_S, until

PROFILE = pusher_pb2.ImportProfile(columns={"member_id": "NO"}, separator=";")
TOML = b'separator = ";"\n[columns]\nmember_id = "NO"\n'
ROWS = 60_000


def own_file() -> bytes:
    rows = "".join(f"{row};{row - 1 if row else ''};A;1;2026-01-01;1.00\n" for row in range(ROWS))
    return f"NO;SPONSOR_ID;STATUS;RANK;JOINED_ON;PV\n{rows}".encode()


def rewriting(parent: int) -> list[int]:
    """The processes that rewrite for this one."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdecimal() and b"services.shared.mapping.process" in (place / "cmdline").read_bytes():
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and fields[0] not in ("Z", "X"):
                    found.append(int(place.name))
        except OSError:
            continue
    return found


async def kill_one() -> None:
    await until(lambda: rewriting(os.getpid()), "the process")
    for child in rewriting(os.getpid()):
        os.kill(child, signal.SIGKILL)


async def test_an_upload_whose_rewriting_is_ended_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(own_file())
    async with (
        running_pusher(tmp_path) as pusher,
        Client(Endpoints(pusher=f"127.0.0.1:{pusher.server.port}")) as client,
    ):
        killing = asyncio.create_task(kill_one())
        manifest = await client.upload_import(tmp_path / FILE_NAME, UploadOptions(profile=PROFILE))
        assert killing.done()
        assert manifest.import_id == 1
        assert manifest.uploaded_sha256 == file_sha256(tmp_path / FILE_NAME)
        assert pusher.kept.files.path(manifest).read_bytes().count(b"\n") == ROWS + 1
        assert [file.name for file in pusher.kept.files.incoming.iterdir()] == []


async def test_a_dropped_file_whose_rewriting_is_ended_is_refused_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "office.toml").write_bytes(TOML)
    folder = tmp_path / "uploads" / "office"
    times: dict[str, Any] = {"upload_poll_s": 0.05, "upload_marker_settle_s": 0.0}
    async with running_pusher(tmp_path, upload_folder=str(tmp_path / "uploads"), **times) as pusher:
        (folder / "own.csv").write_bytes(own_file())
        (folder / "own.csv.done").write_bytes(b"")
        await kill_one()
        result = folder / "refused" / "own.csv.result.txt"
        await until(result.exists, "the refusal")
        assert result.read_text() == (
            "refused: own.csv: the process that reads it with its profile ended with code -9; nothing was stored, "
            "try again\n"
        )
        assert (pusher.catalog.newest(1), list(pusher.kept.files.incoming.iterdir())) == ([], [])


def wait_closely(reached: Callable[[], bool]) -> None:
    """Until a moment that may last for a few milliseconds; one that is missed is another moment to be killed at."""
    deadline_s = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.0005)


Moment = Callable[[Path], bool]
_MOMENTS: dict[str, Moment] = {
    "while it is written anew": lambda imports: (imports / "incoming" / "2.part").exists(),
    "before it has its name": lambda imports: (
        (imports / "incoming" / "2.part").exists() and not (imports / "incoming" / "1.part").exists()
    ),
    "once it has its name": lambda imports: any(imports.glob("000001-*")),
}


@pytest.mark.parametrize("moment", _MOMENTS)
async def test_a_pusher_that_is_killed_takes_the_file_once(moment: str, tmp_path: Path) -> None:
    imports, folder = tmp_path / "state" / "imports", tmp_path / "uploads" / "office"
    (tmp_path / "state" / "profiles").mkdir(parents=True)
    (tmp_path / "state" / "profiles" / "office.toml").write_bytes(TOML)
    settings = (f"pusher.upload_folder={tmp_path / 'uploads'}", "pusher.upload_marker_settle_s=0.0")
    process = PusherProcess(tmp_path, *settings, "pusher.upload_poll_s=0.05")
    await process.start()
    (folder / "own.csv").write_bytes(own_file())
    (folder / "own.csv.done").write_bytes(b"0")
    await asyncio.to_thread(wait_closely, lambda: _MOMENTS[moment](imports) or any(imports.glob("000001-*")))
    await process.end(signal.SIGKILL)
    await process.start()
    try:
        await until((folder / "done" / "own.csv").exists, "the file")
        (status,) = (await process.get()).imports
        assert status.manifest.as_of_position == 0
        assert status.manifest.uploaded_sha256 == file_sha256(folder / "done" / "own.csv")
        kept = [file for file in imports.iterdir() if file.is_file()]
        assert [file.name for file in kept] == [f"{status.manifest.import_id:06d}-own.csv"]
        assert file_sha256(kept[0]) == status.manifest.sha256
        assert list((imports / "incoming").iterdir()) == []
    finally:
        await process.end()
