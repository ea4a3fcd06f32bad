"""Further columns of texts, from the texts of all batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.treenode.imports.reading.batch import Texts
from services.treenode.tree.kernels.kernel import Int32s
from services.treenode.tree.table import FurtherColumn


def text_column(batches: Sequence[Texts]) -> FurtherColumn:
    """A further column of all batches, each different text kept once."""
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
