"""Rows of a report, copied out of the tree: they stay as they are while updates go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from services.treenode.tree.table import FurtherKind

Array = npt.NDArray[Any]

#: Columns that hold rows of `ids`.
ID_COLUMNS = ("member_id", "sponsor_id", "placement_id")
#: Plain columns by name, with the dtype that kernels expect.
PLAIN_DTYPES: Mapping[str, type[np.generic]] = {
    "member_id": np.int32,
    "sponsor_id": np.int32,
    "placement_id": np.int32,
    "placement_leg": np.int32,
    "kind": np.uint8,
    "status": np.int16,
    "rank": np.int16,
    "joined_on": np.int32,
    "level": np.int32,
    "pv": np.int64,
    "gv": np.int64,
    "downline_count": np.int32,
}


@dataclass(frozen=True)
class FurtherValues:
    """A further column of some rows, coded as `FurtherColumn` of the tree's table says."""

    kind: FurtherKind
    values: Array
    names: Sequence[str] = ()


@dataclass(frozen=True)
class FrozenRows:
    """n rows in the order of the report. What was not asked for is not there."""

    count: int
    #: uint8[…, w]: ids, zero-padded; every id that `plain` points to.
    ids: npt.NDArray[np.uint8]
    #: By column name, with the dtypes of PLAIN_DTYPES; ids as rows of `ids`, -1 for none.
    plain: Mapping[str, Array]
    #: Text of each status code.
    status_names: Sequence[str] = ()
    #: Type and period of each volume, and int64[v, n] each.
    volume_names: Sequence[tuple[str, str]] = ()
    personal: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), np.int64))
    group: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 0), np.int64))
    further: Mapping[str, FurtherValues] = field(default_factory=dict)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> FrozenRows:
        """Some of the rows, in the order given."""
        return self._each(rows, len(rows))

    def part(self, first: int, last: int) -> FrozenRows:
        """Rows first … last - 1, without a copy."""
        return self._each(slice(first, last), last - first)

    def texts(self, column: str) -> npt.NDArray[np.bytes_]:
        """An id column as texts; empty where there is none."""
        rows = self.plain[column]
        texts = np.ascontiguousarray(self.ids[rows]).view(f"S{self.ids.shape[1]}").reshape(self.count)
        texts[rows < 0] = b""
        return texts

    def _each(self, index: slice | npt.NDArray[np.integer[Any]], count: int) -> FrozenRows:
        return replace(
            self,
            count=count,
            plain={name: values[index] for name, values in self.plain.items()},
            personal=self.personal[:, index] if self.volume_names else self.personal,
            group=self.group[:, index] if self.volume_names else self.group,
            further={name: replace(column, values=column.values[index]) for name, column in self.further.items()},
        )
