"""The one file in a zip archive, as a stream."""

from __future__ import annotations

import os
import zipfile
import zlib
from typing import IO, BinaryIO, Final, cast

from services.shared.domain.sentences import quoted
from services.shared.packing.errors import PackingError

#: An archive's own list of what is in it is read whole: of one file it takes a few hundred bytes.
_LIST_BYTES_MAX: Final = 1 << 20
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What macOS adds to each file of an archive that it makes.
_NO_FILES: Final = "__MACOSX/"
_ENCRYPTED: Final = 1
_DAMAGED: Final = "the zip archive is damaged or was cut off ({}): send it again"
_NAMES_SHOWN: Final = 3


def open_only_file(file: BinaryIO) -> _OnlyFile:
    """Raises PackingError where it is no archive, or holds no file, more than one, or one that can't be unpacked."""
    try:
        # Only what has a length is read from a disk: no archive says how much of our memory its list takes.
        archive = zipfile.ZipFile(cast("BinaryIO", _InPieces(file)))
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError) as error:
        raise PackingError(_DAMAGED.format(error)) from error
    found = [each for each in archive.infolist() if not _is_none(each.filename)]
    if len(found) != 1:
        names = ", ".join(quoted(each.filename) for each in found[:_NAMES_SHOWN])
        more = ", …" if len(found) > _NAMES_SHOWN else ""
        holds = f"{len(found)} files, {names}{more}" if found else "no file"
        raise PackingError(f"the zip archive holds {holds}: pack one file into each")
    only = found[0]
    if only.flag_bits & _ENCRYPTED:
        raise PackingError("the zip archive has a password: pack it without one")
    if only.compress_type not in _METHODS:
        raise PackingError(f"the zip archive is packed by method {only.compress_type}: pack it by deflate, as zip does")
    try:
        return _OnlyFile(archive.open(only))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise PackingError(_DAMAGED.format(error)) from error


def _is_none(name: str) -> bool:
    """Whether an entry of that name is no file: a folder (ZipInfo.is_dir fails where there is no name), or a Mac's."""
    return name.endswith("/") or name.startswith(_NO_FILES)


class _OnlyFile:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        try:
            return self._stream.read(min(size, _LIST_BYTES_MAX))
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise PackingError(_DAMAGED.format(error)) from error


class _InPieces:
    """A file of which nobody reads more than so much at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell, self.seekable = file.tell, file.seekable

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(_LIST_BYTES_MAX + 1 if size < 0 else min(size, _LIST_BYTES_MAX + 1))
        if len(data) > _LIST_BYTES_MAX:
            raise PackingError("the zip archive's list of files is longer than any: pack one file into it")
        return data

    def seek(self, place: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and place < 0:  # a disk and a text in memory refuse that in different ways
            raise zipfile.BadZipFile("it names a place before its beginning")
        return self._file.seek(place, whence)
