"""Further columns: what the import file has beyond the columns that the tree gives a meaning."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

from services.shared.domain.columns import FurtherKind, number_places, parse_number
from services.shared.domain.days import day_number
from services.shared.domain.limits import NO_DAY, NO_NUMBER
from services.shared.domain.sentences import quoted
from services.shared.rules import DeclaredColumn
from services.treenode.tree.columns.digest import add_facts, further_fact, sum_facts
from services.treenode.tree.columns.ids import keys_of
from services.treenode.tree.columns.text_hash import LENGTH_MASK
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, UInt32s, UInt64s, text_hash
from services.treenode.tree.store import widened
from services.treenode.tree.table import FurtherColumn

#: A value as it comes in: a number, or a text in UTF-8.
Value: TypeAlias = int | bytes

_DTYPES: dict[FurtherKind, type[np.generic]] = {
    "text": np.int64,
    "integer": np.int64,
    "decimal": np.int64,
    "date": np.int32,
}
_UNKNOWN: dict[FurtherKind, int] = {"text": 0, "integer": NO_NUMBER, "decimal": NO_NUMBER, "date": NO_DAY}
_THREADS = 2
#: Rows whose keys and hashes stay in the cache until they are added up.
_ROWS_AT_A_TIME = 16_384


class Column:
    """One further column: its kind, its values by row, and the texts of a text column."""

    def __init__(self, name: str, kind: FurtherKind, values: AnyArray, texts: Texts | None = None) -> None:
        self.name = name
        self.kind = kind
        #: (capacity,) as FurtherColumn.values has it: of texts, references into `texts`.
        self.values = values
        self.texts = texts or Texts()
        #: Hash of the name, for the digest.
        self.tag = np.uint64(text_hash("column\0" + name))
        #: What a row has without a value.
        self.unknown = _UNKNOWN[kind]

    def value_of(self, text: str) -> Value:
        """The value that stands for a text of good form. Raises ValueError, naming the column, where there is none."""
        if self.kind == "text":
            return text.encode()
        try:
            return day_number(text) if self.kind == "date" else parse_number(text, number_places(self.kind))
        except ValueError as error:
            raise ValueError(f"column {self.name}: {error}") from None

    def text_at(self, row: int) -> str:
        """The text of a row, in a column of texts."""
        return self.texts.text_at(int(self.values[row]))

    def put(self, row: int, key: int, value: Value) -> int:
        """Gives a row, whose id has that key, another value; by how much the digest differs then."""
        before = int(self.values[row])
        old = self.texts.bytes_at(before) if self.kind == "text" else before
        if old == value:
            return 0
        if isinstance(value, bytes):
            self.texts.dead_bytes += before & LENGTH_MASK
            self.values[row] = self.texts.append([value])[0]
        else:
            self.values[row] = value
        return self._fact(key, value) - self._fact(key, old)

    def put_new(self, words: UInt32s, rows: Int32s, values: Sequence[Value], facts: UInt64s) -> None:
        """Gives rows that have none yet their values, and adds the digest of each to `facts`, (n,). `words`: the ids by
        row.
        """
        if self.kind == "text":
            taken: AnyArray = self.texts.append(values)  # type: ignore[arg-type]
        else:
            taken = np.array(values, self.values.dtype)
        self.values[rows] = taken
        add_facts(words, rows, self.tag, *self._numbers(taken), facts)

    def clear(self, rows: AnyArray | int) -> None:
        """Makes the values of rows unknown that had none, or have none any more."""
        self.values[rows] = self.unknown

    def add_digests(self, words: UInt32s, rows: Int32s, out: UInt64s) -> None:
        """Adds this column's facts of the rows, all of them places, to `out`, uint64 by row. `words`: as in put_new."""
        facts = np.zeros(len(rows), np.uint64)
        with ThreadPoolExecutor(_THREADS) as pool:
            cuts = np.linspace(0, len(rows), _THREADS + 1).astype(np.int64).tolist()
            parts = [slice(begin, end) for begin, end in itertools.pairwise(cuts)]
            list(pool.map(lambda part: self._add_part(words, rows[part], facts[part]), parts))
        out[rows] += facts

    def _add_part(self, words: UInt32s, rows: Int32s, facts: UInt64s) -> None:
        add_facts(words, rows, self.tag, *self._numbers(self.values[rows]), facts)

    def digest(self, keys: UInt64s, rows: slice) -> int:
        """The digest of this column in rows that follow each other, all of them places. `keys`: of their ids."""
        return int(sum_facts(keys, self.tag, *self._numbers(self.values[rows])))

    def _numbers(self, values: AnyArray) -> tuple[UInt64s, np.uint64]:
        """What the digest knows of values: a number each, and that of an unknown one."""
        if self.kind != "text":
            return values.astype(np.int64).view(np.uint64), np.uint64(self.unknown % 2**64)
        return self.texts.hashes(values), np.uint64(0)

    def _fact(self, key: int, value: Value) -> int:
        """The digest of one value; 0 where it is unknown."""
        if value in (b"", self.unknown):
            return 0
        number = text_hash(value) if isinstance(value, bytes) else value % 2**64
        return int(further_fact(np.uint64(key), self.tag, np.uint64(number)))


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
    def of_file(cls, columns: Mapping[str, FurtherColumn]) -> FurtherColumns:
        """The columns of an import's table, by row of the file. Of the table's memory only the texts are copied."""
        return cls(
            {
                name: Column(name, column.kind, column.values, Texts([piece.copy() for piece in column.texts]))
                for name, column in columns.items()
            }
        )

    def gathered(self, file_row: AnyArray, capacity: int) -> FurtherColumns:
        """Those of a file by row of the tree: row r has the values of the file's row file_row[r]. The texts are shared,
        the values are not."""

        def taken(column: Column) -> Column:
            values = np.empty(capacity, dtype=_DTYPES[column.kind])
            np.take(column.values, file_row, out=values[: len(file_row)], mode="clip")
            return Column(column.name, column.kind, values, column.texts)

        with ThreadPoolExecutor(_THREADS) as pool:
            return FurtherColumns(dict(zip(self, pool.map(taken, self.values()), strict=True)))

    def digest(self, words: UInt32s) -> int:
        """The digest of all columns, modulo 2^64, where every row of `words`, the ids, is a place.

        Lets other threads run. By row of the file it is done in half the time: texts come as they lie in memory.
        """
        total = 0
        for begin in range(0, len(words) if self else 0, _ROWS_AT_A_TIME):
            rows = slice(begin, begin + _ROWS_AT_A_TIME)
            keys = keys_of(words[rows])
            total += sum(column.digest(keys, rows) for column in self.values())
        return total % 2**64

    def laid_out(self, rows: Int32s, capacity: int) -> FurtherColumns:
        """The same columns with row r in the place of row rows[r]; of their texts, those that these rows have."""
        laid = {}
        for name, column in self._columns.items():
            values = np.empty(capacity, dtype=column.values.dtype)
            if column.kind == "text":
                laid[name] = Column(name, "text", values, column.texts.packed(column.values, rows, values[: len(rows)]))
            else:
                np.take(column.values, rows, out=values[: len(rows)], mode="clip")
                laid[name] = Column(name, column.kind, values)
        return FurtherColumns(laid)

    def with_declared(self, declared: Iterable[DeclaredColumn], capacity: int) -> FurtherColumns:
        """These, and an empty one for each declared one that is not among them. One of another type stays as it is: it
        came with a file, and its values are of that type."""
        more = {
            name: Column(name, kind, np.full(capacity, _UNKNOWN[kind], _DTYPES[kind]))
            for name, kind, _ in declared
            if name not in self._columns
        }
        return FurtherColumns({**self._columns, **more}) if more else self

    @property
    def dead_bytes(self) -> int:
        """Bytes of texts that no row has any more, about."""
        return sum(column.texts.dead_bytes for column in self._columns.values())

    @property
    def text_bytes(self) -> int:
        """Bytes of all texts, dead ones among them."""
        return sum(column.texts.size_bytes for column in self._columns.values())

    def clear(self, rows: AnyArray | int) -> None:
        """Makes every value of new rows unknown."""
        for column in self._columns.values():
            column.clear(rows)

    def grow(self, used: int, capacity: int) -> None:
        """Makes the columns `capacity` rows long."""
        for column in self._columns.values():
            column.values = widened(column.values, used, capacity)

    def parsed(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """Values for the texts, by column. Raises ValueError, naming the column, for an unknown one or a bad text."""
        values = {}
        # In an order: a map has none, and every node must give the same reason.
        for name, text in sorted(texts.items()):
            column = self._columns.get(name)
            if column is None:
                raise ValueError(f"there is no column {quoted(name)}")
            values[name] = column.value_of(text)
        return values

    def nothing(self) -> dict[str, Value]:
        """An unknown value for each column."""
        return {name: b"" if column.kind == "text" else column.unknown for name, column in self._columns.items()}
