"""CSV, plain or gzipped, into parts: one thread cuts the file into blocks of lines, others read them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from services.treenode.importing.batch import FIRST_LINE, BatchReader, Fields, Part
from services.treenode.importing.faults import shown
from services.treenode.importing.limits import ImportLimits
from services.treenode.importing.line_kernels import split_lines
from services.treenode.importing.pipeline import read_in_order
from services.treenode.importing.refusal import refuse_file
from services.treenode.importing.source import FileFormat, Progress, read_blocks

_NEWLINE = 10
#: A block of good lines has fewer fields than bytes.
_FIELDS_AT_A_TIME = 2 << 20


class CsvFile:
    """A CSV file, opened: its header is read, its rows are not yet."""

    def __init__(self, path: Path, file_format: FileFormat, limits: ImportLimits, progress: Progress) -> None:
        """Raises ImportRefused where there is no header that can be read."""
        self._limits = limits
        self._blocks = read_blocks(path, file_format, limits, progress)
        #: The header's fields.
        self.names = _header_names(bytes(next(self._blocks)[1]))

    def parts(self, reader: BatchReader) -> Iterator[Part]:
        """The rows, in order. Raises ImportRefused where the file can't be read on."""
        return read_in_order(self._jobs(reader), self._limits.threads)

    def _jobs(self, reader: BatchReader) -> Iterator[Callable[[], Part]]:
        for line, block in self._blocks:
            row = line - FIRST_LINE
            if row >= self._limits.rows:
                raise refuse_file(f"it holds more than the limit of {self._limits.rows:,} members", line=line)
            for piece in _pieces(block, len(reader.columns)):
                yield partial(_read_block, reader, row, piece, self._limits)
                row += piece.count(b"\n")


def _pieces(block: bytearray, column_count: int) -> Iterator[bytearray]:
    """The block, or pieces of it where its lines are so many that they can't be right: every line asks for room."""
    most_lines = max(1, _FIELDS_AT_A_TIME // column_count)
    if block.count(b"\n") <= most_lines:
        yield block
        return
    ends = np.flatnonzero(np.frombuffer(bytes(block), np.uint8) == _NEWLINE)[most_lines - 1 :: most_lines] + 1
    begin = 0
    for end in [*ends.tolist(), len(block)]:
        if end > begin:
            yield block[begin:end]
        begin = end


def _read_block(reader: BatchReader, first_row: int, block: bytearray, limits: ImportLimits) -> Part:
    data = np.frombuffer(block, np.uint8)
    shape = (len(reader.columns), block.count(b"\n"))
    starts, lengths = np.empty(shape, np.int32), np.empty(shape, np.int32)
    fault, fault_column = np.empty(shape[1], np.uint8), np.empty(shape[1], np.int16)
    split_lines(data, limits.field_bytes, starts, lengths, fault, fault_column)
    for array in (data, starts, lengths):
        array.flags.writeable = False
    fields = [Fields(data, starts[place], lengths[place]) for place in range(shape[0])]
    return reader.read(first_row, fields, fault, fault_column)


def _header_names(line: bytes) -> Sequence[str]:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise refuse_file(f"the header is not UTF-8 ({shown(line[:40])}): save the file as UTF-8", line=1) from error
    if "\r" in text:
        raise refuse_file("lines end with a carriage return alone: end them with a line feed", line=1)
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise refuse_file("a quote in the header is not closed: each name stands on line 1", line=1) from error
    if not rows or not rows[0]:
        raise refuse_file("the header line is empty: name the columns on line 1", line=1)
    return rows[0]
