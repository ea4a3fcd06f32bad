"""Files in chunks: what was written comes back, and what was not is found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.shared.files.checksums import file_sha256
from services.shared.files.chunks import ChunkDamagedError, ChunkWriter, copy_file, make_chunk

CONTENT = bytes(i * 7 % 256 for i in range(10_000))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole"
    path.write_bytes(CONTENT)
    return path


def chunks(offset: int, chunk_bytes: int) -> Iterator[types_pb2.Chunk]:
    for start in range(offset, len(CONTENT), chunk_bytes):
        yield make_chunk(start, CONTENT[start : start + chunk_bytes])


def test_a_transfer_goes_on_where_it_stopped(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.part"
    writer = ChunkWriter(target, 10_000)
    first = chunks(0, 1_000)
    for _ in range(4):
        writer.write(next(first))
    writer.close()
    writer = ChunkWriter(target, 10_000)
    assert writer.offset == 4_000
    for chunk in chunks(writer.offset, 999):
        writer.write(chunk)
    assert writer.finish(file_sha256(whole)) == file_sha256(whole)
    assert target.read_bytes() == CONTENT


def test_what_is_there_already_and_too_long_is_begun_anew(tmp_path: Path) -> None:
    target = tmp_path / "target.part"
    target.write_bytes(b"x" * 10_001)
    writer = ChunkWriter(target, 10_000)
    assert writer.offset == 0
    for chunk in chunks(0, 5_000):
        writer.write(chunk)
    writer.finish(b"")
    assert target.read_bytes() == CONTENT


def test_damaged_chunks_change_nothing(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "target.part", 10_000)
    chunk = next(chunks(0, 1_000))
    wrong_bytes = types_pb2.Chunk(offset=0, data=b"x" + chunk.data[1:], crc32=chunk.crc32)
    for wrong in (wrong_bytes, make_chunk(5, chunk.data), make_chunk(0, b""), make_chunk(0, b"x" * 10_001)):
        with pytest.raises(ChunkDamagedError):
            writer.write(wrong)
    writer.write(chunk)
    assert writer.offset == 1_000
    with pytest.raises(ChunkDamagedError, match="1000 of 10000"):
        writer.finish(b"")


def test_a_wrong_whole_is_refused_and_removed(tmp_path: Path) -> None:
    target = tmp_path / "target.part"
    writer = ChunkWriter(target, 10_000)
    for chunk in chunks(0, 4_096):
        writer.write(chunk)
    with pytest.raises(ChunkDamagedError, match="SHA-256"):
        writer.finish(b"\0" * 32)
    assert not target.exists()


def test_a_copy_is_the_file_as_long_as_it_was(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    target.write_bytes(b"x" * 20_000)
    assert copy_file(whole, target, 10_000) == file_sha256(whole)
    assert target.read_bytes() == CONTENT
    copy_file(whole, target, 9_000)  # it grew meanwhile
    assert target.read_bytes() == CONTENT[:9_000]
    with pytest.raises(ChunkDamagedError, match="has 10000 bytes, it had 10001"):
        copy_file(whole, target, 10_001)


@pytest.mark.parametrize("way", ["written", "half written", "copied"])
def test_what_was_taken_in_is_on_disk(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    synchronized: list[tuple[str, int]] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        fsync(descriptor)
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        synchronized.append((name, os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", spy)
    target = tmp_path / "target.part"
    if way == "copied":
        copy_file(whole, target, 10_000)
    else:
        writer = ChunkWriter(target, 10_000)
        for chunk in list(chunks(0, 3_000))[: 2 if way == "half written" else None]:
            writer.write(chunk)
        if way == "written":
            writer.finish(b"")
        writer.close()
    assert synchronized == [(str(target), 6_000 if way == "half written" else 10_000)]
