"""Further columns: what each holds is found from all of its texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.treenode.imports.reading.batch import Texts
from services.treenode.imports.reading.kernels.texts import (
    MAY_BE_DATE,
    MAY_BE_DECIMAL,
    MAY_BE_INTEGER,
    fill_days,
    fill_decimals,
    fill_integers,
)
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, Int64s
from services.treenode.tree.table import FurtherColumn


def further_column(batches: Sequence[Texts]) -> FurtherColumn:
    """A further column of all batches: whole numbers, else decimals, else days, where every text but the empty ones is
    one as a program would write it (so that "007" stays a text); else texts, each different one kept once.
    """
    may_be, filled = MAY_BE_INTEGER | MAY_BE_DECIMAL | MAY_BE_DATE, False
    for batch in batches:
        may_be &= batch.may_be
        filled = filled or len(batch.packed) > 0
    rows = sum(len(batch.offsets) - 1 for batch in batches)
    numbers: Int64s = np.empty(rows if may_be & (MAY_BE_INTEGER | MAY_BE_DECIMAL) else 0, np.int64)
    if not filled or not may_be:
        return _text_column(batches)
    if may_be & MAY_BE_DATE:
        days: Int32s = np.empty(rows, np.int32)
        _fill(batches, fill_days, days)
        return FurtherColumn(kind="date", values=days)
    if may_be & MAY_BE_INTEGER:
        _fill(batches, fill_integers, numbers)
        return FurtherColumn(kind="integer", values=numbers)
    _fill(batches, fill_decimals, numbers)
    return FurtherColumn(kind="decimal", values=numbers)


def _fill(batches: Sequence[Texts], kernel: object, out: AnyArray) -> None:
    begin = 0
    assert callable(kernel)
    for batch in batches:
        end = begin + len(batch.offsets) - 1
        kernel(batch.packed, batch.offsets, out[begin:end])
        begin = end


def _text_column(batches: Sequence[Texts]) -> FurtherColumn:
    # Loaded where it is needed: that takes longer than many an import.
    import pyarrow as pa

    # The empty text comes first, so it is code 0 whatever the file holds.
    chunks = [pa.array([""], pa.large_string())]
    for batch in batches:
        rows = len(batch.offsets) - 1
        chunks.append(pa.LargeStringArray.from_buffers(rows, pa.py_buffer(batch.offsets), pa.py_buffer(batch.packed)))
    encoded = pa.chunked_array(chunks).dictionary_encode()
    codes: Int32s = np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks[1:]])
    names = encoded.chunk(0).dictionary.to_pylist()
    return FurtherColumn(kind="text", values=codes.astype(np.int32, copy=False), names=names)
