"""A tree's whole state as one file: the arrays as they lie in memory, and a header in JSON that says what they are.

| bytes | what |
|---|---|
| 0 to 27 | `FTSTATE1`, where the header begins, how long it is (8 bytes each, little endian), its CRC-32 (4 bytes) |
| from 64 | each array at its offset, a multiple of 64 |
| at the end | header: `label` (who and where), `meta` (the engine's), `arrays` (name, dtype, shape, offset, CRC-32) |

The first bytes are written last, once all else is on disk. Nothing of a file is believed before its checksum was found
good, and nothing is allocated that the file's own length does not account for. A file that is sealed
(`services/shared/files/sealed`) has all of this inside; it is read into memory where another one is mapped.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple

import msgspec
import numpy as np

from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.sealed.names import state_name
from services.shared.files.sealed.reading import ClearContent, Content, content_of
from services.shared.forms import Form
from services.shared.processors import at_most_processors
from services.treenode.snapshots.state_form import (
    ALIGNMENT_BYTES,
    PIECE_BYTES,
    PREFIX,
    AnyArray,
    ArrayEntry,
    Count,
    StateHeader,
    aligned,
    contiguous,
    entry_bytes,
    parts_of,
)

if TYPE_CHECKING:
    from services.shared.files.sealed.writing import SealedWriter

MAGIC = b"FTSTATE1"
HEADER_BYTES_MAX = 512 * 1024**2
#: Reading takes larger ones: after each it waits for the interpreter, which may be busy with the process's own start.
READ_PIECE_BYTES = 32 * 1024**2
READER_THREADS = 2
#: What comes through a pipe at once.
_PIPE_BYTES = 1 << 20
#: Rows of zeros behind an array's own: memory that is not written takes none.
SPARE_ROWS_MAX = 4_096
#: An array of any length may want so large a capacity.
CAPACITY_MIN = 8192


class StateDamagedError(Exception):
    """A file that does not hold what was written. The text says what is wrong with it."""


class _Growth(msgspec.Struct, frozen=True):
    """What `meta` says of the arrays' capacity; see `StateFile`."""

    growing: dict[str, Annotated[int, msgspec.Meta(ge=0, le=3)]] = {}
    room: Count = 0
    spare: dict[str, Count] = {}


_HEADER: Form[StateHeader] = Form(StateHeader)
_GROWTH: Form[_Growth] = Form(_Growth)


class StateFile(NamedTuple):
    """What a state file holds."""

    #: Whatever the writer wanted to say about it: cluster, log, import, position.
    label: dict[str, Any]
    #: The engine's.
    meta: dict[str, Any]
    #: The engine's; each owns its memory. Those that `meta` names under `growing` have spare capacity behind what they
    #: hold: they are `meta["room"]` long (the key's name is the format's) along the axis that it gives, whatever the
    #: file has. Those under `spare` are the first rows of as many as it says, the others being zeros.
    arrays: dict[str, AnyArray]


class StateLayout:
    """Where each array of a state goes in its file.

    Attributes:
        pieces: Contiguous arrays that together are the state, each with its offset in the file. They are views of the
            given arrays wherever these are contiguous row by row.
        header_offset: Where the header goes: behind them all.
    """

    def __init__(self, arrays: Mapping[str, AnyArray]) -> None:
        self._entries: list[ArrayEntry] = []
        self.pieces: list[tuple[AnyArray, int]] = []
        offset = ALIGNMENT_BYTES
        for name, array in arrays.items():
            self._entries.append(ArrayEntry(name, array.dtype.str, list(array.shape), offset, crc32=0))
            place = offset
            for piece in contiguous(array):
                self.pieces.append((piece, place))
                place += piece.nbytes
            offset = aligned(offset + array.nbytes)
        self.header_offset = offset

    def write_arrays(self, descriptor: int) -> None:
        """Writes the pieces where they belong."""
        for piece, offset in self.pieces:
            for part in parts_of(piece):
                _write_all(descriptor, part, offset)
                offset += len(part)

    def finish(self, descriptor: int, label: Mapping[str, Any], meta: Mapping[str, Any], *, durable: bool) -> int:
        """Adds checksums, header and beginning to a file that has its arrays. Returns its size. Blocks.

        The checksums are of what the file has now, so they are good for every later reader. Raises OSError where the
        disk fails, or the file could not be read again.
        """
        content = ClearContent(descriptor)
        header = self._header(label, meta, [_checksum(content, entry) for entry in self._entries])
        _write_all(descriptor, header, self.header_offset)
        size_bytes = self.header_offset + len(header)
        os.ftruncate(descriptor, size_bytes)
        if durable:
            os.fsync(descriptor)
        _write_all(descriptor, self._prefix(header), 0)
        if durable:
            os.fsync(descriptor)
        return size_bytes

    def seal(self, pipe: int, writer: SealedWriter, label: Mapping[str, Any], meta: Mapping[str, Any]) -> int:
        """Seals the state whose pieces come through a pipe, one after another; returns the file's size. Blocks.

        Raises OSError where the disk fails, or the pipe ends before all of them came.
        """
        buffer, place = memoryview(bytearray(_PIPE_BYTES)), 0
        checksums: list[int] = []
        for entry in self._entries:
            writer.write(bytes(entry.offset - place))
            left_bytes, crc = entry_bytes(entry), 0
            place = entry.offset + left_bytes
            while left_bytes:
                count = os.readv(pipe, [buffer[: min(len(buffer), left_bytes)]])
                if count == 0:
                    raise OSError(f"array {entry.name} was not written whole")
                crc = zlib.crc32(buffer[:count], crc)
                writer.write(buffer[:count])
                left_bytes -= count
            checksums.append(crc)
        writer.write(bytes(self.header_offset - place))
        header = self._header(label, meta, checksums)
        writer.write(header)
        return writer.finish(self._prefix(header))

    def _header(self, label: Mapping[str, Any], meta: Mapping[str, Any], checksums: list[int]) -> bytes:
        summed = [
            msgspec.structs.replace(entry, crc32=crc) for entry, crc in zip(self._entries, checksums, strict=True)
        ]
        header = json.dumps({"label": label, "meta": meta, "arrays": msgspec.to_builtins(summed)}).encode()
        if len(header) > HEADER_BYTES_MAX:  # who reads it would refuse it; what was written before stays
            raise OSError(errno.EFBIG, f"a header of {len(header)} bytes is too long, {HEADER_BYTES_MAX} are read")
        return header

    def _prefix(self, header: bytes) -> bytes:
        return PREFIX.pack(MAGIC, self.header_offset, len(header), zlib.crc32(header))


