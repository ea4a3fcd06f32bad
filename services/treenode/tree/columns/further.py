"""Further columns: what the import file has beyond the columns that the tree gives a meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from services.shared.domain.columns import FurtherKind, number_places, parse_number
from services.shared.domain.days import day_number
from services.shared.domain.limits import NO_DAY, NO_NUMBER
from services.shared.domain.sentences import quoted
from services.treenode.tree.columns.digest import add_further_digests, further_fact
from services.treenode.tree.columns.names import Names
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, UInt64s, text_hash
from services.treenode.tree.store import Store, widened
from services.treenode.tree.table import FurtherColumn

_DTYPES: dict[FurtherKind, type[np.generic]] = {
    "text": np.int32,
    "integer": np.int64,
    "decimal": np.int64,
    "date": np.int32,
}


class Column:
    """One further column: its kind, its values by row, and the texts of a text column."""

    def __init__(self, name: str, kind: FurtherKind, values: AnyArray, names: Names) -> None:
        self.name = name
        self.kind = kind
        #: (capacity,) as FurtherColumn.values has it.
        self.values = values
        self.names = names
        #: Hash of the name, for the digest.
        self.tag = np.uint64(text_hash("column\0" + name))

    @property
    def unknown(self) -> int:
        """The value of a row without one."""
        if self.kind == "text":
            return self.names.code("")
        return NO_DAY if self.kind == "date" else NO_NUMBER

    def value_of(self, text: str) -> int:
        """The value that stands for a text of good form. Raises ValueError, naming the column, where there is none."""
        if self.kind == "text":
            return self.names.code(text)
        try:
            return day_number(text) if self.kind == "date" else parse_number(text, number_places(self.kind))
        except ValueError as error:
            raise ValueError(f"column {self.name}: {error}") from None

    def fact_of(self, key: int, value: int) -> int:
        """The digest of one value; 0 where it is unknown."""
        if value == self.unknown:
            return 0
        number = int(self.names.hashes[value]) if self.kind == "text" else value % 2**64
        return int(further_fact(np.uint64(key), self.tag, np.uint64(number)))

    def add_digests(self, store: Store, rows: Int32s, out: UInt64s) -> None:
        """Adds this column's facts of the rows, all of them places, to `out`, uint64 by row."""
        coded = self.kind == "text"
        hashes = self.names.hashes if coded else np.array([self.unknown % 2**64], dtype=np.uint64)
        add_further_digests(store, rows, self.tag, self.values, coded, hashes, out)


class FurtherColumns(Mapping[str, Column]):
    """The further columns by name."""

    def __init__(self, columns: Mapping[str, Column] | None = None) -> None:
        self._columns: dict[str, Column] = dict(columns or {})

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @classmethod
    def from_table(cls, columns: Mapping[str, FurtherColumn], file_row: AnyArray, capacity: int) -> FurtherColumns:
        """Columns in row order: row r has the values of the table's row file_row[r]."""
        taken = {}
        for name, column in columns.items():
            values = np.empty(capacity, dtype=_DTYPES[column.kind])
            np.take(column.values, file_row, out=values[: len(file_row)], mode="clip")
            taken[name] = Column(name, column.kind, values, Names(column.names))
        return cls(taken)

    def clear(self, rows: AnyArray | int) -> None:
        """Makes every value of the rows unknown."""
        for column in self._columns.values():
            column.values[rows] = column.unknown

    def grow(self, used: int, capacity: int) -> None:
        """Makes the columns `capacity` rows long."""
        for column in self._columns.values():
            column.values = widened(column.values, used, capacity)

    def parsed(self, texts: Mapping[str, str]) -> dict[str, int]:
        """Values for the texts, by column. Raises ValueError, naming the column, for an unknown one or a bad text."""
        values = {}
        # In an order: a map has none, and every node must give the same reason.
        for name, text in sorted(texts.items()):
            column = self._columns.get(name)
            if column is None:
                raise ValueError(f"there is no column {quoted(name)}")
            values[name] = column.value_of(text)
        return values
