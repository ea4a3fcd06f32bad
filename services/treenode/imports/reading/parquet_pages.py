"""What the pages of a Parquet file say of themselves, looked at before any of them is unpacked.

The footer is only a word: whoever makes a file writes what he likes into it. What a page unpacks to stands before the
page, and the library unpacks as much, whole. So every page's header is read first, as the library will read it: the
same chunks from the same places, up to the same number of values. Headers are structs of Thrift's compact protocol.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow.parquet as pq

#: Pages of 20,000 rows, which writers make, in 100 columns of 100 million members are half of that.
PAGES_MAX: Final = 1_000_000
#: A header has a dozen fields; the library gives up on larger ones than this.
_FIELDS_MAX = 100
_HEADER_BYTES_MAX = 16 << 20
_DEPTH_MAX = 8

_DICTIONARY_PAGE = 2
_DICTIONARY_ENCODINGS = (2, 8)
#: A text is written as what it shares with the one before, and the rest: it may be far longer than its share of a page.
_PREFIX_ENCODING = 7

_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 0, 1, 2, 3, 7, 8, 12
_NUMBERS = (4, 5, 6)


class PagesDamagedError(ValueError):
    """What should be a page's header is none."""


class Page(NamedTuple):
    """One page. `kind`: 0 and 3 have values, 2 a dictionary. Sizes in bytes, without the header."""

    kind: int
    unpacked_bytes: int
    packed_bytes: int
    values: int
    encoding: int


@dataclass(slots=True)
class Pages:
    """Of a whole file."""

    count: int = 0
    unpacked_bytes: int = 0
    #: The largest one, and its column.
    largest_bytes: int = 0
    largest_in: str = ""
    #: The largest one whose texts are written by what they share: none of them is longer than that.
    prefixed_bytes: int = 0
    #: Columns of texts with dictionaries.
    coded: frozenset[str] = frozenset()


def look_at_pages(path: Path, metadata: pq.FileMetaData) -> Pages:
    """Raises PagesDamagedError, also where there are more than anybody writes; OSError."""
    found, coded = Pages(), set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(place)
                for page in _pages_of(data, chunk):
                    _count(found, page, chunk.path_in_schema)
                    is_coded = page.kind == _DICTIONARY_PAGE or page.encoding in _DICTIONARY_ENCODINGS
                    if is_coded and chunk.physical_type == "BYTE_ARRAY":
                        coded.add(chunk.path_in_schema)
    found.coded = frozenset(coded)
    return found


def _count(found: Pages, page: Page, column: str) -> None:
    found.count += 1
    if found.count > PAGES_MAX:
        raise PagesDamagedError(f"more than {PAGES_MAX:,} pages")
    found.unpacked_bytes += page.unpacked_bytes
    if page.unpacked_bytes > found.largest_bytes:
        found.largest_bytes, found.largest_in = page.unpacked_bytes, column
    if page.encoding == _PREFIX_ENCODING:
        found.prefixed_bytes = max(found.prefixed_bytes, page.unpacked_bytes)


def _pages_of(data: mmap.mmap, chunk: pq.ColumnChunkMetaData) -> Iterator[Page]:
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < at:
        at = chunk.dictionary_page_offset
    end = min(at + chunk.total_compressed_size, len(data))
    values = 0
    while at < end and values < chunk.num_values:
        page, at = read_page_header(data, at)
        at += page.packed_bytes
        values += page.values
        yield page


def read_page_header(data: mmap.mmap | bytes, at: int) -> tuple[Page, int]:
    """A header, and where what it is of begins. Raises PagesDamagedError."""
    reader = _Compact(data, at)
    try:
        fields = reader.struct(0)
        kind, unpacked, packed = fields[1], fields[2], fields[3]
        # Of values: 5, or 8 in the second form; a dictionary's own, 7, are none of the column's.
        values = fields.get(5) or fields.get(8) or {}
        encoding = values.get(4 if 8 in fields else 2, 0)
        page = Page(kind, unpacked, packed, values.get(1, 0), encoding)
    except (KeyError, AttributeError) as error:
        raise PagesDamagedError(f"no page's header at {at}") from error
    if not all(type(each) is int and each >= 0 for each in page):
        raise PagesDamagedError(f"no page's header at {at}: {page}")
    return page, reader.at


class _Compact:
    """Reads structs; numbers and structs are kept, all else is passed over."""

    def __init__(self, data: mmap.mmap | bytes, at: int) -> None:
        self._data, self.at = data, at
        self._end = min(len(data), at + _HEADER_BYTES_MAX)
        self._fields = 0

    def struct(self, depth: int) -> dict[int, Any]:
        """Field number to number or struct."""
        if depth > _DEPTH_MAX:
            raise PagesDamagedError("structs too deep")
        found: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            self._fields += 1
            if self._fields > _FIELDS_MAX:
                raise PagesDamagedError("too many fields")
            number = number + (kind >> 4) if kind >> 4 else self._number()
            found[number] = self._value(kind & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in _NUMBERS:
            return self._number()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind == _BYTE:
            return self._byte()
        if kind == _DOUBLE:
            self._pass(8)
        elif kind == _BINARY:
            self._pass(self._varint())
        else:  # lists and maps: no header has any
            raise PagesDamagedError(f"a field of kind {kind}")
        return None

    def _byte(self) -> int:
        if self.at >= self._end:
            raise PagesDamagedError("cut off")
        self.at += 1
        return self._data[self.at - 1]

    def _pass(self, size_bytes: int) -> None:
        self.at += size_bytes
        if self.at > self._end:
            raise PagesDamagedError("cut off")

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise PagesDamagedError("a number without an end")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
