"""The file as blocks of whole lines, whatever it is packed in, within its limits."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX
from services.shared.packing import Packing, PackingError, Unpacked, is_bomb, opened, packing_of
from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading.kernels.lines import count_lines, find_rows
from services.treenode.imports.reading.refusal import FIRST_LINE, Lines, refuse_file
from services.treenode.tree.kernels.kernel import Int32s, Int64s

#: Told how far the reading is, 0.0 to 1.0, in the reader's thread; what it raises ends the reading.
Progress = Callable[[float], None]

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_PACKED_BYTES = 256 << 10
_OTHER_MAGICS = {
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"7z\xbc\xaf\x27\x1c": "a 7z file",
    b"Rar!\x1a\x07": "a RAR file",
    b"PK\x05\x06": "a zip archive without a file in it",
    b"\xd0\xcf\x11\xe0": "an office document",
}
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NEWLINE = 10


class FileFormat(IntEnum):
    """How an import file is written; the numbers are those of the API's ImportFormat."""

    DETECT = 0
    CSV = 1
    CSV_GZIP = 2
    PARQUET = 3
    #: CSV in a zip or zstd. The API has no number for it: nodes find it by the file's first bytes.
    CSV_PACKED = -1


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
            raise refuse_file(f"it is {kind}: send CSV, as it is or packed by gzip, zip or zstd, or Parquet")
    if start.startswith(_GZIP_MAGIC):
        found = FileFormat.CSV_GZIP
    elif start.startswith(_PARQUET_MAGIC):
        found = FileFormat.PARQUET
    elif packing_of(start) is not Packing.NONE:
        found = FileFormat.CSV_PACKED
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


#: A gzip member costs as much as a hundred bytes: so many may hold anything, beyond that each holds so much on average.
_MEMBERS_FREE = 1_000
_MEMBER_BYTES_MIN = 64


