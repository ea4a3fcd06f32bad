"""Files in chunks: cut with a checksum each, put together again, resumable at any offset."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fasttree.v1 import types_pb2
from services.shared.files.checksums import content_sha256
from services.shared.files.durable import discard
from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.sealed.names import IMPORT_FILE, SealedAs
from services.shared.files.sealed.own import key_to_seal
from services.shared.files.sealed.reading import is_sealed

if TYPE_CHECKING:
    from services.shared.files.sealed.keys import Key

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
    """Copies a file's first bytes to a new file, as they are, durable under its name of now; returns their SHA-256, 32
    bytes. Where `source` is a link it is not followed.

    Waits for the disk: run it in a thread.

    Raises:
        ChunkDamagedError: The source is shorter.
        OSError: The disk; or `source` is a link.
    """
    with open(source, "rb", opener=_open_itself) as reading, target.open("wb", buffering=0) as writing:

        def write(data: bytes) -> None:
            while data:
                data = data[writing.write(data) :]

        sha256 = _copied(reading, source.name, size_bytes, write)
        os.fsync(writing.fileno())
    return sha256


def take_file(source: Path, target: Path, size_bytes: int) -> bytes:
    """As `copy_file`, of a file that comes from outside: where this process has keys, the new one is sealed."""
    with open(source, "rb", opener=_open_itself) as reading:
        discard(target)
        writing = _target(target, IMPORT_FILE)
        try:
            sha256 = _copied(reading, source.name, size_bytes, writing.write)
            writing.close(is_whole=True)
        finally:
            writing.close()
    writing.check()
    return sha256


def _copied(reading: BinaryIO, name: str, size_bytes: int, write: Callable[[bytes], None]) -> bytes:
    digest, left_bytes = hashlib.sha256(), size_bytes
    while left_bytes:
        data = reading.read(min(CHUNK_BYTES_MAX, left_bytes))
        if not data:
            raise ChunkDamagedError(f"{name} has {size_bytes - left_bytes} bytes, it had {size_bytes}")
        digest.update(data)
        left_bytes -= len(data)
        write(data)
    return digest.digest()


class _Clear:
    """A file that is written as it comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("r+b" if path.exists() else "w+b")
        if is_sealed(self._file.fileno()):  # begun while this process had keys
            self._file.truncate(0)
        self._file.seek(0, os.SEEK_END)
        self.offset = self._file.tell()

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def check(self) -> None:
        """Raises ChunkDamagedError where it would be taken for a sealed file, which this process did not seal."""
        with self._path.open("rb") as file:
            if is_sealed(file.fileno()):
                raise ChunkDamagedError("it begins as a sealed state file does: send what was sealed in it")

    def close(self, *, is_whole: bool = False) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


class _Sealed:
    """A file that is sealed as it comes. What is not whole goes on behind its last full chunk."""

    def __init__(self, path: Path, key: Key, sealed_as: SealedAs) -> None:
        # Loaded where there are keys.
        from services.shared.files.sealed.writing import go_on

        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._writer = go_on(self._descriptor, key, sealed_as)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.offset = self._writer.offset

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def check(self) -> None:
        """It was sealed here."""

    def close(self, *, is_whole: bool = False) -> None:
        if self._descriptor < 0:
            return
        if is_whole:
            self._writer.finish()
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


def _target(path: Path, sealed_as: SealedAs) -> _Clear | _Sealed:
    key = key_to_seal()
    return _Clear(path) if key is None else _Sealed(path, key, sealed_as)


class ChunkWriter:
    """Writes chunks to a file that is not whole yet; goes on where an earlier writer of the same file stopped. Where
    this process has keys, the file is sealed.

    Every method that touches the disk blocks: run it in a thread.

    Attributes:
        offset: How many bytes are written, and where the next chunk must begin.
    """

    def __init__(self, path: Path, size_bytes: int, sealed_as: SealedAs = IMPORT_FILE) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._sealed_as = sealed_as
        self._target = _target(path, sealed_as)
        self.offset = self._target.offset
        if self.offset > size_bytes:
            self._target.close()
            path.unlink()
            self._target = _target(path, sealed_as)
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
        self._target.write(chunk.data)
        self.offset += len(chunk.data)

    def finish(self, sha256: bytes) -> bytes:
        """Makes the file durable and checks the whole; returns its SHA-256.

        Args:
            sha256: What it should be, 32 bytes; not compared where empty.

        Raises:
            ChunkDamagedError: Incomplete, or another checksum; then the file is removed: no byte of it can be trusted.
        """
        is_whole = self.offset == self._size_bytes
        self._target.close(is_whole=is_whole)
        if not is_whole:
            raise ChunkDamagedError(f"{self.offset} of {self._size_bytes} bytes came")
        try:
            self._target.check()
            found = content_sha256(self._path, self._sealed_as)
        except (ChunkDamagedError, SealDamagedError) as error:
            self._path.unlink()
            raise ChunkDamagedError(str(error)) from error
        if sha256 and found != sha256:
            self._path.unlink()
            raise ChunkDamagedError(f"the whole file's SHA-256 is {found.hex()}, {sha256.hex()} was announced")
        return found

    def close(self) -> None:
        """Makes what was written durable, so that a later writer can go on from there."""
        self._target.close()