def _checksum(content: Content, entry: ArrayEntry) -> int:
    offset, left_bytes, crc = entry.offset, entry_bytes(entry), 0
    buffer = memoryview(bytearray(min(PIECE_BYTES, left_bytes)))
    while left_bytes:
        part = buffer[: min(PIECE_BYTES, left_bytes)]
        if not content.read_into(part, offset):
            raise OSError(f"array {entry.name} was not written whole")
        crc = zlib.crc32(part, crc)
        offset += len(part)
        left_bytes -= len(part)
    return crc


def write_state_to(
    descriptor: int, label: Mapping[str, Any], meta: Mapping[str, Any], arrays: Mapping[str, AnyArray]
) -> int:
    """Writes a state into an open file, without making it durable. Returns its size."""
    layout = StateLayout(arrays)
    layout.write_arrays(descriptor)
    return layout.finish(descriptor, label, meta, durable=False)


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[BinaryIO, Content]]:
    with path.open("rb", buffering=0) as file:
        try:
            yield file, content_of(file.fileno(), state_name(name or path.name), path.name)
        except SealDamagedError as error:
            raise StateDamagedError(str(error)) from error


def read_label(path: Path, name: str = "") -> dict[str, Any]:
    """What the writer said about the file; checks the header only. `name`: the one that the file has when it is whole,
    where that is not the path's; the same below.

    Raises:
        StateDamagedError: No state file, or its header is damaged.
        SealKeyError: It is sealed, and its key is not here; so does each function that reads.
        OSError: The disk.
    """
    with _opened(path, name) as (_, content):
        return _read_header(content, path)[0].label


def read_meta(path: Path) -> dict[str, Any]:
    """What the engine said about the state; checks the header only. Raises as `read_label`."""
    with _opened(path, "") as (_, content):
        return _read_header(content, path)[0].meta


def check_state(path: Path, name: str = "") -> None:
    """Reads the whole file, and keeps nothing of it. Blocks: run it in a thread.

    Raises:
        StateDamagedError: Anything in it is not what was written.
        OSError: The disk.
    """
    with _opened(path, name) as (_, content):
        header, header_offset = _read_header(content, path)
        entries = _checked_places(header.arrays, header_offset, path)
        with ThreadPoolExecutor(at_most_processors(READER_THREADS), thread_name_prefix="check-state") as pool:
            for check in [pool.submit(_check_array, content, entry, path) for entry in entries]:
                check.result()


def map_state(path: Path) -> StateFile:
    """A file that was found to be whole, mapped: its arrays are read from it when they are looked at. What is written
    to them changes this process's memory alone. The file must not be written to or cut while they are there. One that
    is sealed is read, into memory of this process's own.

    Raises:
        StateDamagedError: Its header is not what was written.
        OSError: The disk.
    """
    with _opened(path, "") as (file, content):
        header, header_offset = _read_header(content, path)
        if not isinstance(content, ClearContent):
            return _read(content, header, _as_they_are(header, header_offset, path), path)
        entries = _checked_places(header.arrays, header_offset, path)
        # Private, yet writable: kernels are compiled for arrays that are.
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    memory.madvise(mmap.MADV_WILLNEED)
    arrays: dict[str, AnyArray] = {
        entry.name: np.ndarray(tuple(entry.shape), np.dtype(entry.dtype), memory, entry.offset) for entry in entries
    }
    return StateFile(header.label, header.meta, arrays)


