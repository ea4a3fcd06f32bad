"""Rows as an Arrow IPC stream: schema and dictionaries first, then record batches, then the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from services.treenode.reports.copy.rows import ID_COLUMNS, FrozenRows, FurtherValues
from services.treenode.reports.plan.columns import VOLUMES, Choice
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, UInt8s, Whole, kernel
from services.treenode.tree.table import DECIMAL_SCALE, NO_DAY, NO_NUMBER

#: What ends an Arrow IPC stream: the continuation mark and a length of 0.
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
KIND_TEXTS = ("", "distributor", "customer")
DECIMAL_DIGITS = 19
NUMBERS = {
    "placement_leg": pa.int32(),
    "rank": pa.int16(),
    "level": pa.int32(),
    "pv": pa.int64(),
    "gv": pa.int64(),
    "downline_count": pa.int64(),
}


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
    """Writes parts of the same rows as one stream. Statuses and texts are dictionaries, sent once.

    | column | type |
    |---|---|
    | member_id, sponsor_id, placement_id | string; null for none |
    | kind, status, further texts | dictionary of string |
    | joined_on, further dates | date32; null if unknown |
    | placement_leg, level | int32 |
    | rank | int16 |
    | pv, gv, downline_count | int64; volumes in hundredths |
    | further whole and decimal numbers | int64, decimal128(19, 6); null for an empty cell |
    | volumes | two int64 columns each: personal:TYPE:PERIOD, group:TYPE:PERIOD |
    """

    def __init__(self, rows: FrozenRows, choice: Choice) -> None:
        """`rows`: the whole of them, for their dictionaries; parts come to `encode`."""
        self._choice = choice
        self._names = {"kind": pa.array(KIND_TEXTS), "status": pa.array(rows.status_names, pa.string())}
        for name in choice.further:
            if rows.further[name].kind == "text":
                self._names[name] = pa.array(rows.further[name].names, pa.string())
        self._schema = self._batch(rows.part(0, 0)).schema

    def head(self) -> bytes:
        """Schema and dictionaries."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema) as writer:
            if any(pa.types.is_dictionary(column.type) for column in self._schema):
                writer.write_batch(self._empty)
        content: bytes = sink.getvalue().to_pybytes()
        return content.removesuffix(END_OF_STREAM)

    def encode(self, rows: FrozenRows) -> memoryview:
        """One record batch."""
        return memoryview(self._batch(rows).serialize())

    def _batch(self, rows: FrozenRows) -> Any:
        columns: dict[str, Any] = {}
        for name in self._choice.columns:
            if name == VOLUMES:
                for index, (volume_type, period) in enumerate(rows.volume_names):
                    columns[f"personal:{volume_type}:{period}"] = _plain(rows.personal[index], pa.int64())
                    columns[f"group:{volume_type}:{period}"] = _plain(rows.group[index], pa.int64())
            elif name in rows.plain:
                columns[name] = self._plain_column(name, rows)
            else:
                columns[name] = self._further_column(name, rows.further[name])
        batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        if rows.count == 0:
            self._empty = batch
        return batch

    def _plain_column(self, name: str, rows: FrozenRows) -> Any:
        values = rows.plain[name]
        if name in ID_COLUMNS:
            return _ids(rows.ids, values)
        if name in self._names:
            return self._named(name, values)
        if name == "joined_on":
            return _nullable(values, NO_DAY, pa.date32())
        return _plain(values, NUMBERS[name])

    def _named(self, name: str, codes: AnyArray) -> Any:
        indices = pa.array(codes.astype(np.int32, copy=False))
        return pa.DictionaryArray.from_arrays(indices, self._names[name], safe=False)

    def _further_column(self, name: str, column: FurtherValues) -> Any:
        if column.kind == "text":
            return self._named(name, column.values)
        if column.kind == "date":
            return _nullable(column.values, NO_DAY, pa.date32())
        if column.kind == "integer":
            return _nullable(column.values, NO_NUMBER, pa.int64())
        wide = np.empty((len(column.values), 2), np.int64)
        wide[:, 0] = column.values
        wide[:, 1] = column.values >> 63
        return _nullable(wide, NO_NUMBER, pa.decimal128(DECIMAL_DIGITS, DECIMAL_SCALE))


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
