"""Import files as the fakes read them: CSV of `member_id`, perhaps `sponsor_id`, and whatever else stands there."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterable

from fasttree.v1 import types_pb2


class BadFileError(Exception):
    """The file can't be taken."""

    def __init__(self, rows: list[types_pb2.RejectedRow], row_count: int) -> None:
        self.rows = rows
        self.reason = f"{len(rows)} of {row_count} rows can't be taken"
        super().__init__(self.reason)


def csv_of(members: Iterable[tuple[str, str, str]]) -> bytes:
    """An import file of (member, sponsor, pv)."""
    rows = [f"{member},{sponsor},A,1,2026-01-31,{pv}" for member, sponsor, pv in members]
    return "\n".join(["member_id,sponsor_id,status,rank,joined_on,pv", *rows, ""]).encode()


def read_tree(content: bytes) -> dict[str, tuple[str, int]]:
    """{member: (sponsor, own digest)} of a file. Raises BadFileError with every row that is wrong."""
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    lines: dict[str, int] = {}
    bad: list[types_pb2.RejectedRow] = []
    for line, row in enumerate(rows, 2):
        first = lines.setdefault(row["member_id"], line)
        if first != line:
            reason = f'the member "{row["member_id"]}" is already on line {first}'
            bad.append(types_pb2.RejectedRow(line=line, column="member_id", reason=reason))
    for line, row in enumerate(rows, 2):
        sponsor = row.get("sponsor_id", "")
        if sponsor and sponsor not in lines:
            reason = f'the sponsor "{sponsor}" is not in the file'
            bad.append(types_pb2.RejectedRow(line=line, column="sponsor_id", reason=reason))
    if bad:
        raise BadFileError(bad, len(rows))
    return {row["member_id"]: (row.get("sponsor_id", ""), zlib.crc32(repr(row).encode())) for row in rows}
