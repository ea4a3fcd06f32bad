"""Log records: encoded once when they are appended, checked wherever they are read.

A frame is one encoded `LogRecord` with the tag and length of the field that carries it, so that a batch message is the
frames one after another, and fan-out copies bytes instead of encoding messages.
"""

from __future__ import annotations

import struct
import zlib

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.wire.fields import field

_POSITION = struct.Struct("<Q")


class RecordDamagedError(Exception):
    """A record whose bytes are not those that were appended. Names its position."""


def checksum(position: int, update: bytes) -> int:
    """CRC-32 of a record: its position (8 bytes, little endian) followed by the encoded update."""
    return zlib.crc32(update, zlib.crc32(_POSITION.pack(position)))


def encode_frame(position: int, update: bytes) -> bytes:
    """The record as a frame: ApplyUpdatesRequest or ReadLogResponse with it as the only record, encoded."""
    record = treenode_pb2.LogRecord(
        position=position, update=update, crc32=checksum(position, update)
    ).SerializeToString()
    return field(treenode_pb2.ApplyUpdatesRequest.RECORDS_FIELD_NUMBER, record)


def check_record(record: treenode_pb2.LogRecord) -> None:
    """Raises RecordDamagedError where the checksum is wrong."""
    if checksum(record.position, record.update) != record.crc32:
        raise RecordDamagedError(f"log record at position {record.position} is damaged: its checksum is wrong")


def content_bytes(update: types_pb2.Update) -> bytes:
    """The update encoded so that equal content gives equal bytes."""
    return update.SerializeToString(deterministic=True)
