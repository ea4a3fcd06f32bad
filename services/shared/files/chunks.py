"""Files in chunks: cut with a checksum each, put together again, resumable at any offset."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from fasttree.v1 import types_pb2

CHUNK_BYTES = 512 * 1024
CHUNK_BYTES_MAX = 1024 * 1024


class ChunkDamagedError(Exception):
    """A chunk, or the whole, is not what was sent."""


def iter_chunks(path: Path, offset: int, size_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> Iterator[types_pb2.Chunk]:
    """The file's chunks from `offset` up to `size_bytes`. Reads the disk: run it in a thread.

    Raises:
        ChunkDamagedError: The file is shorter than `size_bytes`.
    """
    with path.open("rb") as file:
        file.seek(offset)
        while offset < size_bytes:
            data = file.read(min(chunk_bytes, size_bytes - offset))
            if not data:
                raise ChunkDamagedError(f"{path.name} ends at byte {offset}, {size_bytes} were expected")
            yield make_chunk(offset, data)
            offset += len(data)


def make_chunk(offset: int, data: bytes) -> types_pb2.Chunk:
    """One chunk with its checksum."""
    return types_pb2.Chunk(offset=offset, data=data, crc32=zlib.crc32(data))


def file_sha256(path: Path) -> bytes:
    """SHA-256 of a whole file, 32 bytes. Reads the disk: run it in a thread."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class ChunkWriter:
    """Writes chunks to a file that is not whole yet; goes on where an earlier writer of the same file stopped.

    Every method that touches the disk blocks: run it in a thread.

    Attributes:
        offset: How many bytes are written, and where the next chunk must begin.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._file = path.open("ab")
        self.offset = self._file.tell()
        if self.offset > size_bytes:
            self._file.truncate(0)
            self.offset = 0

    def write(self, chunk: types_pb2.Chunk) -> None:
        """Appends a chunk.

        Raises:
            ChunkDamagedError: A wrong checksum or offset, an oversized chunk, or more than `size_bytes` in all;
                nothing is written.
            OSError: The disk.
        """
        if len(chunk.data) > CHUNK_BYTES_MAX or not chunk.data:
            raise ChunkDamagedError(
                f"chunk at byte {chunk.offset} has {len(chunk.data)} bytes, 1 to {CHUNK_BYTES_MAX} fit"
            )
        if chunk.offset != self.offset:
            raise ChunkDamagedError(f"chunk at byte {chunk.offset} came where byte {self.offset} was expected")
        if self.offset + len(chunk.data) > self._size_bytes:
            raise ChunkDamagedError(f"more than the announced {self._size_bytes} bytes came")
        if zlib.crc32(chunk.data) != chunk.crc32:
            raise ChunkDamagedError(f"chunk at byte {chunk.offset} is damaged: its checksum is wrong")
        self._file.write(chunk.data)
        self.offset += len(chunk.data)

    def finish(self, sha256: bytes) -> bytes:
        """Makes the file durable and checks the whole; returns its SHA-256.

        Args:
            sha256: What it should be, 32 bytes; not compared where empty.

        Raises:
            ChunkDamagedError: Incomplete, or another checksum; then the file is removed: no byte of it can be trusted.
        """
        self.close()
        if self.offset != self._size_bytes:
            raise ChunkDamagedError(f"{self.offset} of {self._size_bytes} bytes came")
        found = file_sha256(self._path)
        if sha256 and found != sha256:
            self._path.unlink()
            raise ChunkDamagedError(f"the whole file's SHA-256 is {found.hex()}, {sha256.hex()} was announced")
        return found

    def close(self) -> None:
        """Makes what was written durable, so that a later writer can go on from there."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