class _GzipStream:
    """Unpacks gzip, several members after one another included, never more than asked for at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._packed = b""
        self._unpack = zlib.decompressobj(wbits=31)
        self._finished = False
        self._members = 0
        self._unpacked_bytes = 0

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
                raise refuse_file("its gzip stream is damaged: send it again") from error
            self._packed = self._unpack.unconsumed_tail
            self._unpacked_bytes += len(unpacked)
            if self._unpack.eof:
                self._start_next_member(self._unpack.unused_data)
            if unpacked:
                return unpacked
        return b""

    def _start_next_member(self, rest: bytes) -> None:
        self._members += 1
        if self._members > _MEMBERS_FREE + self._unpacked_bytes // _MEMBER_BYTES_MIN:
            raise refuse_file(f"it is {self._members:,} gzip packs that hold next to nothing: pack it anew, as one")
        # Zeros after the last member are padding (tapes); anything else must be a further member.
        rest = (rest or self._file.read(_PACKED_BYTES)).lstrip(b"\0")
        if rest:
            self._unpack = zlib.decompressobj(wbits=31)
            self._packed = rest
        else:
            self._finished = True


class _PackedStream:
    """What is in a zip or zstd."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = io.BufferedReader(file)
        self._stream: Unpacked | None = None

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; b"" at the end. Raises ImportRefusedError for what can't be opened."""
        try:
            self._stream = self._stream or opened(self._file)
            return self._stream.read(size)
        except PackingError as error:
            raise refuse_file(str(error)) from error


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows of a file."""

    #: Which rows, and where they stand; the header's block has no rows.
    lines: Lines
    row_count: int
    data: bytearray
    #: (row_count + 1,) where each begins in data; None where there is no quote in them, and each is a line.
    row_starts: Int32s | None = None


def read_blocks(path: Path, file_format: FileFormat, limits: ImportLimits, progress: Progress) -> Iterator[Block]:
    """The rows of a CSV file.

    The first block is the header line alone, without a byte order mark. Empty lines at the file's end are dropped.
    Holds two blocks and one line at most. Raises ImportRefusedError for what a file of its kind may not be.
    """
    size_bytes = max(1, path.stat().st_size)
    with path.open("rb", buffering=0) as file:
        stream: Unpacked = _STREAMS[file_format](file) if file_format in _STREAMS else file
        cutter, unpacked_bytes = _Cutter(limits), 0
        while chunk := stream.read(limits.block_bytes):
            unpacked_bytes += len(chunk)
            _check_unpacked(unpacked_bytes, size_bytes, file_format, limits)
            if unpacked_bytes == len(chunk):
                chunk = _check_encoding(chunk)
            yield from cutter.cut(chunk)
            progress(min(1.0, os.lseek(file.fileno(), 0, os.SEEK_CUR) / size_bytes))
        yield from cutter.finish()


#: Those that are packed.
_STREAMS: Mapping[FileFormat, Callable[[io.FileIO], Unpacked]] = {
    FileFormat.CSV_GZIP: _GzipStream,
    FileFormat.CSV_PACKED: _PackedStream,
}


def _check_unpacked(unpacked_bytes: int, size_bytes: int, file_format: FileFormat, limits: ImportLimits) -> None:
    if unpacked_bytes > limits.unpacked_bytes:
        raise refuse_file(f"it unpacks to more than the limit of {limits.unpacked_bytes:,} bytes")
    bounds = limits.unpack_ratio, limits.unpack_free_bytes
    if file_format in _STREAMS and is_bomb(unpacked_bytes, size_bytes, *bounds):
        raise refuse_file(f"it unpacks to more than {limits.unpack_ratio} times its size: it is taken for a bomb")


def _check_encoding(start: bytes) -> bytes:
    for mark, name in _OTHER_ENCODINGS.items():
        if start.startswith(mark):
            raise refuse_file(f"it is {name}: save it as UTF-8", line=1)
    if b"\0" in start[:64]:
        raise refuse_file("it is not text: send CSV, packed or not, or Parquet", line=1)
    return start.removeprefix(_BYTE_ORDER_MARK)


class _Cutter:
    """Cuts a file's text into its header and blocks of whole rows, and knows on which line each stands."""

    def __init__(self, limits: ImportLimits) -> None:
        self._limits = limits
        self._row = 0
        self._line = 1
        #: What was not given out yet: the last row, which may be cut off, and empty lines, which may be the last ones.
        self._rest = bytearray()

    def cut(self, chunk: bytes) -> Iterator[Block]:
        """What is whole, now that there is more. Raises ImportRefusedError for a row of any length."""
        self._rest += chunk
        if self._line == 1 and self._rest.strip(b"\r\n"):
            yield from self._header(self._rest.find(b"\n") + 1)
        if self._line > 1:
            yield from self._rows(is_last=False)
        if len(self._rest) > self._limits.line_bytes:
            self._refuse_rest()

    def finish(self) -> Iterator[Block]:
        """What is left at the file's end. Raises ImportRefusedError where it holds no line at all."""
        self._rest = self._rest.rstrip(b"\r\n")
        if self._rest:
            self._rest += b"\n"
            yield from self._header(len(self._rest)) if self._line == 1 else self._rows(is_last=True)
        elif self._line == 1:
            raise refuse_file("it holds no line: a header line and at least one member are needed")

    def _header(self, end: int) -> Iterator[Block]:
        if end:
            yield Block(Lines.plain(), 0, self._taken(end))
            self._line = FIRST_LINE

    def _rows(self, *, is_last: bool) -> Iterator[Block]:
        # Nearly every chunk ends within a line, and needs no copy of all of it.
        filled = len(self._rest.rstrip(b"\r\n") if self._rest.endswith((b"\n", b"\r")) else self._rest)
        if b'"' in self._rest:
            yield from self._quoted_rows(filled, is_last=is_last)
            return
        end = self._rest.find(b"\n", filled) + 1 if filled else 0
        if end == 0:
            end = self._rest.rfind(b"\n", 0, filled) + 1
        if end:
            data = self._taken(end)
            count = int(count_lines(np.frombuffer(data, np.uint8)))
            yield Block(Lines.plain(self._row, self._line), count, data)
            self._row += count
            self._line += count

    def _quoted_rows(self, filled: int, *, is_last: bool) -> Iterator[Block]:
        text = np.frombuffer(bytearray(self._rest), np.uint8)
        row_starts = np.empty(int(count_lines(text)) + 1, np.int32)
        count = int(find_rows(text, COLUMN_TEXT_BYTES_MAX, is_last, row_starts))
        count = int(np.searchsorted(row_starts[:count], filled))
        if count:
            row_starts = row_starts[: count + 1].copy()
            data = self._taken(int(row_starts[-1]))
            line_ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
            lines = _lines(self._row, self._line, row_starts, line_ends)
            yield Block(lines, count, data, row_starts)
            self._row += count
            self._line += len(line_ends)

    def _taken(self, end: int) -> bytearray:
        taken, self._rest = self._rest, self._rest[end:]
        del taken[end:]
        return taken

    def _refuse_rest(self) -> NoReturn:
        limit = self._limits.line_bytes
        if not self._rest.strip(b"\r\n"):
            reason = f"more than {limit // 2:,} empty lines begin here: take them out"
        else:
            reason = f"the line is longer than {limit:,} bytes: look for missing line ends"
        raise refuse_file(reason, line=self._line)


def _lines(row: int, line: int, row_starts: Int32s, line_ends: Int64s) -> Lines:
    """Where the rows of a block stand. `line_ends`: of every newline in it."""
    if len(line_ends) == len(row_starts) - 1:
        return Lines.plain(row, line)
    breaks = np.diff(np.searchsorted(line_ends, row_starts)) - 1
    broken = np.flatnonzero(breaks)
    return Lines(row, line, broken + row, np.cumsum(breaks[broken]))
