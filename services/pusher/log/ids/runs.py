"""Runs: sorted files of ids, each with the hash of its content and its position; never changed once they are there.

| bytes | what |
|---|---|
| 32 | magic, the number of entries n, CRC-32 of the columns' block checksums, zeros |
| 8 n | the first 64 bits of each key, ascending |
| 4 n | the other 32 bits, ascending where the first are equal |
| 8 n | the hash of each content |
| 8 n | the position of each record |
| 4 b | CRC-32 of each 64 KiB of the columns |

A block is checked when it is first read by a look-up; what does not fit its checksum is an error, never an answer.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.pusher.log.ids.keys import Keys
from services.pusher.log.store import LogDamagedError
from services.shared.files.durable import write_at, writing_durably
from services.shared.files.open_file import OpenFile

_MAGIC = b"FTIDS1\0\0"
_HEADER = struct.Struct("<8sQI12x")
HEADER_BYTES = _HEADER.size
BLOCK_BYTES = 64 << 10
_KINDS = tuple(map(np.dtype, ("<u8", "<u4", "<u8", "<u8")))
#: The mend where nobody else has a run.
BACKUP = "bring it back from a backup: without it, updates that were taken could be taken again"
#: Keys are evenly spread: where one should be is off by less than so many times the root of the number of all.
_NEAR = 4


class Entries(NamedTuple):
    """Ids in the order of their keys; each column has one entry for each.

    Attributes:
        high, low: The keys.
        contents: uint64, the hash of each content.
        positions: uint64.
    """

    high: NDArray[np.uint64]
    low: NDArray[np.uint32]
    contents: NDArray[np.uint64]
    positions: NDArray[np.uint64]

    @property
    def keys(self) -> Keys:
        return Keys(self.high, self.low)


def sorted_entries(entries: Entries) -> Entries:
    """The same, in the order of their keys."""
    order = np.lexsort((entries.low, entries.high))
    high, low, contents, positions = entries
    return Entries(high[order], low[order], contents[order], positions[order])


def joined(parts: Sequence[Entries]) -> Entries:
    """Entries of several pieces, one piece behind the other."""
    return Entries(
        np.concatenate([part.high for part in parts]),
        np.concatenate([part.low for part in parts]),
        np.concatenate([part.contents for part in parts]),
        np.concatenate([part.positions for part in parts]),
    )


def write_run(path: Path, count: int, pieces: Iterator[Entries]) -> None:
    """Writes a run, durably: `count` entries in all, in pieces that follow each other in the order of their keys.

    Raises:
        OSError: The disk; nothing of it is left.
    """
    offsets = _offsets(count)
    with writing_durably(path) as descriptor:
        os.ftruncate(descriptor, offsets[-1])
        done = 0
        for piece in pieces:
            columns: tuple[NDArray[Any], ...] = piece
            for offset, column in zip(offsets, columns, strict=False):
                write_at(descriptor, column.tobytes(), offset + done * column.itemsize)
            done += len(piece.high)
        assert done == count, f"{done} ids were written, {count} announced"
        checksums = _block_checksums(descriptor, _HEADER.size, offsets[-1])
        write_at(descriptor, checksums, offsets[-1])
        write_at(descriptor, _HEADER.pack(_MAGIC, count, zlib.crc32(checksums)), 0)


def write_copy(path: Path, pieces: Iterator[bytes]) -> None:
    """Writes a run, durably, as its bytes are elsewhere; nobody looks at them before it is opened.

    Raises:
        OSError: The disk; as with what `pieces` raises, nothing of it is left.
    """
    with writing_durably(path) as descriptor:
        done = 0
        for piece in pieces:
            write_at(descriptor, piece, done)
            done += len(piece)


def _offsets(count: int) -> tuple[int, int, int, int, int]:
    """Where each column begins, and where the last one ends."""
    high = _HEADER.size
    low = high + 8 * count
    contents = low + 4 * count
    positions = contents + 8 * count
    return high, low, contents, positions, positions + 8 * count


def _block_checksums(descriptor: int, begin: int, end: int) -> bytes:
    sums = [
        zlib.crc32(os.pread(descriptor, min(BLOCK_BYTES, end - offset), offset))
        for offset in range(begin, end, BLOCK_BYTES)
    ]
    return np.array(sums, dtype="<u4").tobytes()


class Run:
    """A run that is mapped; its pages come and go as they are read.

    Raises:
        LogDamagedError: The file is gone, cut short, or no run.
    """

    def __init__(self, path: Path, mend: str = BACKUP) -> None:
        """`mend`: what is to be done where it is damaged."""
        self.path, self._mend = path, mend
        try:
            with path.open("rb") as file:
                self.file = OpenFile.of(path, os.fstat(file.fileno()))
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise LogDamagedError(f"{path}: ids that were taken can't be read: {error}; {self._mend}") from error
        self.count, checksum = self._header()
        offsets = _offsets(self.count)
        blocks = -(-(offsets[-1] - _HEADER.size) // BLOCK_BYTES)
        if len(self._map) != offsets[-1] + 4 * blocks:
            raise LogDamagedError(f"{path} is cut short, or no run of ids; {self._mend}")
        stored = self._map[offsets[-1] :]
        if zlib.crc32(stored) != checksum:
            raise LogDamagedError(f"{path} is damaged at its end; {self._mend}")
        self._checksums = np.frombuffer(stored, dtype="<u4")
        self._good = np.zeros(blocks, dtype=bool)
        self._offsets = offsets
        self._high = np.frombuffer(self._map, dtype="<u8", count=self.count, offset=offsets[0])
        self._near = _NEAR * (math.isqrt(self.count) + 1)

    def _header(self) -> tuple[int, int]:
        if len(self._map) < _HEADER.size:
            raise LogDamagedError(f"{self.path} is no run of ids; {self._mend}")
        magic, count, checksum = _HEADER.unpack_from(self._map)
        if magic != _MAGIC or not count:
            raise LogDamagedError(f"{self.path} is no run of ids; {self._mend}")
        return int(count), int(checksum)

    @property
    def size_bytes(self) -> int:
        """What it takes on disk."""
        return len(self._map)

    def read(self, first: int, last: int) -> Entries:
        """Entries from `first` to before `last`, checked. Raises LogDamagedError."""
        return Entries(*(self._column(number, first, last) for number in range(len(_KINDS))))

    def keys(self, first: int, last: int) -> Keys:
        """Their keys alone. Raises LogDamagedError."""
        return Keys(self._column(0, first, last), self._column(1, first, last))

    def _column(self, number: int, first: int, last: int) -> NDArray[Any]:
        kind = _KINDS[number]
        begin = self._offsets[number] + first * kind.itemsize
        self._check(begin, begin + (last - first) * kind.itemsize)
        return np.frombuffer(self._map, dtype=kind, count=last - first, offset=begin)

    def _high_at(self, index: int) -> int:
        """One key's first bits, checked: all that has to be read of a run that has not the key."""
        offset = self._offsets[0] + index * 8
        self._check(offset, offset + 8)
        return int(self._high[index])

    def index_of(self, high: int) -> int:
        """The first entry whose key is not below it."""
        should_be = high * self.count >> 64
        begin, end = max(0, should_be - self._near), min(self.count, should_be + self._near)
        index = begin + int(self._high[begin:end].searchsorted(np.uint64(high)))
        if begin < index < end or (index == begin == 0) or (index == end == self.count):
            return index  # a few pages of the file, in place of some all over it
        return int(self._high.searchsorted(np.uint64(high)))

    def find(self, high: int, low: int) -> tuple[int, int] | None:
        """Content hash and position of a key; None where it is not here. Raises LogDamagedError."""
        index = self.index_of(high)
        while index < self.count:
            if self._high_at(index) != high:
                return None
            entry = self.read(index, index + 1)
            if int(entry.low[0]) == low:
                return int(entry.contents[0]), int(entry.positions[0])
            index += 1
        return None

    def check(self) -> None:
        """Reads all of it. Raises LogDamagedError."""
        self._check(_HEADER.size, self._offsets[-1])

    @property
    def blocks(self) -> int:
        """How many have a checksum each."""
        return len(self._good)

    def look(self, first: int, last: int) -> None:
        """Reads blocks from `first` to before `last`, though they were good before: disks get worse. On any thread.
        Raises LogDamagedError."""
        self._good[first:last] = False
        self._check(_HEADER.size + first * BLOCK_BYTES, min(_HEADER.size + last * BLOCK_BYTES, self._offsets[-1]))

    def _check(self, begin: int, end: int) -> None:
        first, last = (begin - _HEADER.size) // BLOCK_BYTES, (end - 1 - _HEADER.size) // BLOCK_BYTES
        for block in range(first, last + 1):
            if not self._good[block]:
                offset = _HEADER.size + block * BLOCK_BYTES
                data = self._map[offset : min(offset + BLOCK_BYTES, self._offsets[-1])]
                if zlib.crc32(data) != self._checksums[block]:
                    raise LogDamagedError(f"{self.path} is damaged at byte {offset}; {self._mend}")
                self._good[block] = True
