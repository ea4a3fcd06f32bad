"""Parquet into parts. Every column is read as text, so that one set of rules and reasons holds for all formats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.shared.domain.columns import FurtherKind
from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX
from services.treenode.imports.limits import ImportLimits
from services.treenode.imports.reading.batch import BatchReader, Fields, Part
from services.treenode.imports.reading.header import Role
from services.treenode.imports.reading.parquet_pages import Pages, look_at_pages
from services.treenode.imports.reading.pipeline import read_in_order
from services.treenode.imports.reading.refusal import FIRST_LINE, ImportRefusedError, Lines, refuse_file
from services.treenode.imports.reading.source import Progress
from services.treenode.tree.kernels.kernel import AnyArray

logger = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 65_536
#: Decimals of a larger scale are written without the zeros beyond this one.
_PLACES = 2
_ID_ROLES = (Role.MEMBER_ID, Role.SPONSOR_ID, Role.PLACEMENT_ID)
#: Whole numbers up to here are exact in 64 bits of floating point.
_EXACT_MAX = 2**53
_DAMAGED = "its Parquet data is damaged or was cut off: send it again"


_BOMB = "it unpacks to more than {} times its size: it is taken for a bomb"
#: Rows of members who differ take more than this, in any encoding; fewer rows than these are read whatever they take.
_ROW_BYTES_MIN = 4
_ROWS_FREE = 1_000_000


class ParquetFile:
    """A Parquet file, opened: its footer is read, its rows are not yet."""

    def __init__(self, path: Path, limits: ImportLimits, progress: Progress) -> None:
        """Raises ImportRefusedError where the footer can't be read, or promises more than the limits allow."""
        self._limits = limits
        self._progress = progress
        try:
            size_bytes = path.stat().st_size
            metadata = pq.read_metadata(path)
            self._check_size(metadata, size_bytes)
            pages = look_at_pages(path, metadata)
            # Values that are kept once each, read that way, can't unpack to more than the file holds.
            self._file = pq.ParquetFile(
                path,
                metadata=metadata,
                read_dictionary=sorted(pages.coded),
                page_checksum_verification=True,
                # As nanoseconds, which INT96 is read as otherwise, days before 1678 and after 2261 have no place.
                coerce_int96_timestamp_unit="us",
            )
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise _damaged(error) from error
        #: What all rows together may take; the footer's own figure is only a word.
        self._unpacked_bytes_max = max(limits.unpack_free_bytes, limits.unpack_ratio * size_bytes)
        self._check_pages(pages)
        #: No more than so many texts that may be as long as their page.
        self._rows_at_a_time = min(_ROWS_AT_A_TIME, max(1, limits.page_bytes // max(1, pages.prefixed_bytes)))
        pa.set_cpu_count(limits.threads_used)
        #: The columns' names.
        self.names: Sequence[str] = self._file.schema_arrow.names
        kinds: dict[str, FurtherKind] = {}
        #: What the file's own types say of a further column; the others are texts.
        self.kinds: Mapping[str, FurtherKind] = kinds
        for column in self._file.schema_arrow:
            if kind := _kind_of(column.type):
                kinds[column.name] = kind
            if pa.types.is_nested(column.type):
                raise refuse_file(f"it holds {column.type}, not one value a row: flatten it", column=column.name)

    def _check_size(self, metadata: pq.FileMetaData, size_bytes: int) -> None:
        limits = self._limits
        if metadata.num_rows > limits.rows:
            raise refuse_file(f"its {metadata.num_rows:,} members are more than the limit of {limits.rows:,}")
        if metadata.num_rows > max(_ROWS_FREE, size_bytes // _ROW_BYTES_MIN):
            raise refuse_file(
                f"its {metadata.num_rows:,} rows in {size_bytes:,} bytes can't all differ: it is taken for a bomb"
            )
        for column in map(metadata.schema.column, range(metadata.num_columns)):
            if column.length > COLUMN_TEXT_BYTES_MAX:  # only those of values of one length have it
                raise refuse_file(
                    f"its values have {column.length:,} bytes each, at most {COLUMN_TEXT_BYTES_MAX:,} are taken: "
                    "write texts",
                    column=column.name,
                )

    def _check_pages(self, pages: Pages) -> None:
        limits = self._limits
        if pages.largest_bytes > limits.page_bytes:
            raise refuse_file(
                f"a page of it unpacks to {pages.largest_bytes:,} bytes, at most {limits.page_bytes:,} are taken "
                "(imports.page_bytes): write it with smaller pages or row groups",
                column=pages.largest_in,
            )
        if pages.unpacked_bytes > limits.unpacked_bytes:
            raise refuse_file(f"it unpacks to more than the limit of {limits.unpacked_bytes:,} bytes")
        if pages.unpacked_bytes > self._unpacked_bytes_max:
            raise refuse_file(_BOMB.format(limits.unpack_ratio))

    def parts(self, reader: BatchReader) -> Iterator[Part]:
        """The rows, in order. Raises ImportRefusedError where the file can't be read on."""
        return read_in_order(self._jobs(reader), self._limits.threads_used)

    def _jobs(self, reader: BatchReader) -> Iterator[Callable[[], Part]]:
        row, row_count, unpacked_bytes = 0, max(1, self._file.metadata.num_rows), 0
        batches = self._file.iter_batches(batch_size=self._rows_at_a_time)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError, ValueError, KeyError) as error:
                raise _damaged(error) from error
            if batch is None:
                return
            unpacked_bytes += batch.nbytes
            if unpacked_bytes > self._unpacked_bytes_max:
                raise refuse_file(_BOMB.format(self._limits.unpack_ratio))
            if row + batch.num_rows > self._file.metadata.num_rows:
                raise refuse_file(_DAMAGED)
            yield partial(self._read_batch, reader, row, batch)
            row += batch.num_rows
            self._progress(row / row_count)

    def _read_batch(self, reader: BatchReader, row: int, batch: pa.RecordBatch) -> Part:
        fields = [
            _fields(name, column, is_id=planned.role in _ID_ROLES)
            for name, column, planned in zip(self.names, batch.columns, reader.columns, strict=True)
        ]
        fault, fault_column = np.zeros(batch.num_rows, np.uint8), np.full(batch.num_rows, -1, np.int16)
        return reader.read(Lines.plain(row, FIRST_LINE + row), fields, fault, fault_column)


def _kind_of(kind: pa.DataType) -> FurtherKind | None:
    """What a further column of this type holds; None where it is a text."""
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "decimal"
    return "date" if pa.types.is_date(kind) else None


def _fields(name: str, column: pa.Array, *, is_id: bool) -> Fields:
    """A column's fields as text, without copying the texts."""
    indices: AnyArray | None = None
    is_null = np.asarray(column.is_null()) if column.null_count else None
    if isinstance(column, pa.DictionaryArray):
        # Looked at through its codes: a long text that every row repeats is never unpacked.
        indices, column = column.indices.fill_null(0).to_numpy(zero_copy_only=False), column.dictionary
    texts = _as_text(name, _whole_numbers(name, column) if is_id else column)
    _, offsets, data = texts.buffers()
    begins = np.zeros(1, np.int64)
    if offsets:
        begins = np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8)
    if data is not None and data.size >= 2**31:
        raise refuse_file("its texts are too long: shorten them", column=name)
    starts, lengths = begins[:-1].astype(np.int32), np.diff(begins).astype(np.int32)
    if texts.null_count:
        lengths[np.asarray(texts.is_null())] = 0
    if indices is not None:
        empty = np.zeros(len(indices), np.int32)
        starts, lengths = (starts[indices], lengths[indices]) if len(starts) else (empty, empty.copy())
    if is_null is not None:
        lengths[is_null] = 0
    buffer = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    for array in (buffer, starts, lengths):
        array.flags.writeable = False
    return Fields(buffer, starts, lengths)


def _as_text(name: str, column: pa.Array) -> pa.LargeStringArray:
    """A column's values as a CSV file would write them."""
    kind = column.type
    try:
        if pa.types.is_timestamp(kind):
            text = pc.cast(column.cast(pa.timestamp(kind.unit)), pa.large_string())
            return pc.replace_substring_regex(text, r" 00:00:00(\.0+)?$", "")
        if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
            texts = _without_exponents(pc.cast(column, pa.large_string()))
            return pc.replace_substring_regex(texts, rf"(\.\d{{{_PLACES}}}\d*?)0+$", r"\1")
        if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind):
            return pc.cast(column, pa.large_binary()).view(pa.large_string())
        return pc.cast(column, pa.large_string())
    except pa.ArrowException as error:
        reason = f"its {kind} values can't be read as text: write texts, numbers or days"
        raise refuse_file(reason, column=name) from error


