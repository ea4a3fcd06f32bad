"""What is in a message of the log's stream, as bytes.

| bytes | what |
|---|---|
| 68 | the header: magic, kind, flags, the writer's claim, the sequence it follows, its group, its number, sizes |
| n | of records, what is known of each without its frame: the hash of its content, the frame's size, its id |
| m | frames (each with a checksum of its own), or what the kind says |

The header has a checksum over itself, the sequence that the message follows among it, and all behind it but frames.
A message that is another one's, of another place, or cut short never passes for this one.

A write is a group of messages, which counts once the last one of it is there. What died in between leaves a part of a
group that nobody ever counts. State is numbered: one that is missing is noticed.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec

from services.pusher.log.store import LogDamagedError


class Kind(IntEnum):
    """Of a message. All but records and what is spare is state: numbered, and kept for good."""

    #: The first one of a log: `Founding`.
    FOUNDING = 1
    #: Who may write from here on: `Claim`.
    CLAIM = 2
    #: Updates: `position` of the first, how many, frames.
    RECORDS = 3
    #: An update that changes the rules: its position, its content.
    RULE = 4
    #: Ids of records that are trimmed: as `entries_of` reads them.
    IDS = 5
    #: The log begins at that position from here on.
    TRIM = 6
    #: An import, or what has become of it: its number as position, whether it is taken as count, its status.
    IMPORT = 7
    #: The log has another id: `Adoption`.
    ADOPTION = 8
    #: How far the running time is; and what was written to see whether there is room. Anybody may lose them.
    SPARE = 9
    #: Of a log that is being moved here: `Word`.
    WORD = 10
    #: All of it is here: `Moved`.
    MOVED = 11


class Founding(msgspec.Struct, frozen=True):
    """What a new log says of itself."""

    version: int
    cluster: str
    log_id: str


class Claim(msgspec.Struct, frozen=True):
    """Who claims."""

    epoch: int
    holder: str


class Adoption(msgspec.Struct, frozen=True):
    """What is adopted, in whose place, and why."""

    log_id: str
    replaced_log_ids: list[str]
    reason: str


class Word(msgspec.Struct, frozen=True):
    """What the copying keeps for itself."""

    name: str
    value: str


class Moved(msgspec.Struct, frozen=True):
    """What the log was where it came from: `replaced`, ids and reasons; `marks`, positions and times; whose it was."""

    log_id: str
    replaced: list[tuple[str, str]]
    running_s: float
    marks: list[tuple[int, float]]
    epoch: int
    holder: str


#: Of what this program reads and writes.
VERSION: Final = 1
#: Most bytes of one message's frames, or of a part of something longer.
PIECE_BYTES: Final = 256 << 10
_MAGIC: Final = b"FTJ1"
_KINDS: Final = frozenset(Kind)
_HEADER: Final = struct.Struct("<4sBBHQQQQdQIII")
#: The checksum stands at the header's end.
_CHECKED: Final = _HEADER.size - 4
_CLOSES, _CONTINUES = 1, 2


@dataclass(frozen=True, slots=True)
class Draft:
    """A message before it has a place. See `Kind` for what each field is."""

    kind: Kind
    position: int = 0
    count: int = 0
    head: bytes = b""
    body: bytes = b""
    #: The next message of this kind goes on with the body.
    continues: bool = False

    def pieces(self, bytes_max: int) -> list[Draft]:
        """The same as messages that are not too long; records are cut by who makes them."""
        if self.kind is Kind.RECORDS or len(self.body) <= bytes_max:
            return [self]
        begins = range(0, len(self.body), bytes_max)
        return [
            Draft(
                self.kind,
                self.position,
                self.count,
                self.head,
                self.body[begin : begin + bytes_max],
                begin + bytes_max < len(self.body),
            )
            for begin in begins
        ]


@dataclass(frozen=True, slots=True)
class Message:
    """A message in its place.

    Attributes:
        claims: Of the claim that it was written under; of a claim, its own.
        after: The sequence that it was written behind.
        group: The sequence that the first of its group was written behind.
        number: Of state: how many there were, with this one. Of others: how many there were.
        running_s: The log's running time when it was written.
        closes: The last one of its group.
    """

    draft: Draft
    claims: int
    after: int
    group: int
    number: int
    running_s: float
    closes: bool

    def encode(self) -> bytes:
        draft = self.draft
        flags = (_CLOSES if self.closes else 0) | (_CONTINUES if draft.continues else 0)
        header = _HEADER.pack(
            _MAGIC, draft.kind, flags, 0, self.claims, self.after, self.group, self.number, self.running_s,
            draft.position, draft.count, len(draft.head), 0,
        )[:_CHECKED]  # fmt: skip
        crc = _checksum(header, draft.kind, draft.head, draft.body)
        return b"".join((header, crc.to_bytes(4, "little"), draft.head, draft.body))


def decode(sequence: int, data: bytes) -> Message:
    """The message at a sequence. Raises LogDamagedError."""
    if len(data) < _HEADER.size or data[:4] != _MAGIC:
        raise LogDamagedError(f"message {sequence} of the stream was not written by a pusher")
    (_, kind, flags, _, claims, after, group, number, running_s, position, count, head_bytes, crc) = (
        _HEADER.unpack_from(data)
    )
    head = data[_HEADER.size : _HEADER.size + head_bytes]
    body = data[_HEADER.size + head_bytes :]
    if len(head) != head_bytes or _checksum(data[:_CHECKED], kind, head, body) != crc or after != sequence - 1:
        raise LogDamagedError(f"message {sequence} of the stream is damaged")
    if kind not in _KINDS:
        raise LogDamagedError(f"message {sequence} is of kind {kind}: use a newer version of this program")
    draft = Draft(Kind(kind), position, count, head, body, bool(flags & _CONTINUES))
    return Message(draft, claims, after, group, number, running_s, bool(flags & _CLOSES))


def _checksum(header: bytes, kind: int, head: bytes, body: bytes) -> int:
    crc = zlib.crc32(head, zlib.crc32(header))
    return crc if kind == Kind.RECORDS else zlib.crc32(body, crc)


def record_drafts(
    first_position: int, update_ids: Sequence[str], hashes: Sequence[int], frames: Sequence[bytes]
) -> list[Draft]:
    """Updates as messages of about `PIECE_BYTES` at most, with one record each at least."""
    drafts: list[Draft] = []
    begin, size = 0, 0
    for index, frame in enumerate(frames):
        if size + len(frame) > PIECE_BYTES and index > begin:
            drafts.append(_records(first_position, update_ids, hashes, frames, begin, index))
            begin, size = index, 0
        size += len(frame)
    drafts.append(_records(first_position, update_ids, hashes, frames, begin, len(frames)))
    return drafts


def _records(
    first_position: int, update_ids: Sequence[str], hashes: Sequence[int], frames: Sequence[bytes], begin: int, end: int
) -> Draft:
    hashes_of, sizes = array("Q", hashes[begin:end]), array("I", map(len, frames[begin:end]))
    head = hashes_of.tobytes() + sizes.tobytes() + "\n".join(update_ids[begin:end]).encode()
    return Draft(Kind.RECORDS, first_position + begin, end - begin, head, b"".join(frames[begin:end]))


class Head(NamedTuple):
    """What is known of each record of a message without its frame."""

    update_ids: list[str]
    hashes: array[int]
    frame_bytes: array[int]


def head_of(draft: Draft) -> Head:
    """Of a message of records."""
    hashes_end, sizes_end = 8 * draft.count, 12 * draft.count
    update_ids = draft.head[sizes_end:].decode().split("\n")
    return Head(update_ids, array("Q", draft.head[:hashes_end]), array("I", draft.head[hashes_end:sizes_end]))
