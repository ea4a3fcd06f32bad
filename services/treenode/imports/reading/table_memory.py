"""The memory of an import's table: a file without a name, which one process fills and another one reads as it lies.

| bytes | what |
|---|---|
| 0 to 15 | where the header begins, and how long it is (8 bytes each, little endian) |
| from 4096 | each column at its offset, a multiple of 4096, as long as a file may have rows |
| at the end | header in JSON: the columns (dtype, rows, offset), and what the table has beside them |

Pages that were never written take no memory. No checksums: the writer has ended when the table is read, nobody else has
the descriptor, and no disk lies between.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from services.shared.domain.columns import FurtherKind
from services.shared.forms import Form
from services.treenode.tree.kernels.kernel import AnyArray, UInt8s
from services.treenode.tree.table import FurtherColumn, ImportTable

_PREFIX = struct.Struct("<QQ")
_ALIGNMENT_BYTES = 4096
_COLUMNS = ("member_ids", "sponsor", "placement", "placement_leg", "kind", "status", "rank", "joined_on")


class _Column(msgspec.Struct, frozen=True, array_like=True):
    dtype: str
    rows: int
    offset: int


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    #: `_COLUMNS`, then the volumes, then the further columns, then the pieces of their texts.
    columns: list[_Column]
    status_names: list[str]
    #: (volume type, period) of each volume column.
    volumes: list[tuple[str, str]]
    #: Name and kind of each further column, and how many pieces its texts have.
    further: list[tuple[str, FurtherKind, int]]


_HEADER: Form[_Header] = Form(_Header)


class TableBrokenError(Exception):
    """What was to be a table does not hold one."""


class TableMemory:
    """Gives out memory for columns, in any thread, and writes down where a table's columns are."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor`: of an empty file, which stays the caller's."""
        self._descriptor = descriptor
        self._end = _ALIGNMENT_BYTES
        self._lock = threading.Lock()
        #: Offset in the file by address in memory.
        self._offsets: dict[int, int] = {}

    @classmethod
    def private(cls) -> TableMemory:
        """For a table that stays in this process."""
        memory = cls(os.memfd_create("import"))
        # The columns keep the memory, not the descriptor.
        weakref.finalize(memory, os.close, memory._descriptor)
        return memory

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> AnyArray:
        """A column of zeros. Raises OSError where there is no room for it."""
        size_bytes = max(1, int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
        with self._lock:
            offset = self._place(size_bytes)
            os.ftruncate(self._descriptor, self._end)
        mapped = mmap.mmap(self._descriptor, size_bytes, offset=offset)
        column = np.frombuffer(mapped, np.dtype(dtype), count=int(np.prod(shape, dtype=np.int64))).reshape(shape)
        self._offsets[column.ctypes.data] = offset
        return column

    def put(self, column: AnyArray, at: int, data: UInt8s) -> None:
        """Fills bytes of a column from `at` on, for half of what it costs to write to memory that is not there yet."""
        self._write_all(data.data, self._offsets[column.ctypes.data] + at)

    def _place(self, size_bytes: int) -> int:
        offset = self._end
        self._end += -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        return offset

    def write(self, table: ImportTable) -> None:
        """Writes the header, and those columns that lie elsewhere. Raises OSError where there is no room."""
        columns = [_Column(column.dtype.str, len(column), self._offset_of(column)) for column in _columns_of(table)]
        header = msgspec.json.encode(
            _Header(
                columns=columns,
                status_names=table.status_names,
                volumes=list(table.volumes),
                further=[(name, column.kind, len(column.texts)) for name, column in table.further.items()],
            )
        )
        begin = self._place(len(header))
        self._write_all(memoryview(header), begin)
        self._write_all(memoryview(_PREFIX.pack(begin, len(header))), 0)

    def _offset_of(self, column: AnyArray) -> int:
        found = self._offsets.get(column.ctypes.data)
        if found is not None and column.flags.c_contiguous:
            return found
        offset = self._place(column.nbytes)
        self._write_all(np.ascontiguousarray(column).view(np.uint8).data, offset)
        return offset

    def _write_all(self, data: memoryview, offset: int) -> None:
        while data:
            count = os.pwrite(self._descriptor, data, offset)
            data, offset = data[count:], offset + count


def read_table(descriptor: int) -> ImportTable:
    """The table that was written; its columns are the file's memory, which they keep.

    Raises:
        TableBrokenError: The file holds none, or not all of it.
        OSError: It can't be read.
    """
    size_bytes = os.fstat(descriptor).st_size
    prefix = os.pread(descriptor, _PREFIX.size, 0)
    if len(prefix) < _PREFIX.size:
        raise TableBrokenError("the file of the table ends before it begins")
    begin, length = _PREFIX.unpack(prefix)
    if not length or begin + length > size_bytes:
        raise TableBrokenError(f"the file of the table has {size_bytes} bytes, its header ends at {begin + length}")
    try:
        header = _HEADER.of_json(os.pread(descriptor, length, begin))
    except msgspec.DecodeError as error:
        raise TableBrokenError(f"the header of the table can't be read: {error}") from error
    return _table_of(header, [_mapped(descriptor, column, size_bytes) for column in header.columns])


def _columns_of(table: ImportTable) -> Iterator[AnyArray]:
    yield from (getattr(table, name) for name in _COLUMNS)
    yield from table.volumes.values()
    yield from (column.values for column in table.further.values())
    for column in table.further.values():
        yield from column.texts


def _table_of(header: _Header, arrays: list[AnyArray]) -> ImportTable:
    pieces = sum(count for _, _, count in header.further)
    if len(arrays) != len(_COLUMNS) + len(header.volumes) + len(header.further) + pieces:
        raise TableBrokenError(f"the table has {len(arrays)} columns, its header names others")
    columns: dict[str, Any] = dict(zip(_COLUMNS, arrays, strict=False))
    volumes = arrays[len(_COLUMNS) :]
    further = volumes[len(header.volumes) :]
    texts = iter(further[len(header.further) :])
    return ImportTable(
        **columns,
        status_names=header.status_names,
        volumes=dict(zip(header.volumes, volumes, strict=False)),
        further={
            name: FurtherColumn(kind, values, list(itertools.islice(texts, count)))
            for (name, kind, count), values in zip(header.further, further, strict=False)
        },
    )


def _mapped(descriptor: int, column: _Column, size_bytes: int) -> AnyArray:
    dtype = np.dtype(column.dtype)
    end = column.offset + column.rows * dtype.itemsize
    if dtype.hasobject or column.rows < 1 or column.offset % _ALIGNMENT_BYTES or not 0 < end <= size_bytes:
        raise TableBrokenError("a column of the table lies outside its file")
    # A copy that is made where somebody writes, which nobody does: kernels take writable columns only.
    mapped = mmap.mmap(descriptor, column.rows * dtype.itemsize, mmap.MAP_PRIVATE, offset=column.offset)
    return np.frombuffer(mapped, dtype)
