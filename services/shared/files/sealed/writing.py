"""Sealed files, written from their beginning to their end."""

from __future__ import annotations

import os
from pathlib import Path

from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.form import (
    CHUNK_BYTES,
    HEADER_BYTES,
    OVERHEAD_BYTES,
    FileCipher,
    read_header,
)
from services.shared.files.sealed.keys import Key
from services.shared.files.sealed.names import SealedAs
from services.shared.files.sealed.own import own_keys


class SealedWriter:
    """Writes one file by an open descriptor. What is whole is sealed at once; the chunk that may be the last one waits.

    Every method that touches the disk blocks.

    Attributes:
        offset: How much content came.
    """

    def __init__(
        self, descriptor: int, cipher: FileCipher, *, first_last: bool = False, sync_bytes: int = 0, chunks: int = 0
    ) -> None:
        """`first_last`: the first chunk is sealed last of all, so that what is in it may change until then.
        `sync_bytes`: the disk takes so much before more is written; 0: whenever it wants. `chunks`: full ones that are
        there already."""
        self._descriptor, self._cipher = descriptor, cipher
        self._sync_bytes, self._unsynced_bytes = sync_bytes, 0
        self._chunk_bytes = cipher.header.chunk_bytes
        self._number = chunks
        self._first_last = first_last
        #: The first chunk, once it is full, where it is sealed last.
        self._first: bytearray | None = None
        self._waiting = bytearray()
        self._sealed = bytearray(self._chunk_bytes + OVERHEAD_BYTES)
        self.offset = chunks * self._chunk_bytes
        if not chunks:
            _write_all(descriptor, memoryview(cipher.header_bytes), 0)

    @classmethod
    def new(
        cls,
        descriptor: int,
        key: Key,
        sealed_as: SealedAs,
        *,
        first_last: bool = False,
        sync_bytes: int = 0,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> SealedWriter:
        """For an empty file."""
        cipher = FileCipher.new(key, sealed_as, chunk_bytes)
        return cls(descriptor, cipher, first_last=first_last, sync_bytes=sync_bytes)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """What comes next."""
        view = memoryview(data).cast("B")
        self.offset += len(view)
        while view:
            if len(self._waiting) == self._chunk_bytes:
                self._put(is_last=False)
            if not self._waiting and len(view) > self._chunk_bytes:  # it is not the last one: no copy of it is needed
                self._seal(view[: self._chunk_bytes], is_last=False)
                view = view[self._chunk_bytes :]
                continue
            count = min(len(view), self._chunk_bytes - len(self._waiting))
            self._waiting += view[:count]
            view = view[count:]

    def finish(self, beginning: bytes = b"") -> int:
        """Seals what waits as the last of the content, and returns the file's size: it is whole, but not durable yet.

        `beginning`: takes the place of the first bytes, where the first chunk is sealed last.
        """
        if beginning and self._first is None and self._number == 0:
            self._waiting[: len(beginning)] = beginning
        self._put(is_last=True)
        if self._first is not None:
            self._first[: len(beginning)] = beginning
            self._seal_at(0, memoryview(self._first), is_last=False)
        size_bytes = HEADER_BYTES + self.offset + self._number * OVERHEAD_BYTES
        os.ftruncate(self._descriptor, size_bytes)
        return size_bytes

    def _put(self, *, is_last: bool) -> None:
        waiting, self._waiting = self._waiting, bytearray()
        self._seal(memoryview(waiting), is_last=is_last)

    def _seal(self, data: memoryview, *, is_last: bool) -> None:
        if self._first_last and self._number == 0 and not is_last:
            self._first = bytearray(data)
        else:
            self._seal_at(self._number, data, is_last=is_last)
        self._number += 1

    def _seal_at(self, number: int, data: memoryview, *, is_last: bool) -> None:
        sealed = memoryview(self._sealed)[: len(data) + OVERHEAD_BYTES]
        self._cipher.seal_into(number, is_last, data, sealed)
        _write_all(self._descriptor, sealed, HEADER_BYTES + number * (self._chunk_bytes + OVERHEAD_BYTES))
        self._unsynced_bytes += len(sealed)
        if self._sync_bytes and self._unsynced_bytes >= self._sync_bytes:
            os.fdatasync(self._descriptor)
            self._unsynced_bytes = 0


def go_on(descriptor: int, key: Key, sealed_as: SealedAs) -> SealedWriter:
    """A writer that goes on behind the full chunks of a file that was not finished; from its beginning, where nothing
    of it can be used. What it has behind them is cut off."""
    try:
        header = read_header(os.pread(descriptor, HEADER_BYTES, 0), "it")
        cipher = FileCipher.of(header, own_keys(), sealed_as, "it")
    except (SealDamagedError, SealKeyError):
        os.ftruncate(descriptor, 0)
        return SealedWriter.new(descriptor, key, sealed_as)
    stride = header.chunk_bytes + OVERHEAD_BYTES
    chunks = max(0, os.fstat(descriptor).st_size - HEADER_BYTES) // stride
    while chunks and not _is_sound(descriptor, cipher, chunks - 1):
        chunks -= 1
    os.ftruncate(descriptor, HEADER_BYTES + chunks * stride)
    return SealedWriter(descriptor, cipher, chunks=chunks)


def _is_sound(descriptor: int, cipher: FileCipher, number: int) -> bool:
    """Whether a full chunk is there, and not sealed as the last one."""
    stride = cipher.header.chunk_bytes + OVERHEAD_BYTES
    sealed = os.pread(descriptor, stride, HEADER_BYTES + number * stride)
    target = memoryview(bytearray(cipher.header.chunk_bytes))
    return len(sealed) == stride and cipher.open_into(number, False, memoryview(sealed), target)


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, offset)
        data = data[count:]
        offset += count


def seal_file(source: Path, descriptor: int, key: Key, sealed_as: SealedAs) -> None:
    """Seals a file that is there into an empty one."""
    writer = SealedWriter.new(descriptor, key, sealed_as)
    with source.open("rb", buffering=0) as file:
        while data := file.read(4 * CHUNK_BYTES):
            writer.write(data)
    writer.finish()
