"""Files as whoever reads them sees them: their content, be they sealed or not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, Self

from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.sealed.names import MAGIC, SealedAs
from services.shared.files.sealed.own import own_keys


class Content(Protocol):
    """What is in an open file. Any thread may read it."""

    #: How much.
    size_bytes: int

    def read_into(self, buffer: memoryview, offset: int) -> bool:
        """Fills the buffer from there on; False where the content ends before. Raises SealDamagedError, OSError."""
        ...


class ClearContent:
    """A file as it lies on the disk."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size_bytes = os.fstat(descriptor).st_size

    def read_into(self, buffer: memoryview, offset: int) -> bool:
        while buffer:
            count = os.preadv(self._descriptor, [buffer], offset)
            if count == 0:
                return False
            buffer = buffer[count:]
            offset += count
        return True


class SealedContent:
    """A sealed file. Its last chunk is looked at at once: a file that was cut is none."""

    def __init__(self, descriptor: int, sealed_as: SealedAs, where: str) -> None:
        """Raises SealKeyError, SealDamagedError, OSError."""
        # Loaded where a sealed file is met.
        from services.shared.files.sealed.form import (
            HEADER_BYTES,
            OVERHEAD_BYTES,
            FileCipher,
            content_bytes,
            read_header,
        )

        self._descriptor, self._where = descriptor, where
        self._cipher = FileCipher.of(
            read_header(os.pread(descriptor, HEADER_BYTES, 0), where), own_keys(), sealed_as, where
        )
        self.key_id = self._cipher.header.key_id
        self._chunk_bytes = self._cipher.header.chunk_bytes
        self._stride, self._begin = self._chunk_bytes + OVERHEAD_BYTES, HEADER_BYTES
        size_bytes = content_bytes(os.fstat(descriptor).st_size, self._chunk_bytes)
        if size_bytes is None:
            raise SealDamagedError(f"{where}: it was cut, or more was written behind it")
        self.size_bytes = size_bytes
        self._last = max(0, size_bytes - 1) // self._chunk_bytes
        #: The chunk of which a part was read last, and its number.
        self._known: tuple[int, bytearray] = (-1, bytearray())
        self._chunk(self._last)

    def read_into(self, buffer: memoryview, offset: int) -> bool:
        if offset + len(buffer) > self.size_bytes:
            return False
        while buffer:
            number, begin = divmod(offset, self._chunk_bytes)
            count = min(len(buffer), self._chunk_bytes - begin)
            if count == self._length(number):
                self._open(number, buffer[:count])
            else:
                buffer[:count] = memoryview(self._chunk(number))[begin : begin + count]
            buffer = buffer[count:]
            offset += count
        return True

    def _length(self, number: int) -> int:
        return min(self._chunk_bytes, self.size_bytes - number * self._chunk_bytes)

    def _chunk(self, number: int) -> bytearray:
        known, data = self._known
        if known != number:
            data = bytearray(self._length(number))
            self._open(number, memoryview(data))
            self._known = number, data
        return data

    def _open(self, number: int, target: memoryview) -> None:
        stored = len(target) + self._stride - self._chunk_bytes
        sealed = memoryview(os.pread(self._descriptor, stored, self._begin + number * self._stride))
        if len(sealed) < stored or not self._cipher.open_into(number, number == self._last, sealed, target):
            raise SealDamagedError(
                f"{self._where}: chunk {number} of {self._last + 1} is not what was sealed there: it was changed, "
                "moved or cut, or is of another file"
            )


def is_sealed(descriptor: int) -> bool:
    """Whether the open file says that it is sealed."""
    return os.pread(descriptor, len(MAGIC), 0) == MAGIC


def content_of(descriptor: int, sealed_as: SealedAs, where: str) -> Content:
    """What is in an open file, be it sealed as that or not at all. `where`: the file, for people.

    Raises:
        SealKeyError: It is sealed, and its key is not here.
        SealDamagedError: It is sealed, and not what was written.
        OSError: The disk.
    """
    return SealedContent(descriptor, sealed_as, where) if is_sealed(descriptor) else ClearContent(descriptor)


class ContentFile:
    """The content of a file, read from its beginning to its end."""

    def __init__(self, path: Path, sealed_as: SealedAs) -> None:
        """Raises as `content_of`."""
        self.name = path.name
        self._file = path.open("rb", buffering=0)
        self._offset = 0
        try:
            self._content = content_of(self._file.fileno(), sealed_as, path.name)
        except BaseException:
            self._file.close()
            raise

    def read(self, size_bytes: int) -> bytes:
        """So much, and less at the end alone. Raises SealDamagedError, OSError."""
        data = bytearray(max(0, min(size_bytes, self._content.size_bytes - self._offset)))
        if data and not self._content.read_into(memoryview(data), self._offset):
            raise OSError(f"{self.name} became shorter while it was read")
        self._offset += len(data)
        return bytes(data)

    def close(self) -> None:
        """The file may be removed before."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def opened(path: Path, sealed_as: SealedAs) -> Iterator[Content]:
    """The content of a file, for as long as it is open. Raises as `content_of`."""
    with path.open("rb", buffering=0) as file:
        yield content_of(file.fileno(), sealed_as, path.name)


def content_size(path: Path, sealed_as: SealedAs) -> int:
    """How much is in a file. Raises as `content_of`."""
    with opened(path, sealed_as) as content:
        return content.size_bytes
