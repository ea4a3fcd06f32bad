"""A tree's whole state as one file: a header in JSON, then the arrays as they lie in memory.

| bytes | what |
|---|---|
| 8 | `FTSTATE1` |
| 8 | length of the header in bytes, little endian |
| 4 | CRC-32 of the header |
| … | header: JSON with `label` (who and where), `meta` (the engine's), `arrays` (name, dtype, shape, offset, CRC-32) |
| … | each array at its offset, a multiple of 64 |

Nothing of a file is believed before its checksum was found good, and nothing is allocated that the file's own length
does not account for.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MAGIC = b"FTSTATE1"
ALIGNMENT_BYTES = 64
HEADER_BYTES_MAX = 512 * 1024**2
ARRAYS_MAX = 10_000
#: Piece of an array that one thread reads, checks or writes at a time.
PIECE_BYTES = 8 * 1024**2
READER_THREADS = 2

_PREFIX = struct.Struct("<8sQI")

AnyArray = npt.NDArray[Any]


class StateDamagedError(Exception):
    """A file that does not hold what was written. The text says what is wrong with it."""


class StateFile(NamedTuple):
    """What a state file holds."""

    #: Whatever the writer wanted to say about it: cluster, log, import, position.
    label: dict[str, Any]
    #: The engine's.
    meta: dict[str, Any]
    #: The engine's; each owns its memory.
    arrays: dict[str, AnyArray]


def write_state(path: Path, label: Mapping[str, Any], meta: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> int:
    """Writes a state file, durably and whole: `path` is either what it was before or the new file. Returns its size.

    Only arrays, hashes and `os` calls: it may run in a forked child.

    Raises:
        OSError: The disk; the unfinished file is removed.
    """
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("wb", buffering=0) as file:
            size_bytes = write_state_to(file.fileno(), label, meta, arrays)
            os.fsync(file.fileno())
        os.rename(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return size_bytes


def write_state_to(
    descriptor: int, label: Mapping[str, Any], meta: Mapping[str, Any], arrays: Mapping[str, AnyArray]
) -> int:
    """Writes a state into an empty open file, without making it durable. Returns its size."""
    flat = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    entries: list[dict[str, Any]] = []
    offset = 0
    for name, array in flat.items():
        place = {"name": name, "dtype": array.dtype.str, "shape": list(array.shape), "offset": offset}
        entries.append({**place, "crc32": _checksum(_pieces(array))})
        offset = _aligned(offset + array.nbytes)
    header = json.dumps({"label": label, "meta": meta, "arrays": entries}).encode()
    body_offset = _aligned(_PREFIX.size + len(header))
    _write_all(descriptor, _PREFIX.pack(MAGIC, len(header), zlib.crc32(header)))
    _write_all(descriptor, header)
    for entry, array in zip(entries, flat.values(), strict=True):
        os.lseek(descriptor, body_offset + entry["offset"], os.SEEK_SET)
        for piece in _pieces(array):
            _write_all(descriptor, piece)
    os.ftruncate(descriptor, body_offset + offset)
    return body_offset + offset


def read_label(path: Path) -> dict[str, Any]:
    """What the writer said about the file; checks the header only.

    Raises:
        StateDamagedError: No state file, or its header is damaged.
        OSError: The disk.
    """
    with path.open("rb", buffering=0) as file:
        header, _ = _read_header(file.fileno(), path)
    label: dict[str, Any] = header["label"]
    return label


def read_state(path: Path) -> StateFile:
    """The whole file, checked. Blocks: run it in a thread (most of it lets other threads run).

    Raises:
        StateDamagedError: Anything in it is not what was written.
        OSError: The disk.
    """
    with path.open("rb", buffering=0) as file:
        header, body_offset = _read_header(file.fileno(), path)
        arrays = _allocate(header["arrays"], os.fstat(file.fileno()).st_size - body_offset, path)
        with ThreadPoolExecutor(READER_THREADS, thread_name_prefix="read-state") as pool:
            reads = [
                pool.submit(_read_array, file.fileno(), body_offset, arrays[entry["name"]], entry, path)
                for entry in header["arrays"]
            ]
            for read in reads:
                read.result()
    return StateFile(header["label"], header["meta"], arrays)


def sync_folder(folder: Path) -> None:
    """Makes a rename or removal in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _pieces(array: AnyArray) -> Iterable[memoryview]:
    if not array.nbytes:
        return
    view = array.reshape(-1).view(np.uint8).data
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]


def _checksum(pieces: Iterable[memoryview]) -> int:
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_header(descriptor: int, path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the arrays begin."""
    prefix = os.pread(descriptor, _PREFIX.size, 0)
    if len(prefix) < _PREFIX.size:
        raise StateDamagedError(f"{path.name} ends after {len(prefix)} bytes")
    magic, length, crc = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise StateDamagedError(f"{path.name} does not begin with {MAGIC.decode()}")
    if length > min(HEADER_BYTES_MAX, os.fstat(descriptor).st_size):
        raise StateDamagedError(f"{path.name}: a header of {length} bytes does not fit")
    text = bytearray(length)
    if not _read_into(descriptor, memoryview(text), _PREFIX.size) or zlib.crc32(text) != crc:
        raise StateDamagedError(f"{path.name}: the header's checksum is wrong")
    header: dict[str, Any] = json.loads(bytes(text))
    return header, _aligned(_PREFIX.size + length)


def _allocate(entries: list[dict[str, Any]], body_bytes: int, path: Path) -> dict[str, AnyArray]:
    """Room for the arrays, which must be exactly what the file has behind its header."""
    if len(entries) > ARRAYS_MAX:
        raise StateDamagedError(f"{path.name}: {len(entries)} arrays, {ARRAYS_MAX} at most are read")
    offset = 0
    planned: list[tuple[str, np.dtype[Any], tuple[int, ...]]] = []
    for entry in entries:
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        size_bytes = dtype.itemsize
        for length in shape:
            size_bytes *= length
        if dtype.hasobject or entry["offset"] != offset or size_bytes < 0:
            raise StateDamagedError(f"{path.name}: array {entry['name']} is not where it should be")
        offset = _aligned(offset + size_bytes)
        planned.append((entry["name"], dtype, shape))
    if offset != body_bytes:
        raise StateDamagedError(f"{path.name} has {body_bytes} bytes of arrays, {offset} were written")
    return {name: np.empty(shape, dtype) for name, dtype, shape in planned}


def _read_array(descriptor: int, body_offset: int, array: AnyArray, entry: Mapping[str, Any], path: Path) -> None:
    crc = 0
    offset = body_offset + int(entry["offset"])
    for piece in _pieces(array):
        if not _read_into(descriptor, piece, offset):
            raise StateDamagedError(f"{path.name} ends inside array {entry['name']}")
        crc = zlib.crc32(piece, crc)
        offset += len(piece)
    if crc != entry["crc32"]:
        raise StateDamagedError(f"{path.name}: the checksum of array {entry['name']} is wrong")


def _read_into(descriptor: int, room: memoryview, offset: int) -> bool:
    """Fills `room` from the file; False where the file ends before."""
    while room:
        count = os.preadv(descriptor, [room], offset)
        if count == 0:
            return False
        room = room[count:]
        offset += count
    return True