def _whole_numbers(name: str, column: pa.Array) -> pa.Array:
    """A column of ids that somebody's program made numbers with a fraction of, as the whole numbers that they are.

    Raises ImportRefusedError where they are not.
    """
    kind = column.type
    if not pa.types.is_floating(kind) and not pa.types.is_decimal(kind):
        return column
    reason = f"its {kind} values are no ids: write texts or whole numbers"
    try:
        whole = pc.cast(column, pa.int64())
    except pa.ArrowException as error:
        raise refuse_file(reason, column=name) from error
    if pa.types.is_floating(kind) and pc.any(pc.greater(pc.abs(whole), _EXACT_MAX)).as_py():
        raise refuse_file(reason, column=name)
    return whole


def _without_exponents(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Numbers written with all of their digits: Arrow writes very small and very large ones with an exponent."""
    if not pc.any(pc.match_substring_regex(texts, "[0-9][eE]")).as_py():
        return texts
    coded = texts.dictionary_encode()
    plain = [f"{Decimal(text):f}" if "e" in text.lower() else text for text in coded.dictionary.to_pylist()]
    return pa.array(plain, pa.large_string()).take(coded.indices)


def _damaged(error: Exception) -> ImportRefusedError:
    """The library's own words are for the log of those who look after the node."""
    logger.warning("Parquet: %s", " ".join(str(error).split())[:400])
    return refuse_file(_DAMAGED)
