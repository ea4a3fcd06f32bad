"""Single records of a log, sealed in their frames' place. Positions and ids stay readable: the store goes by them.

| bytes | what |
|---|---|
| 0 | 0xF5, with which no frame begins |
| 1 to 4 | how long the record is, all in all (little endian) |
| 5 to 36 | the key's id, with zeros behind it |
| 37 to 60 | salt (16), key check (8) |
| 61 to 64 | CRC-32 of all before |
| then | nonce (12), as many bytes as the frame has, tag (16) |

A process draws a salt for itself, and another one after some millions of records; nonces are drawn at random for each.
What is authenticated with a frame: all before its nonce, and its position.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from services.shared.files.sealed.errors import SealDamagedError
from services.shared.files.sealed.own import key_to_seal, own_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from services.shared.files.sealed.keys import Key, Keys

#: A frame begins with the tag of a field, which is another byte.
SEALED: Final = 0xF5
_HEAD = struct.Struct("<BI32s16s8s")
_CRC = struct.Struct("<I")
_HEAD_BYTES: Final = _HEAD.size + _CRC.size
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_POSITION = struct.Struct("<Q").pack
_PURPOSE: Final = b"fasttree sealed record 1"
_SALT_BYTES: Final = 16
_CHECK_BYTES: Final = 8
_SALT_RECORDS: Final = 1 << 24
#: So much of a record says by which key it was sealed.
SEALED_HEAD_BYTES: Final = _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES
#: Ciphers that are kept: one for each salt.
_KNOWN_MAX: Final = 256


class _Sealing:
    """What this process seals by at the moment."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.salt = os.urandom(_SALT_BYTES)
        self.cipher, self.check = _cipher(key, self.salt)
        self.left = _SALT_RECORDS


class _Process:
    sealing: _Sealing | None = None
    #: By the key itself and the salt; the newest last.
    known: ClassVar[dict[tuple[Key, bytes], tuple[AESGCM, bytes]]] = {}
    lock = threading.Lock()


def _cipher(key: Key, salt: bytes) -> tuple[AESGCM, bytes]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    record_key, check = key.derived(salt, _PURPOSE)
    return AESGCM(record_key), check[:_CHECK_BYTES]


def sealed_frames(first_position: int, frames: Sequence[bytes]) -> Sequence[bytes]:
    """Frames of consecutive positions as they are to be stored: as they are, where this process has no keys."""
    key = key_to_seal()
    if key is None:
        return frames
    with _Process.lock:
        sealing = _Process.sealing
        if sealing is None or sealing.key is not key or sealing.left < len(frames):
            sealing = _Process.sealing = _Sealing(key)
        sealing.left -= len(frames)
    key_id, nonces = key.key_id.encode(), os.urandom(_NONCE_BYTES * len(frames))
    sealed: list[bytes] = []
    for index, frame in enumerate(frames):
        size_bytes = _HEAD_BYTES + _NONCE_BYTES + len(frame) + _TAG_BYTES
        head = _HEAD.pack(SEALED, size_bytes, key_id, sealing.salt, sealing.check)
        head += _CRC.pack(zlib.crc32(head))
        nonce = nonces[_NONCE_BYTES * index : _NONCE_BYTES * (index + 1)]
        sealed.append(head + nonce + sealing.cipher.encrypt(nonce, frame, head + _POSITION(first_position + index)))
    return sealed


def opened_frames(first_position: int, data: bytes, *, each: bool = False) -> bytes:
    """Frames of consecutive positions, one behind the other as they were stored, as they were before.

    `each`: they are looked at one by one, though this process has no keys and the first one is clear.

    Raises:
        SealDamagedError: One is not what was sealed at its position.
        SealKeyError: Its key is not here.
    """
    # Without keys nothing is sealed, as a rule: what is otherwise is found by whoever reads the frames.
    if not each and data[:1] != b"\xf5" and own_keys() is None:
        return data
    return b"".join(
        opened_record(position, record, f"log record at position {position}") if record[0] == SEALED else record
        for position, record in enumerate(_records(first_position, data), first_position)
    )


def _records(first_position: int, data: bytes) -> Iterator[memoryview]:
    view, position = memoryview(data), first_position
    while view:
        size_bytes = _size(view)
        if size_bytes is None or size_bytes > len(view):
            yield view  # no record: whoever reads the frames says so
            return
        yield view[:size_bytes]
        view = view[size_bytes:]
        position += 1


def _size(view: memoryview) -> int | None:
    """Of the record that begins there; None: there is none."""
    if view[0] == SEALED:
        size_bytes = int.from_bytes(view[1:5], "little")
        return size_bytes if size_bytes >= _HEAD_BYTES else None
    length = shift = 0
    for index in range(1, min(6, len(view))):
        length |= (view[index] & 0x7F) << shift
        if view[index] < 0x80:
            return index + 1 + length
        shift += 7
    return None


def opened_record(position: int, record: memoryview, where: str) -> bytes:
    """What was sealed there. `where`: what an error calls it. Raises SealDamagedError, SealKeyError."""
    key_id, salt, check, head = _read_head(record, where)
    cipher = _known_cipher(key_id, salt, check, where)
    from cryptography.exceptions import InvalidTag

    nonce, rest = record[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES], record[_HEAD_BYTES + _NONCE_BYTES :]
    try:
        return cipher.decrypt(bytes(nonce), rest, head + _POSITION(position))
    except (InvalidTag, ValueError):
        raise SealDamagedError(f"{where} is damaged: it is not what was sealed there") from None


def _read_head(record: memoryview, where: str) -> tuple[str, bytes, bytes, bytes]:
    from services.shared.files.sealed.keys import KEY_ID

    head = bytes(record[:_HEAD_BYTES])
    if (
        len(record) < _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES
        or zlib.crc32(head[: _HEAD.size]) != _CRC.unpack(head[_HEAD.size :])[0]
    ):
        raise SealDamagedError(f"{where} is damaged: it begins as nothing that was sealed")
    _, _, padded, salt, check = _HEAD.unpack(head[: _HEAD.size])
    key_id = padded.rstrip(b"\0").decode("ascii", "replace")
    if KEY_ID.fullmatch(key_id) is None:
        raise SealDamagedError(f"{where} is damaged: it names no key")
    return key_id, salt, check, head


def _known_cipher(key_id: str, salt: bytes, check: bytes, where: str) -> AESGCM:
    from services.shared.files.sealed.form import other_key, right_key

    key = right_key(own_keys(), key_id, where)
    with _Process.lock:
        known = _Process.known.get((key, salt))
        if known is None:
            known = _Process.known[key, salt] = _cipher(key, salt)
            while len(_Process.known) > _KNOWN_MAX:
                del _Process.known[next(iter(_Process.known))]
    if known[1] != check:
        raise other_key(own_keys(), key_id, where)
    return known[0]


def key_id_of(stored: bytes) -> str:
    """The id of the key that sealed a record, as it is stored; empty: it is clear, or nobody can tell."""
    if stored[:1] != b"\xf5":
        return ""
    try:
        return _read_head(memoryview(stored), "it")[0]
    except SealDamagedError:
        return ""


def opens(keys: Keys, stored: bytes) -> bool:
    """Whether the key that sealed a record is among these, and not another one under its id; nobody can tell it of a
    record that is clear or damaged."""
    try:
        key_id, salt, check, _ = _read_head(memoryview(stored), "it")
    except SealDamagedError:
        return True
    key = keys.get(key_id)
    return key is not None and key.derived(salt, _PURPOSE)[1][:_CHECK_BYTES] == check
