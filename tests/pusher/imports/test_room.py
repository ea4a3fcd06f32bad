"""Room for import files: uploads under way at the same time share what the disk has."""

from __future__ import annotations

import asyncio
import shutil
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fasttree.v1 import pusher_pb2, types_pb2
from services.pusher.imports import files
from services.pusher.imports.files import ImportFiles
from services.shared.serving.errors import ResourceExhaustedError

SIZE_BYTES = 100


async def requests(begun: asyncio.Event, go_on: asyncio.Event) -> AsyncIterator[pusher_pb2.UploadImportRequest]:
    """One chunk, once it may come."""
    begun.set()
    await go_on.wait()
    data = b"x" * SIZE_BYTES
    yield pusher_pb2.UploadImportRequest(chunk=types_pb2.Chunk(offset=0, data=data, crc32=zlib.crc32(data)))


def header() -> pusher_pb2.UploadImportHeader:
    return pusher_pb2.UploadImportHeader(file_name="members.csv", size_bytes=SIZE_BYTES)


async def test_two_uploads_at_once_have_room_together_or_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SimpleNamespace(free=files._ROOM_LEFT_BYTES + SIZE_BYTES + SIZE_BYTES // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    intake = ImportFiles(tmp_path, 1_000)
    begun, go_on = asyncio.Event(), asyncio.Event()
    first = asyncio.ensure_future(intake.receive(header(), requests(begun, go_on)))
    await asyncio.wait_for(begun.wait(), 30)
    go_on_at_once = asyncio.Event()
    go_on_at_once.set()
    with pytest.raises(ResourceExhaustedError, match="make room there"):
        await intake.receive(header(), requests(asyncio.Event(), go_on_at_once))
    go_on.set()
    part, manifest = await asyncio.wait_for(first, 30)
    assert (part.stat().st_size, manifest.size_bytes) == (SIZE_BYTES, SIZE_BYTES)
    # What is there counts by the disk's own word; the next one has its turn.
    await intake.receive(header(), requests(asyncio.Event(), go_on_at_once))
