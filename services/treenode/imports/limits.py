"""How much an import file may ask of the machine that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import Bytes, ColumnName, CountFrom0
from services.shared.config.sections import Problem, Settings
from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX
from services.shared.processors import at_most_processors


class ImportLimits(Settings, frozen=True, kw_only=True):
    """Bounds on an import file, each checked before the memory or the time that it guards is spent."""

    #: Bytes of the file as it is on disk.
    file_bytes: Bytes = 16 << 30
    #: Bytes after decompression.
    unpacked_bytes: Bytes = 32 << 30
    #: How many times its own size a compressed file may unpack to, once that is more than unpack_free_bytes.
    #: Genealogies pack 3 to 20 times; gzip's worst is 1,030 times, and then the file is a bomb.
    unpack_ratio: Annotated[int, Meta(ge=1, le=100_000)] = 200
    #: See unpack_ratio.
    unpack_free_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = 64 << 20
    #: Bytes that one page of a Parquet file may unpack to: a page is unpacked whole. Writers make pages of 1 MiB; some
    #: make one page of each row group's column.
    page_bytes: Bytes = 512 << 20
    #: Bytes of one line of a CSV file.
    line_bytes: Annotated[int, Meta(ge=COLUMN_TEXT_BYTES_MAX, le=1 << 30)] = 1 << 20
    #: Columns.
    columns: Annotated[int, Meta(ge=2, le=10_000)] = 256
    #: Members.
    rows: Annotated[int, Meta(ge=1, le=2_000_000_000)] = 100_000_000
    #: Different statuses; a status is a short code.
    statuses: Annotated[int, Meta(ge=1, le=32_767)] = 4096
    #: Columns that the header must name: a file that lost one would silently set it to nothing for every member.
    #: A volume column of any type or period stands in for pv.
    required_columns: Annotated[tuple[ColumnName, ...], Meta(max_length=256)] = (
        "member_id",
        "sponsor_id",
        "status",
        "rank",
        "joined_on",
        "pv",
    )
    #: Wrong rows above which the rest is only counted: what rows say of each other is not checked any more, and
    #: nothing of them is kept.
    checked_wrong_rows: CountFrom0 = 1_000_000
    #: Rejected rows that are told one by one; the rest are counted.
    reported_rows: Annotated[int, Meta(ge=1, le=100_000)] = 100
    #: Bytes that one thread reads at a time: some tens of thousands of rows, whose fields stay in the cache.
    block_bytes: Annotated[int, Meta(ge=4_096, le=1 << 30)] = 1 << 20
    #: Threads that read blocks; no more than the process may use processors.
    threads: Annotated[int, Meta(ge=1, le=1_024)] = 2

    @property
    def threads_used(self) -> int:
        """As many of them as are of use here."""
        return at_most_processors(self.threads)

    def problems(self) -> Iterator[Problem]:
        """A part that is larger than the whole."""
        for part, whole in (
            ("unpack_free_bytes", "unpacked_bytes"),
            ("line_bytes", "unpacked_bytes"),
        ):
            if getattr(self, part) > getattr(self, whole):
                yield Problem(part, f"must be at most {whole}, which is {getattr(self, whole)}")
