"""CSV, plain or gzipped, into parts: one thread cuts the file into blocks of lines, others read them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from services.shared.domain.columns import FurtherKind
from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX
from services.shared.domain.sentences import quoted_bytes
from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading.batch import BatchReader, Fields, Part
from services.treenode.imports.reading.kernels.lines import mark_ends, split_plain_lines, split_rows
from services.treenode.imports.reading.pipeline import read_in_order
from services.treenode.imports.reading.refusal import refuse_file
from services.treenode.imports.reading.source import Block, FileFormat, Progress, read_blocks

_NEWLINE = 10
#: A block of good lines has fewer fields than bytes.
_FIELDS_AT_A_TIME = 2 << 20


class CsvFile:
    """A CSV file, opened: its header is read, its rows are not yet."""

    def __init__(self, path: Path, file_format: FileFormat, limits: ImportLimits, progress: Progress) -> None:
        """Raises ImportRefusedError where there is no header that can be read."""
        self._limits = limits
        self._blocks = read_blocks(path, file_format, limits, progress)
        #: The header's fields.
        self.names = _header_names(bytes(next(self._blocks).data))
        #: What the file itself says of its columns beside their names: nothing.
        self.kinds: Mapping[str, FurtherKind] = {}

    def parts(self, reader: BatchReader) -> Iterator[Part]:
        """The rows, in order. Raises ImportRefusedError where the file can't be read on."""
        return read_in_order(self._jobs(reader), self._limits.threads_used)

    def _jobs(self, reader: BatchReader) -> Iterator[Callable[[], Part]]:
        for block in self._blocks:
            for piece in _pieces(block, len(reader.columns)):
                if (row := piece.lines.first_row) >= self._limits.rows:
                    line = piece.lines.of(row)
                    raise refuse_file(f"it holds more than the limit of {self._limits.rows:,} members", line=line)
                yield partial(_read_block, reader, piece)


def _pieces(block: Block, column_count: int) -> Iterator[Block]:
    """The block, or pieces of it where its rows are so many that they can't be right: every row asks for room."""
    most_rows = max(1, _FIELDS_AT_A_TIME // column_count)
    if block.row_count <= most_rows:
        yield block
        return
    row_starts = block.row_starts
    if row_starts is None:
        newlines = np.flatnonzero(np.frombuffer(bytes(block.data), np.uint8) == _NEWLINE)
        row_starts = np.concatenate(([0], newlines + 1)).astype(np.int32)
    for first in range(0, block.row_count, most_rows):
        last = min(block.row_count, first + most_rows)
        begin, end = int(row_starts[first]), int(row_starts[last])
        starts = None if block.row_starts is None else row_starts[first : last + 1] - begin
        yield Block(block.lines.after(first), last - first, block.data[begin:end], starts)


def _read_block(reader: BatchReader, block: Block) -> Part:
    data = np.frombuffer(block.data, np.uint8)
    rows, scratch = block.row_count, reader.scratch
    shape = (len(reader.columns), rows)
    starts, lengths = scratch.empty("starts", shape, np.int32), scratch.empty("lengths", shape, np.int32)
    fault, fault_column = scratch.empty("fault", (rows,), np.uint8), scratch.empty("column", (rows,), np.int16)
    if block.row_starts is not None:
        split_rows(data, block.row_starts, COLUMN_TEXT_BYTES_MAX, starts, lengths, fault, fault_column)
    else:
        marks = scratch.empty("marks", (-(-len(data) // 8),), np.uint64)
        mark_ends(data, marks.view(np.uint8))
        split_plain_lines(data, marks, COLUMN_TEXT_BYTES_MAX, starts, lengths, fault, fault_column)
    for array in (data, starts, lengths):
        array.flags.writeable = False
    fields = [Fields(data, starts[place], lengths[place]) for place in range(shape[0])]
    return reader.read(block.lines, fields, fault, fault_column)


def _header_names(line: bytes) -> Sequence[str]:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise refuse_file(
            f"the header is not UTF-8 ({quoted_bytes(line[:40])}): save the file as UTF-8", line=1
        ) from error
    if "\r" in text:
        raise refuse_file("lines end with a carriage return alone: end them with a line feed", line=1)
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise refuse_file("a quote in the header is not closed: each name stands on line 1", line=1) from error
    if not rows or not rows[0]:
        raise refuse_file("the header line is empty: name the columns on line 1", line=1)
    return rows[0]
