"""Parts put together into the columns of the whole file: each is copied to its rows as it comes, and given up."""

from __future__ import annotations

import threading

import numpy as np

from services.shared.mapping.faults import RejectedRow, Tally
from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading.batch import Part
from services.treenode.imports.reading.refusal import Lines, refuse_file
from services.treenode.imports.reading.table_memory import TableMemory
from services.treenode.tree.columns.text_hash import CHUNK_BYTES
from services.treenode.tree.columns.texts import chunks_of
from services.treenode.tree.kernels.kernel import AnyArray, Int64s, UInt8s

_INT64_MAX = 2**63 - 1
#: Of the memory for a column's texts; only what is filled of it is there.
_PIECE_BYTES = 1024 * CHUNK_BYTES


class _TextRoom:
    """Where the texts of a column lie: in one piece of the table's memory, or in several where they are so many."""

    def __init__(self, memory: TableMemory) -> None:
        self._memory = memory
        self._pieces: list[UInt8s] = []
        #: Of the last piece: bytes given out, and where it begins among all texts of the column.
        self._filled = 0
        self._begin = 0

    def give(self, size_bytes: int) -> tuple[UInt8s, int, int]:
        """Room for so many bytes: a piece, where in it that begins, and where among all texts; one at a time."""
        if not self._pieces or self._filled + size_bytes > len(self._pieces[-1]):
            self._pieces = self.pieces
            self._begin += chunks_of(self._filled) * CHUNK_BYTES
            self._filled = 0
            self._pieces.append(self._memory.empty((max(_PIECE_BYTES, size_bytes),), np.uint8))
        at = self._filled
        self._filled += size_bytes
        return self._pieces[-1], at, self._begin + at

    @property
    def pieces(self) -> list[UInt8s]:
        """What is filled of them."""
        return [*self._pieces[:-1], *(piece[: self._filled] for piece in self._pieces[-1:])]


class Assembly:
    """Takes parts in order, then gives the columns."""

    def __init__(self, limits: ImportLimits, memory: TableMemory) -> None:
        self._limits = limits
        self._memory = memory
        self.row_count = 0
        #: Different statuses, by code.
        self.status_names: list[str] = [""]
        self._status_codes: dict[str, int] = {"": 0}
        #: As long as a file may have rows; ids as (rows, width) words of four characters.
        self._columns: dict[int, AnyArray] = {}
        self._making = threading.Lock()
        #: The texts of further columns, in no order.
        self._texts: dict[int, _TextRoom] = {}
        self._absolute_sums: dict[int, int] = {}
        self._wrong_rows: list[Int64s] = []
        #: Of the parts in which rows hold line breaks.
        self._broken: list[Lines] = []
        #: How many rows are wrong by themselves.
        self.wrong_count = 0
        #: Rows that are wrong by themselves, the first of them by line.
        self.rejected: list[RejectedRow] = []
        #: All of them, by kind.
        self.tally = Tally()

    def add(self, part: Part, status_place: int) -> None:
        """Takes a part. `status_place`: index of the status column, or -1. Raises ImportRefusedError above a limit."""
        begin = self.row_count
        self.row_count += part.row_count
        if self.row_count > self._limits.rows:
            raise refuse_file(f"it holds more than the limit of {self._limits.rows:,} members")
        if len(part.lines.broken):
            self._broken.append(part.lines)
        self._add_wrong(part)
        if self.is_hopeless:
            return
        if status_place >= 0:
            codes = np.array([self._status_code(name) for name in part.status_names], np.int16)
            part.values[status_place] = codes[part.values[status_place]]
        for place, values in part.values.items():
            column = self._column(place, begin, values)[begin : self.row_count]
            if values.ctypes.data != column.ctypes.data:
                column[:, ...] = values
        for place, total in part.absolute_sums.items():
            self._absolute_sums[place] = self._absolute_sums.get(place, 0) + total

    def buffer(self, place: int, row: int, shape: tuple[int, ...], dtype: type[np.generic]) -> AnyArray:
        """A buffer for a batch's values, in the column itself where it is wide enough: nothing is copied then. See
        `batch.ColumnBuffers`.
        """
        if self.is_hopeless or row + shape[0] > self._limits.rows:
            return np.empty(shape, dtype)
        with self._making:
            column = self._columns.get(place)
            if column is None:
                column = self._columns[place] = self._memory.empty((self._limits.rows, *shape[1:]), dtype)
        return column[row : row + shape[0]] if column.shape[1:] >= shape[1:] else np.empty(shape, dtype)

    def put_texts(self, place: int, texts: UInt8s) -> int:
        """Takes the texts of a batch; see `batch.ColumnBuffers`."""
        if self.is_hopeless:
            return 0
        with self._making:
            piece, at, begin = self._texts.setdefault(place, _TextRoom(self._memory)).give(len(texts))
        self._memory.put(piece, at, texts)
        return begin

    def _column(self, place: int, rows: int, values: AnyArray) -> AnyArray:
        """The column's part that has the shape of `values`; its first `rows` rows are filled already."""
        with self._making:
            column = self._columns.get(place)
            if column is None or column.shape[1:] < values.shape[1:]:
                wider = self._memory.empty((self._limits.rows, *values.shape[1:]), values.dtype)
                if column is not None:
                    wider[:rows, : column.shape[1]] = column[:rows]
                column = self._columns[place] = wider
        return column if values.ndim == 1 else column[:, : values.shape[1]]

    @property
    def is_hopeless(self) -> bool:
        """Whether so many rows are wrong that the rest is only counted."""
        return self.wrong_count > self._limits.checked_wrong_rows

    def _add_wrong(self, part: Part) -> None:
        self.wrong_count += len(part.wrong_rows)
        self.rejected += part.rejected[: self._limits.reported_rows - len(self.rejected)]
        self.tally.add_all(part.tally)
        if self.is_hopeless:
            for kept in (self._columns, self._texts, self._wrong_rows):
                kept.clear()
        elif len(part.wrong_rows):
            self._wrong_rows.append(part.wrong_rows)

    def _status_code(self, name: str) -> int:
        code = self._status_codes.setdefault(name, len(self.status_names))
        if code == len(self.status_names):
            if code > self._limits.statuses:
                raise refuse_file(
                    f"it holds more than {self._limits.statuses:,} different statuses: a status is a short code",
                    column="status",
                )
            self.status_names.append(name)
        return code

    def overflows(self, place: int) -> bool:
        """Whether the volumes of a column, added up without their signs, do not fit int64."""
        return self._absolute_sums.get(place, 0) > _INT64_MAX

    def lines(self) -> Lines:
        """On which line of the file each row begins."""
        return Lines.joined(self._broken)

    def wrong_rows(self) -> Int64s:
        """All rows that are wrong by themselves, ascending."""
        return np.concatenate([np.empty(0, np.int64), *self._wrong_rows])

    def values(self, place: int) -> AnyArray:
        """A column's values, (rows,)."""
        return self._columns[place][: self.row_count]

    def ids(self, place: int) -> AnyArray:
        """A column of ids, (rows,) of dtype S as wide as the longest needs."""
        column = self.values(place)
        return column.view(f"S{column.shape[1] * column.itemsize}").ravel()

    def filled(self, dtype: type[np.generic], value: int) -> AnyArray:
        """A column that the file lacks, (rows,): the same value everywhere."""
        column = self._memory.empty((self.row_count,), dtype)
        if value:
            column[:] = value
        return column

    def texts(self, place: int) -> list[UInt8s]:
        """What the references of a further column are of."""
        return self._texts[place].pieces if place in self._texts else []
