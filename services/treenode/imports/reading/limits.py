"""How much an import file may ask of the machine that reads it."""

from __future__ import annotations

import msgspec


class ImportLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on an import file, each checked before the memory or the time that it guards is spent."""

    #: Bytes of the file as it is on disk.
    file_bytes: int = 16 << 30
    #: Bytes after decompression.
    unpacked_bytes: int = 32 << 30
    #: How many times its own size a compressed file may unpack to, once that is more than unpack_free_bytes.
    #: Genealogies pack 3 to 20 times; gzip's worst is 1,030 times, and then the file is a bomb.
    unpack_ratio: int = 200
    #: See unpack_ratio.
    unpack_free_bytes: int = 64 << 20
    #: Bytes of one line of a CSV file.
    line_bytes: int = 1 << 20
    #: Bytes of one field.
    field_bytes: int = 1024
    #: Columns.
    columns: int = 256
    #: Members.
    rows: int = 100_000_000
    #: Different statuses; a status is a short code.
    statuses: int = 4096
    #: Columns that the header must name: a file that lost one would silently set it to nothing for every member.
    #: A volume column of any type or period stands in for pv.
    required_columns: tuple[str, ...] = ("member_id", "sponsor_id", "status", "rank", "joined_on", "pv")
    #: Wrong rows above which the rest is only counted: what rows say of each other is not checked any more, and
    #: nothing of them is kept.
    checked_wrong_rows: int = 1_000_000
    #: Rejected rows that are told one by one; the rest are counted.
    reported_rows: int = 100
    #: Bytes that one thread reads at a time: some tens of thousands of rows, whose fields stay in the cache.
    block_bytes: int = 1 << 20
    #: Threads that read blocks.
    threads: int = 2
