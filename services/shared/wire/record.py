"""Log records: encoded once when they are appended, checked wherever they are read.

A frame is one encoded `LogRecord` with the tag and length of the field that carries it, so that a batch message is the
frames one after another, and fan-out copies bytes instead of encoding messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from zlib import crc32

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.wire.fields import varint

#: Tag and length of a context beside a record.
_TRACE_HEAD = b"\x22\x18"
_POSITION = struct.Struct("<Q").pack
_CHECKSUM = struct.Struct("<I").pack


class RecordDamagedError(Exception):
    """A record whose bytes are not those that were appended. Names its position."""


class TracedContent(bytes):
    """An encoded update that is traced. Whoever keeps or compares contents takes it for one as all others."""

    #: Its context, `CONTEXT_BYTES` long, which is kept beside its record.
    trace: bytes


def traced_content(content: bytes, trace: bytes) -> TracedContent:
    """The content with a context of 24 bytes (`services/shared/telemetry/context.py`)."""
    traced = TracedContent(content)
    traced.trace = trace
    return traced


def checksum(position: int, content: bytes) -> int:
    """CRC-32 of a record: its position (8 bytes, little endian) followed by the encoded update."""
    return crc32(content, crc32(_POSITION(position)))


def encode_frames(first_position: int, contents: Sequence[bytes]) -> list[bytes]:
    """Frames of consecutive records, without a message object for each.

    Args:
        first_position: Of the first record, at least 1.
        contents: Encoded updates, none of them empty; with a context where they are traced.
    """
    frames: list[bytes] = []
    position = first_position
    for content in contents:
        crc = crc32(content, crc32(_POSITION(position)))
        # proto3 leaves a zero out, and what is read back is measured as it would be encoded anew.
        tail = b"\x1d" + _CHECKSUM(crc) if crc else b""
        if type(content) is TracedContent:
            tail += _TRACE_HEAD + content.trace
        body = b"".join((b"\x08", varint(position), b"\x12", varint(len(content)), content, tail))
        frames.append(b"\x0a" + varint(len(body)) + body)
        position += 1
    return frames


def checked_contents(
    records: Iterable[treenode_pb2.LogRecord],
) -> tuple[list[int], list[bytes], RecordDamagedError | None]:
    """Positions and contents of the records up to the first whose checksum is wrong, and what is to be said of that.

    What `check_record` does, without a call for each of the thousands that are applied at once.
    """
    positions: list[int] = []
    contents: list[bytes] = []
    add_position, add_content, pack = positions.append, contents.append, _POSITION
    for record in records:
        position, content = record.position, record.update
        if crc32(content, crc32(pack(position))) != record.crc32:
            return positions, contents, _damaged(position)
        add_position(position)
        add_content(content)
    return positions, contents, None


def check_record(record: treenode_pb2.LogRecord) -> None:
    """Raises RecordDamagedError where the checksum is wrong."""
    if checksum(record.position, record.update) != record.crc32:
        raise _damaged(record.position)


def _damaged(position: int) -> RecordDamagedError:
    return RecordDamagedError(f"log record at position {position} is damaged: its checksum is wrong")


def content_bytes(update: types_pb2.Update) -> bytes:
    """The update encoded so that equal content gives equal bytes."""
    return update.SerializeToString(deterministic=True)


def order_bytes(order: types_pb2.Update) -> bytes:
    """The same of an order, in two thirds of the time: it has no map, whose entries could come in any order."""
    return order.SerializeToString()
