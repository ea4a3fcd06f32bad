"""The file as blocks of whole lines, whatever it is packed in, within its limits."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from services.treenode.imports.reading.kernels.lines import count_lines
from services.treenode.imports.reading.limits import ImportLimits
from services.treenode.imports.reading.refusal import refuse_file

#: Told how far the reading is, 0.0 to 1.0, in the reader's thread; what it raises ends the reading.
Progress = Callable[[float], None]

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_PACKED_BYTES = 256 << 10
_OTHER_MAGICS = {
    b"PK\x03\x04": "a zip file",
    b"(\xb5/\xfd": "a zstd file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\xd0\xcf\x11\xe0": "an office document",
}
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class FileFormat(IntEnum):
    """How an import file is written; the numbers are those of the API's ImportFormat."""

    DETECT = 0
    CSV = 1
    CSV_GZIP = 2
    PARQUET = 3


def find_format(path: Path, asked: FileFormat, limits: ImportLimits) -> FileFormat:
    """The format of a file by its first bytes; what was asked for, or what its name says, must agree.

    Raises ImportRefusedError where it does not, or where the file is empty, too large, or of a kind that is not read.
    """
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise refuse_file("it is empty: a header line and at least one member are needed")
    if size_bytes > limits.file_bytes:
        raise refuse_file(f"its {size_bytes:,} bytes are more than the limit of {limits.file_bytes:,}")
    with path.open("rb") as file:
        start = file.read(8)
    for magic, kind in _OTHER_MAGICS.items():
        if start.startswith(magic):
            raise refuse_file(f"it is {kind}: send CSV, gzipped CSV or Parquet")
    if start.startswith(_GZIP_MAGIC):
        found = FileFormat.CSV_GZIP
    elif start.startswith(_PARQUET_MAGIC):
        found = FileFormat.PARQUET
    else:
        found = FileFormat.CSV
    wanted = asked if asked is not FileFormat.DETECT else _format_by_name(path.name)
    if wanted not in (FileFormat.DETECT, found):
        raise refuse_file(f"it should be {_spoken(wanted)}, but its first bytes are not: send it again")
    return found


def _format_by_name(name: str) -> FileFormat:
    if name.endswith(".gz"):
        return FileFormat.CSV_GZIP
    return FileFormat.PARQUET if name.endswith(".parquet") else FileFormat.DETECT


def _spoken(file_format: FileFormat) -> str:
    return {FileFormat.CSV: "CSV", FileFormat.CSV_GZIP: "gzipped CSV"}.get(file_format, "Parquet")


class _ByteStream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _GzipStream:
    """Unpacks gzip, several members after one another included, never more than asked for at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._packed = b""
        self._unpack = zlib.decompressobj(wbits=31)
        self._finished = False

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; b"" at the end. Raises ImportRefusedError for damage and for an early end."""
        while not self._finished:
            if not self._packed:
                self._packed = self._file.read(_PACKED_BYTES)
            if not self._packed and not self._unpack.eof:
                raise refuse_file("its gzip stream ends early: the file was cut off, send it again")
            try:
                unpacked = self._unpack.decompress(self._packed, size)
            except zlib.error as error:
                raise refuse_file(f"its gzip stream is damaged ({error}): send it again") from error
            self._packed = self._unpack.unconsumed_tail
            if self._unpack.eof:
                self._start_next_member(self._unpack.unused_data)
            if unpacked:
                return unpacked
        return b""

    def _start_next_member(self, rest: bytes) -> None:
        # Zeros after the last member are padding (tapes); anything else must be a further member.
        rest = (rest or self._file.read(_PACKED_BYTES)).lstrip(b"\0")
        if rest:
            self._unpack = zlib.decompressobj(wbits=31)
            self._packed = rest
        else:
            self._finished = True


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file."""

    #: Number of the first one in the file.
    line: int
    line_count: int
    data: bytearray


def read_blocks(path: Path, file_format: FileFormat, limits: ImportLimits, progress: Progress) -> Iterator[Block]:
    """The lines of a CSV file.

    The first block is the header line alone, without a byte order mark. Empty lines at the file's end are dropped.
    Holds two blocks and one line at most. Raises ImportRefusedError for what a file of its kind may not be.
    """
    size_bytes = max(1, path.stat().st_size)
    with path.open("rb", buffering=0) as file:
        stream: _ByteStream = _GzipStream(file) if file_format is FileFormat.CSV_GZIP else file
        line, rest, unpacked_bytes = 1, b"", 0
        while chunk := stream.read(limits.block_bytes):
            unpacked_bytes += len(chunk)
            _check_unpacked(unpacked_bytes, size_bytes, file_format, limits)
            if unpacked_bytes == len(chunk):
                chunk = _check_encoding(chunk)
            whole, rest = _cut(rest + chunk, line, limits)
            for data in _header_apart(whole, first=line == 1):
                block = Block(line, int(count_lines(np.frombuffer(data, np.uint8))), data)
                yield block
                line += block.line_count
            progress(min(1.0, os.lseek(file.fileno(), 0, os.SEEK_CUR) / size_bytes))
        rest = rest.rstrip(b"\r\n")
        if rest:
            for data in _header_apart(rest + b"\n", first=line == 1):
                yield Block(line, 1, data)
                line += 1
        elif line == 1:
            raise refuse_file("it holds no line: a header line and at least one member are needed")


def _header_apart(whole: bytes, *, first: bool) -> list[bytearray]:
    head = whole.find(b"\n") + 1 if first else 0
    return [bytearray(part) for part in (whole[:head], whole[head:]) if part]


def _check_unpacked(unpacked_bytes: int, size_bytes: int, file_format: FileFormat, limits: ImportLimits) -> None:
    if unpacked_bytes > limits.unpacked_bytes:
        raise refuse_file(f"it unpacks to more than the limit of {limits.unpacked_bytes:,} bytes")
    free = max(limits.unpack_free_bytes, limits.unpack_ratio * size_bytes)
    if file_format is FileFormat.CSV_GZIP and unpacked_bytes > free:
        raise refuse_file(f"it unpacks to more than {limits.unpack_ratio} times its size: it is taken for a bomb")


def _check_encoding(start: bytes) -> bytes:
    for mark, name in _OTHER_ENCODINGS.items():
        if start.startswith(mark):
            raise refuse_file(f"it is {name}: save it as UTF-8", line=1)
    if b"\0" in start[:64]:
        raise refuse_file("it is not text: send CSV, gzipped CSV or Parquet", line=1)
    return start.removeprefix(_BYTE_ORDER_MARK)


def _cut(lines: bytes, first_line: int, limits: ImportLimits) -> tuple[bytes, bytes]:
    """Splits before the last line, which may be cut, and before the empty lines that may be the file's last ones."""
    filled = len(lines.rstrip(b"\r\n"))
    end = lines.find(b"\n", filled) + 1 if filled else 0
    if end == 0:
        end = lines.rfind(b"\n", 0, filled) + 1
    whole, rest = lines[:end], lines[end:]
    if len(rest) > limits.line_bytes:
        line = first_line + whole.count(b"\n")
        if not rest.strip(b"\r\n"):
            raise refuse_file(f"more than {limits.line_bytes // 2:,} empty lines begin here: take them out", line=line)
        raise refuse_file(f"the line is longer than {limits.line_bytes:,} bytes: look for missing line ends", line=line)
    return whole, rest
