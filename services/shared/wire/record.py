"""Log records: encoded once when they are appended, checked wherever they are read.

A frame is one encoded `LogRecord` with the tag and length of the field that carries it, so that a batch message is the
frames one after another, and fan-out copies bytes instead of encoding messages.
"""

from __future__ import annotations

import re
import struct
import zlib

from fasttree.v1 import treenode_pb2, types_pb2
from services.shared.wire.fields import field

# Tag of field 1, length-delimited: `records` of ApplyUpdatesRequest and of ReadLogResponse.

UPDATE_BYTES_MAX = 16 * 1024
UPDATE_ID_LENGTH_MAX = 64
MEMBER_ID_LENGTH_MAX = 32
STATUS_LENGTH_MAX = 16
RANK_MAX = 32767
LEG_MAX = 2**31 - 1
AMOUNT_MAX = 2**62
COLUMN_NAME_LENGTH_MAX = 64
COLUMN_TEXT_LENGTH_MAX = 256

_PRINTABLE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_DAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_PERIOD = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
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


def update_problem(update: types_pb2.Update) -> str | None:
    """What makes the update malformed whatever the tree, with the mend; None where nothing does."""
    if not _is_text(update.update_id, UPDATE_ID_LENGTH_MAX):
        return f"update_id must be 1 to {UPDATE_ID_LENGTH_MAX} printable ASCII characters"
    change = update.WhichOneof("change")
    if change == "volume_posted":
        return _volume_problem(update.volume_posted)
    if change == "member_enrolled":
        return _enrolled_problem(update.member_enrolled)
    if change == "member_changed":
        return _changed_problem(update.member_changed)
    if change == "member_moved":
        return _moved_problem(update.member_moved)
    if change == "member_removed":
        return _removed_problem(update.member_removed)
    return (
        "the update holds no change this version knows: set one of member_enrolled, member_changed, member_moved, "
        "member_removed, volume_posted"
    )


def _is_text(text: str, length_max: int) -> bool:
    return len(text) <= length_max and _PRINTABLE.fullmatch(text) is not None


def _id_problem(field: str, member_id: str, *, optional: bool = False) -> str | None:
    if (optional and not member_id) or _is_text(member_id, MEMBER_ID_LENGTH_MAX):
        return None
    return f"{field} must be 1 to {MEMBER_ID_LENGTH_MAX} printable ASCII characters without a space at either end"


def _volume_problem(change: types_pb2.VolumePosted) -> str | None:
    if problem := _id_problem("member_id", change.member_id):
        return problem
    if not -AMOUNT_MAX <= change.amount_hundredths <= AMOUNT_MAX:
        return f"amount_hundredths must lie within ±{AMOUNT_MAX}"
    if change.volume_type and not _is_text(change.volume_type, STATUS_LENGTH_MAX):
        return f"volume_type must be at most {STATUS_LENGTH_MAX} printable ASCII characters"
    if change.period and not _PERIOD.fullmatch(change.period):
        return 'period must be written "YYYY-MM"'
    return None


def _fields_problem(status: str, rank: int, joined_on: str, leg: int = 0) -> str | None:
    if status and not _is_text(status, STATUS_LENGTH_MAX):
        return f"status must be at most {STATUS_LENGTH_MAX} printable ASCII characters"
    if not 0 <= rank <= RANK_MAX:
        return f"rank must lie within 0 and {RANK_MAX}"
    if joined_on and not is_day(joined_on):
        return 'joined_on must be a day written "YYYY-MM-DD"'
    if leg > LEG_MAX:
        return f"placement_leg must lie within 0 and {LEG_MAX}"
    return None


def is_day(text: str) -> bool:
    """Whether the text is a day of the calendar, "YYYY-MM-DD"."""
    if not _DAY.fullmatch(text):
        return False
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return year >= 1 and day <= (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def _columns_problem(columns: dict[str, str]) -> str | None:
    for name, text in columns.items():
        if not _is_text(name, COLUMN_NAME_LENGTH_MAX):
            return f"a column's name must be 1 to {COLUMN_NAME_LENGTH_MAX} printable ASCII characters"
        if len(text.encode()) > COLUMN_TEXT_LENGTH_MAX:
            return f"column {name}: at most {COLUMN_TEXT_LENGTH_MAX} bytes"
    return None


def _enrolled_problem(change: types_pb2.MemberEnrolled) -> str | None:
    if change.kind not in types_pb2.MemberKind.values():
        return "kind must be MEMBER_KIND_DISTRIBUTOR or MEMBER_KIND_CUSTOMER"
    if change.placement_leg and not change.placement_id:
        return "placement_leg needs a placement_id"
    return (
        _id_problem("member_id", change.member_id)
        or _id_problem("sponsor_id", change.sponsor_id, optional=True)
        or _id_problem("placement_id", change.placement_id, optional=True)
        or _fields_problem(change.status, change.rank, change.joined_on, change.placement_leg)
        or _columns_problem(dict(change.columns))
    )


def _changed_problem(change: types_pb2.MemberChanged) -> str | None:
    if change.HasField("kind") and change.kind not in (
        types_pb2.MEMBER_KIND_DISTRIBUTOR,
        types_pb2.MEMBER_KIND_CUSTOMER,
    ):
        return "kind must be MEMBER_KIND_DISTRIBUTOR or MEMBER_KIND_CUSTOMER"
    return (
        _id_problem("member_id", change.member_id)
        or _fields_problem(change.status, change.rank, change.joined_on)
        or _columns_problem(dict(change.columns))
    )


def _moved_problem(change: types_pb2.MemberMoved) -> str | None:
    if change.tree not in types_pb2.Tree.values():
        return "tree must be TREE_SPONSOR or TREE_PLACEMENT"
    if change.placement_leg and (change.tree != types_pb2.TREE_PLACEMENT or not change.new_parent_id):
        return "placement_leg needs tree TREE_PLACEMENT and a new_parent_id"
    return (
        _id_problem("member_id", change.member_id)
        or _id_problem("new_parent_id", change.new_parent_id, optional=True)
        or _fields_problem("", 0, "", change.placement_leg)
    )


def _removed_problem(change: types_pb2.MemberRemoved) -> str | None:
    if change.mode not in types_pb2.RemovalMode.values():
        return "mode must be REMOVAL_MODE_COMPRESS or REMOVAL_MODE_LEAVE_EMPTY"
    return _id_problem("member_id", change.member_id)
