"""Which packing a file has, and what is in it as a stream."""

from __future__ import annotations

import gzip
import zlib
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from services.shared.packing.errors import PackingError
from services.shared.packing.zip_archive import open_only_file

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Packing", "PackingError", "Unpacked", "is_bomb", "opened", "packing_of"]

#: Bytes of a file that say how it is packed.
HEAD_BYTES: Final = 4


class Packing(Enum):
    """How a file is packed, by the first bytes that say so."""

    NONE = b""
    GZIP = b"\x1f\x8b"
    ZIP = b"PK\x03\x04"
    ZSTD = b"(\xb5/\xfd"


class Unpacked(Protocol):
    """What is in a packed file."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; b"" at the end. Raises PackingError where it is damaged or cut off, and
        OSError where the disk can't be read."""


def packing_of(head: bytes) -> Packing:
    """By a file's first bytes, HEAD_BYTES at least."""
    return next((each for each in Packing if each is not Packing.NONE and head.startswith(each.value)), Packing.NONE)


def opened(file: BinaryIO) -> Unpacked:
    """What is in a file, whose beginning it stands at.

    Raises PackingError where it is packed in a way that can't be opened.
    """
    packing = packing_of(file.read(HEAD_BYTES))
    file.seek(0)
    match packing:
        case Packing.GZIP:
            return _Gzip(file)
        case Packing.ZIP:
            return _NotPackedAgain(open_only_file(file))
        case Packing.ZSTD:
            return _NotPackedAgain(_Zstd(file))
    return file


def is_bomb(unpacked_bytes: int, packed_bytes: int, ratio_max: int, free_bytes: int) -> bool:
    """Whether a file unpacks to more than it should: so many times its size, once that is more than `free_bytes`."""
    return unpacked_bytes > max(free_bytes, ratio_max * packed_bytes)


class _Gzip:
    def __init__(self, file: BinaryIO) -> None:
        self._file = gzip.GzipFile(fileobj=file)

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise PackingError(f"its gzip stream is damaged or was cut off ({error}): send it again") from error


class _Zstd:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream: pa.CompressedInputStream | None = None

    def read(self, size: int, /) -> bytes:
        # Most files are packed otherwise, and whoever reads those need not wait for it.
        import pyarrow as pa

        try:
            if self._stream is None:
                self._stream = pa.CompressedInputStream(pa.PythonFile(self._file, mode="r"), "zstd")
            data: bytes = self._stream.read(size)
        except pa.ArrowException as error:
            raise _damaged(error) from error
        except OSError as error:
            if error.errno:  # the disk's own
                raise
            raise _damaged(error) from error
        return data


def _damaged(error: Exception) -> PackingError:
    return PackingError(f"its zstd stream is damaged or was cut off ({error}): send it again")


class _NotPackedAgain:
    """Refuses what is packed twice: nobody needs it, and each time it could be a thousand times larger."""

    def __init__(self, stream: Unpacked) -> None:
        self._stream = stream
        self._looked = False

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        if not self._looked and data:
            self._looked = True
            if packing_of(data[:HEAD_BYTES]) is not Packing.NONE:
                raise PackingError("what it holds is packed again: pack it once")
        return data