def read_state(path: Path, name: str = "") -> StateFile:
    """The whole file, checked. Blocks: run it in a thread (most of it lets other threads run).

    Raises:
        StateDamagedError: Anything in it is not what was written.
        OSError: The disk.
    """
    with _opened(path, name) as (_, content):
        header, header_offset = _read_header(content, path)
        return _read(content, header, _allocate(header, header_offset, path), path)


def _read(content: Content, header: StateHeader, arrays: dict[str, AnyArray], path: Path) -> StateFile:
    # The largest first: both threads are done at about the same time.
    entries = sorted(header.arrays, key=entry_bytes, reverse=True)
    with ThreadPoolExecutor(at_most_processors(READER_THREADS), thread_name_prefix="read-state") as pool:
        for read in [pool.submit(_read_array, content, arrays[entry.name], entry, path) for entry in entries]:
            read.result()
    return StateFile(header.label, header.meta, arrays)


def _as_they_are(header: StateHeader, header_offset: int, path: Path) -> dict[str, AnyArray]:
    """Memory for the arrays, without room to grow."""
    entries = _checked_places(header.arrays, header_offset, path)
    return {entry.name: np.empty(tuple(entry.shape), np.dtype(entry.dtype)) for entry in entries}


def _write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view = view[count:]
        offset += count


def _read_header(content: Content, path: Path) -> tuple[StateHeader, int]:
    """The header, and where it begins."""
    size_bytes = content.size_bytes
    prefix = bytearray(PREFIX.size)
    if not content.read_into(memoryview(prefix), 0):
        raise StateDamagedError(f"{path.name} ends after {size_bytes} bytes")
    magic, offset, length, crc = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise StateDamagedError(
            f"{path.name} does not begin with {MAGIC.decode()}: it was not finished, or is no state"
        )
    if length > HEADER_BYTES_MAX or offset + length != size_bytes:
        raise StateDamagedError(f"{path.name} has {size_bytes} bytes, its header should end at {offset + length}")
    text = bytearray(length)
    if not content.read_into(memoryview(text), offset) or zlib.crc32(text) != crc:
        raise StateDamagedError(f"{path.name}: the header's checksum is wrong")
    try:
        return _HEADER.of_json(text), offset
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateDamagedError(f"{path.name}: the header is none: {error}") from error


def _checked_places(entries: list[ArrayEntry], header_offset: int, path: Path) -> list[ArrayEntry]:
    """The entries, which must name exactly what the file has before its header, each once."""
    offset = ALIGNMENT_BYTES
    for entry in entries:
        if entry.offset != offset:
            raise StateDamagedError(f"{path.name}: array {entry.name} is not where it should be")
        offset = aligned(offset + entry_bytes(entry))
    if len({entry.name for entry in entries}) < len(entries):
        raise StateDamagedError(f"{path.name} has two arrays of one name")
    if offset != header_offset:
        raise StateDamagedError(f"{path.name} has arrays up to {header_offset}, its header names them up to {offset}")
    return entries


def _allocate(header: StateHeader, header_offset: int, path: Path) -> dict[str, AnyArray]:
    """Memory for the arrays, which must be exactly what the file has before its header."""
    try:
        growth = _GROWTH.of(header.meta)
    except msgspec.ValidationError as error:
        raise StateDamagedError(f"{path.name}: what it says of its arrays is odd: {error}") from error
    shapes: dict[str, list[int]] = {}
    for entry in _checked_places(header.arrays, header_offset, path):
        shape, axis = list(entry.shape), growth.growing.get(entry.name)
        if axis is not None:
            length = shape[axis] if axis < len(shape) <= 2 else -1
            if not 0 <= length <= growth.room <= 2 * length + CAPACITY_MIN:
                raise StateDamagedError(
                    f"{path.name}: array {entry.name} has {length} and wants room for {growth.room}"
                )
            shape[axis] = growth.room
        shapes[entry.name] = shape
    return {
        entry.name: _memory(shapes[entry.name], np.dtype(entry.dtype), growth.spare.get(entry.name, 0))
        for entry in header.arrays
    }


def _memory(shape: list[int], dtype: np.dtype[Any], rows: int) -> AnyArray:
    """An array; of one that is to have `rows`, the first ones: its base has the others too, as zeros."""
    if len(shape) != 2 or not shape[0] <= rows <= SPARE_ROWS_MAX:
        return np.empty(tuple(shape), dtype)
    return np.zeros((rows, shape[1]), dtype)[: shape[0]]


def _read_array(content: Content, array: AnyArray, entry: ArrayEntry, path: Path) -> None:
    crc, offset = 0, entry.offset
    held = array[tuple(slice(length) for length in entry.shape)]
    for piece in contiguous(held):
        for part in parts_of(piece, READ_PIECE_BYTES):
            if not content.read_into(part, offset):
                raise StateDamagedError(f"{path.name} ends inside array {entry.name}")
            crc = zlib.crc32(part, crc)
            offset += len(part)
    if crc != entry.crc32:
        raise StateDamagedError(f"{path.name}: the checksum of array {entry.name} is wrong")


def _check_array(content: Content, entry: ArrayEntry, path: Path) -> None:
    if _checksum(content, entry) != entry.crc32:
        raise StateDamagedError(f"{path.name}: the checksum of array {entry.name} is wrong")
