"""Rows for COPY, in PostgreSQL's binary form, made by the thousand."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from services.pusher.log.ids.keys import content_hash

_BEGIN = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
#: Three columns; the first one is a position, and the second one begins.
_POSITION = struct.Struct(">hiqi")
_POSITION_AND_HASH = struct.Struct(">iqiq")
_LENGTH = struct.Struct(">i")


def record_rows(first_position: int, update_ids: Sequence[str], frames: Sequence[bytes]) -> bytes:
    """Of `records (position, update_id, frame)`."""
    parts = [_BEGIN]
    for position, (update_id, frame) in enumerate(zip(update_ids, frames, strict=True), first_position):
        name = update_id.encode()
        parts += (_POSITION.pack(3, 8, position, len(name)), name, _LENGTH.pack(len(frame)), frame)
    parts.append(_END)
    return b"".join(parts)


def id_rows(first_position: int, update_ids: Sequence[str], contents: Sequence[bytes]) -> bytes:
    """Of `ids (update_id, position, content_hash)`."""
    parts = [_BEGIN]
    for position, (update_id, content) in enumerate(zip(update_ids, contents, strict=True), first_position):
        name = update_id.encode()
        parts += (
            struct.pack(">hi", 3, len(name)),
            name,
            _POSITION_AND_HASH.pack(8, position, 8, signed(content_hash(content))),
        )
    parts.append(_END)
    return b"".join(parts)


def signed(number: int) -> int:
    """64 bits as PostgreSQL's bigint has them."""
    return number - (1 << 64) if number >> 63 else number


def unsigned(number: int) -> int:
    """And back."""
    return number & ((1 << 64) - 1)
