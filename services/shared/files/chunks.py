"""Files in chunks: cut with a checksum each, put together again, resumable at any offset."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

from fasttree.v1 import types_pb2
from services.shared.files.checksums import file_sha256

CHUNK_BYTES = 512 * 1024
CHUNK_BYTES_MAX = 1024 * 1024


class ChunkDamagedError(Exception):
    """A chunk, or the whole, is not what was sent."""


def make_chunk(offset: int, data: bytes) -> types_pb2.Chunk:
    """One chunk with its checksum."""
    return types_pb2.Chunk(offset=offset, data=data, crc32=zlib.crc32(data))


def _open_itself(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def copy_file(source: Path, target: Path, size_bytes: int) -> bytes:
    """Copies a file's first bytes to a new file, durable under its name of now; returns their SHA-256, 32 bytes. Where
    `source` is a link it is not followed.

    Waits for the disk: run it in a thread.

    Raises:
        ChunkDamagedError: The source is shorter.
        OSError: The disk; or `source` is a link.
    """
    digest, left_bytes = hashlib.sha256(), size_bytes
    with open(source, "rb", opener=_open_itself) as reading, target.open("wb", buffering=0) as writing:
        while left_bytes:
            data = reading.read(min(CHUNK_BYTES_MAX, left_bytes))
            if not data:
                raise ChunkDamagedError(f"{source.name} has {size_bytes - left_bytes} bytes, it had {size_bytes}")
            digest.update(data)
            left_bytes -= len(data)
            while data:
                data = data[writing.write(data) :]
        os.fsync(writing.fileno())
    return digest.digest()


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
