"""Rows of a report, copied out of the tree: they stay as they are while updates go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from services.treenode.reports.columns import Column
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.kernel import AnyArray, Int64s, UInt8s


@dataclass(frozen=True)
class FrozenRows:
    """n rows in the order of the report. What was not asked for is not there."""

    count: int
    #: uint8[…, w]: ids, zero-padded; every id that a column of kind ID has.
    ids: UInt8s
    #: (n,) of the column's dtype, as its kind says.
    values: Mapping[Column, AnyArray]
    #: Of the columns of codes: what each code stands for.
    names: Mapping[Column, Sequence[str]] = field(default_factory=dict)
    #: Of the columns of texts: what the references lead into. It stays as it is, whatever is added to it.
    texts: Mapping[Column, Texts] = field(default_factory=dict)
    #: Type and period of each volume, and int64[v, n] each.
    volume_names: Sequence[tuple[str, str]] = ()
    personal: Int64s = field(default_factory=lambda: np.empty((0, 0), np.int64))
    group: Int64s = field(default_factory=lambda: np.empty((0, 0), np.int64))

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> FrozenRows:
        """Some of the rows, in the order given."""
        return self._each(rows, len(rows))

    def part(self, first: int, last: int) -> FrozenRows:
        """Rows first … last - 1, without a copy."""
        return self._each(slice(first, last), last - first)

    def id_texts(self, column: Column) -> npt.NDArray[np.bytes_]:
        """A column of ids as texts; empty where there is none."""
        rows = self.values[column]
        texts = np.ascontiguousarray(self.ids[rows]).view(f"S{self.ids.shape[1]}").reshape(self.count)
        texts[rows < 0] = b""
        return texts

    def _each(self, index: slice | npt.NDArray[np.integer[Any]], count: int) -> FrozenRows:
        return replace(
            self,
            count=count,
            values={column: values[index] for column, values in self.values.items()},
            personal=self.personal[:, index] if self.volume_names else self.personal,
            group=self.group[:, index] if self.volume_names else self.group,
        )
