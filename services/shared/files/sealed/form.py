"""The form of a sealed file.

| bytes | what |
|---|---|
| 0 to 15 | FTSEAL01, CRC-32 of what is behind it up to 96, bytes of a chunk (4 each, little endian) |
| 16 to 95 | the key's id (32, with zeros behind it), salt (32), key check (16) |
| then each chunk | nonce (12), as many bytes as are in it, tag (16); all but the last are full, the last may be empty |

Each file has a key of its own, made from the one that is named and the salt (HKDF-SHA256). A chunk's nonce is drawn
anew whenever it is written, so a download that goes on, or a beginning that is written last, uses none twice. What is
authenticated with a chunk: the header, the file's kind and name, the chunk's number, whether it is the last one. So a
file that was cut ends in a chunk that is not the last, and a chunk is good in its place alone.

The key check tells another key from damage: where the header's own checksum is right and the check is not, the file
was sealed by another key of that id.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.shared.files.sealed.errors import SealDamagedError, SealKeyError
from services.shared.files.sealed.keys import (
    CHECK_BYTES,
    KEY_ID,
    KEY_ID_BYTES_MAX,
    SALT_BYTES,
    Key,
    Keys,
)
from services.shared.files.sealed.names import MAGIC, SealedAs

CHUNK_BYTES: Final = 256 << 10
CHUNK_BYTES_MAX: Final = 16 << 20
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
#: What a chunk takes beside what is in it.
OVERHEAD_BYTES: Final = NONCE_BYTES + TAG_BYTES
SETTING: Final = "sealing.key_file"

_HEADER = struct.Struct(f"<8sII{KEY_ID_BYTES_MAX}s{SALT_BYTES}s{CHECK_BYTES}s")
HEADER_BYTES: Final = _HEADER.size
_CRC_END: Final = len(MAGIC) + 4
_PURPOSE: Final = b"fasttree sealed file 1"
_PLACE = struct.Struct("<QB")


class Header(NamedTuple):
    """What a file says of itself; nothing of it is a secret."""

    chunk_bytes: int
    key_id: str
    salt: bytes
    check: bytes

    def encoded(self) -> bytes:
        """As it stands in the file."""
        whole = _HEADER.pack(MAGIC, 0, self.chunk_bytes, self.key_id.encode(), self.salt, self.check)
        return MAGIC + struct.pack("<I", zlib.crc32(whole[_CRC_END:])) + whole[_CRC_END:]


def read_header(data: bytes, where: str) -> Header:
    """The header of a file that begins with `MAGIC`. Raises SealDamagedError."""
    if len(data) < HEADER_BYTES:
        raise SealDamagedError(f"{where} ends after {len(data)} bytes, inside its header")
    magic, crc, chunk_bytes, padded, salt, check = _HEADER.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[_CRC_END:HEADER_BYTES]) != crc:
        raise SealDamagedError(f"{where}: its header is not what was written")
    key_id = padded.rstrip(b"\0").decode("ascii", "replace")
    if not 1 <= chunk_bytes <= CHUNK_BYTES_MAX or KEY_ID.fullmatch(key_id) is None:
        raise SealDamagedError(f"{where}: its header says what nobody writes")
    return Header(chunk_bytes, key_id, salt, check)


class FileCipher:
    """Seals and opens the chunks of one file. Any thread may use it."""

    def __init__(self, header: Header, file_key: bytes, sealed_as: SealedAs) -> None:
        self.header = header
        self.header_bytes = header.encoded()
        self._cipher = AESGCM(file_key)
        named = b"".join(struct.pack("<I", len(each)) + each for each in map(str.encode, sealed_as))
        self._context = hashlib.sha256(self.header_bytes + named).digest()

    @classmethod
    def new(cls, key: Key, sealed_as: SealedAs, chunk_bytes: int = CHUNK_BYTES) -> FileCipher:
        """For a file that is written now."""
        salt = os.urandom(SALT_BYTES)
        file_key, check = key.derived(salt, _PURPOSE)
        return cls(Header(chunk_bytes, key.key_id, salt, check), file_key, sealed_as)

    @classmethod
    def of(cls, header: Header, keys: Keys | None, sealed_as: SealedAs, where: str) -> FileCipher:
        """For a file that is there. Raises SealKeyError."""
        file_key, check = right_key(keys, header.key_id, where).derived(header.salt, _PURPOSE)
        if check != header.check:
            raise other_key(keys, header.key_id, where)
        return cls(header, file_key, sealed_as)

    def seal_into(self, number: int, is_last: bool, data: memoryview, target: memoryview) -> None:
        """A chunk into a buffer that is `OVERHEAD_BYTES` longer than it."""
        nonce = os.urandom(NONCE_BYTES)
        target[:NONCE_BYTES] = nonce
        self._cipher.encrypt_into(nonce, data, self._place(number, is_last), target[NONCE_BYTES:])

    def open_into(self, number: int, is_last: bool, sealed: memoryview, target: memoryview) -> bool:
        """A chunk into a buffer that is `OVERHEAD_BYTES` shorter than it; False: it is not what was sealed there."""
        nonce, rest = bytes(sealed[:NONCE_BYTES]), sealed[NONCE_BYTES:]
        try:
            self._cipher.decrypt_into(nonce, rest, self._place(number, is_last), target)
        except InvalidTag:
            return False
        return True

    def _place(self, number: int, is_last: bool) -> bytes:
        return self._context + _PLACE.pack(number, is_last)


def right_key(keys: Keys | None, key_id: str, where: str) -> Key:
    """The key of that id. Raises SealKeyError."""
    if keys is None:
        raise SealKeyError(
            f"{where} is sealed by key {key_id}, and no keys are named: set {SETTING} to the file with it"
        )
    key = keys.get(key_id)
    if key is None:
        raise SealKeyError(
            f"{where} is sealed by key {key_id}, which is not in {keys.place} ({', '.join(keys.ids)}): bring it back"
        )
    return key


def other_key(keys: Keys | None, key_id: str, where: str) -> SealKeyError:
    """Where the key of that id is not the one that sealed."""
    place = keys.place if keys is not None else SETTING
    return SealKeyError(
        f"{where} is sealed by another key {key_id} than the one in {place}: bring back the one that it was sealed by"
    )


def content_bytes(size_bytes: int, chunk_bytes: int) -> int | None:
    """How much is in a sealed file of that size; None where none has it."""
    body = size_bytes - HEADER_BYTES
    full, rest = divmod(body, chunk_bytes + OVERHEAD_BYTES)
    if body < OVERHEAD_BYTES or 0 < rest < OVERHEAD_BYTES or (rest == OVERHEAD_BYTES and full):
        return None
    return full * chunk_bytes + max(0, rest - OVERHEAD_BYTES)
