"""CSV, plain or gzipped, into parts: one thread cuts the file into blocks of lines, others read them."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from services.treenode.importing.batch import FIRST_LINE, BatchReader, Fields, Part
from services.treenode.importing.faults import shown
from services.treenode.importing.limits import ImportLimits
from services.treenode.importing.line_kernels import split_lines
from services.treenode.importing.refusal import refuse_file
from services.treenode.importing.source import FileFormat, Progress, read_blocks


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
        waiting: deque[Future[Part]] = deque()
        with ThreadPoolExecutor(self._limits.threads, thread_name_prefix="import") as pool:
            for line, block in self._blocks:
                row = line - FIRST_LINE
                if row >= self._limits.rows:
                    raise refuse_file(f"it holds more than the limit of {self._limits.rows:,} members", line=line)
                waiting.append(pool.submit(_read_block, reader, row, block, self._limits))
                # One block more than there are threads keeps them all busy.
                if len(waiting) > self._limits.threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


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
