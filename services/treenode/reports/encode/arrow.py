"""Rows as an Arrow IPC stream: schema and dictionaries first, then record batches, then the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from services.shared.domain.limits import NO_DAY, NO_NUMBER
from services.treenode.reports.columns import VOLUMES, Column, Kind, enum_texts
from services.treenode.reports.encode.cell_texts import cell_texts
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, UInt8s, Whole, kernel

#: What ends an Arrow IPC stream: the continuation mark and a length of 0.
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


@kernel
def _id_texts(ids: UInt8s, rows: Int32s, offsets: Int32s, content: UInt8s) -> Whole:
    """Packs the ids of some rows: where each begins, and their characters; how many characters."""
    at = 0
    width = ids.shape[1]
    for index in range(rows.shape[0]):
        row = rows[index]
        if row >= 0:
            for place in range(width):
                if ids[row, place] == 0:
                    break
                content[at] = ids[row, place]
                at += 1
        offsets[index + 1] = at
    return at


class ArrowEncoder:
    """Writes parts of the same rows as one stream. What is coded is a dictionary, sent once; texts stand in each row.

    Each column has the type that its entry says. Ids and what is unknown are null; volumes are in hundredths, those of
    every type and period two columns each: personal:TYPE:PERIOD, group:TYPE:PERIOD.
    """

    def __init__(self, rows: FrozenRows, choice: Choice) -> None:
        """`rows`: the whole of them, for their dictionaries; parts come to `encode`."""
        self._choice = choice
        self._names = {column: pa.array(names, pa.string()) for column, names in rows.names.items()}
        for column in choice.plain:
            if column.kind is Kind.ENUM and column.field is not None:
                self._names[column] = pa.array(enum_texts(column.field), pa.string())
        self._empty = self._batch(rows.part(0, 0))

    def head(self) -> bytes:
        """Schema and dictionaries."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._empty.schema) as writer:
            if any(pa.types.is_dictionary(column.type) for column in self._empty.schema):
                writer.write_batch(self._empty)
        content: bytes = sink.getvalue().to_pybytes()
        return content.removesuffix(END_OF_STREAM)

    def encode(self, rows: FrozenRows) -> memoryview:
        """One record batch."""
        return memoryview(self._batch(rows).serialize())

    def _batch(self, rows: FrozenRows) -> Any:
        columns: dict[str, Any] = {}
        for column in self._choice.columns:
            if column is VOLUMES:
                for index, (volume_type, period) in enumerate(rows.volume_names):
                    columns[f"personal:{volume_type}:{period}"] = _plain(rows.personal[index], column.arrow)
                    columns[f"group:{volume_type}:{period}"] = _plain(rows.group[index], column.arrow)
            else:
                columns[column.name] = self._cells(column, rows)
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    def _cells(self, column: Column, rows: FrozenRows) -> Any:
        values = rows.values[column]
        match column.kind:
            case Kind.ID:
                return _ids(rows.ids, values)
            case Kind.TEXT:
                texts = cell_texts(column, rows)
                buffers = [None, pa.py_buffer(texts.offsets.astype(np.int32)), pa.py_buffer(texts.content)]
                return pa.Array.from_buffers(column.arrow, rows.count, buffers)
            case Kind.ENUM | Kind.CODE:
                codes = pa.array(values.astype(np.int32, copy=False))
                return pa.DictionaryArray.from_arrays(codes, self._names[column], safe=False)
            case Kind.DATE:
                return _nullable(values, NO_DAY, column.arrow)
            case Kind.INTEGER:
                return _nullable(values, NO_NUMBER, column.arrow)
            case Kind.DECIMAL:
                wide = np.empty((len(values), 2), np.int64)
                wide[:, 0] = values
                wide[:, 1] = values >> 63
                return _nullable(wide, NO_NUMBER, column.arrow)
            case Kind.NUMBER | Kind.HUNDREDTHS:
                return _plain(values, column.arrow)
        raise ValueError(f"column {column.name}: no Arrow column is made of {column.kind.value}")


def _plain(values: AnyArray, kind: Any) -> Any:
    content = np.ascontiguousarray(values, kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(content)])


def _nullable(values: AnyArray, empty: int, kind: Any) -> Any:
    known = (values[:, 0] if values.ndim == 2 else values) != empty
    valid = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])


def _ids(ids: UInt8s, rows: Int32s) -> Any:
    offsets = np.zeros(len(rows) + 1, np.int32)
    content = np.empty(len(rows) * ids.shape[1], np.uint8)
    size = _id_texts(ids, rows, offsets, content)
    known = rows >= 0
    valid = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(rows), [valid, pa.py_buffer(offsets), pa.py_buffer(content[:size])])
