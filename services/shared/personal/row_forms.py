"""How a vault's rows are written: clear, or sealed by a secret that the file has for itself (`generations.py`).

| what | clear | sealed |
|---|---|---|
| member (`member_id`) | the id | its place: generation (4 bytes, big endian), keyed hash of the id (16) |
| salt | as it is | nonce (12), salt and id, tag (16) |
| value | a text | nonce, value, tag |
| id of whom was erased | | nonce, id, tag |

What is authenticated: the place, and with a value its number and its token. So a row that stands elsewhere, or a clear
one in a sealed one's place, is damage. Numbers, tokens, sizes, and how many values a member has stay readable.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, Final, Protocol

from services.shared.files.sealed.errors import SealDamagedError
from services.shared.personal.tokens import SALT_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_BYTES: Final = 32
_GENERATION: Final = struct.Struct(">I")
_HASH_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_NUMBER = struct.Struct("<Q").pack

#: Where all that there is of a member stands: his id, or the hash of it.
Place = str | bytes


class RowForm(Protocol):
    """One way of writing. What opens raises SealDamagedError."""

    #: All places of this form and no other's are from the first to before the second, in SQLite's order.
    bounds: tuple[Place, Place]

    def place(self, member_id: str) -> Place:
        """Of a member."""

    def salt_in(self, place: Place, member_id: str, salt: bytes) -> bytes:
        """A salt, as the file has it."""

    def salt_of(self, place: Place, stored: object) -> tuple[str, bytes]:
        """The member, and the salt."""

    def value_in(self, place: Place, number: int, token: str, value: str) -> Place:
        """A value, as the file has it."""

    def value_of(self, place: Place, number: int, token: str, stored: object) -> str:
        """The value."""

    def id_in(self, place: Place, member_id: str) -> bytes:
        """The id of whom was erased; empty: the place says it."""

    def id_of(self, place: Place, stored: object) -> str:
        """The id."""


class ClearRows:
    """As they are."""

    bounds: tuple[Place, Place] = ("", b"")

    def place(self, member_id: str) -> Place:
        return member_id

    def salt_in(self, place: Place, member_id: str, salt: bytes) -> bytes:
        return salt

    def salt_of(self, place: Place, stored: object) -> tuple[str, bytes]:
        if not isinstance(place, str) or not isinstance(stored, bytes) or len(stored) != SALT_BYTES:
            raise SealDamagedError("a member's salt is damaged: it is not as long as one")
        return place, stored

    def value_in(self, place: Place, number: int, token: str, value: str) -> Place:
        return value

    def value_of(self, place: Place, number: int, token: str, stored: object) -> str:
        if not isinstance(stored, str):
            raise SealDamagedError(f"value {number} is damaged: it is no text")
        return stored

    def id_in(self, place: Place, member_id: str) -> bytes:
        return b""

    def id_of(self, place: Place, stored: object) -> str:
        return str(place)


class SealedRows:
    """By the secret of one generation. Any thread may use it."""

    def __init__(self, generation: int, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._begin = _GENERATION.pack(generation)
        self.bounds = sealed_bounds(generation)
        self._cipher: AESGCM = AESGCM(_key_of(secret, b"rows"))
        self._ids = _key_of(secret, b"ids")

    def place(self, member_id: str) -> Place:
        return self._begin + hashlib.blake2b(member_id.encode(), digest_size=_HASH_BYTES, key=self._ids).digest()

    def salt_in(self, place: Place, member_id: str, salt: bytes) -> bytes:
        return self._sealed(b"s" + _bytes(place), salt + member_id.encode())

    def salt_of(self, place: Place, stored: object) -> tuple[str, bytes]:
        opened = self._opened(b"s" + _bytes(place), stored, "a member's salt")
        return opened[SALT_BYTES:].decode(), opened[:SALT_BYTES]

    def value_in(self, place: Place, number: int, token: str, value: str) -> Place:
        return self._sealed(_of_value(place, number, token), value.encode())

    def value_of(self, place: Place, number: int, token: str, stored: object) -> str:
        return self._opened(_of_value(place, number, token), stored, f"value {number}").decode()

    def id_in(self, place: Place, member_id: str) -> bytes:
        return self._sealed(b"e" + _bytes(place), member_id.encode())

    def id_of(self, place: Place, stored: object) -> str:
        return self._opened(b"e" + _bytes(place), stored, "the id of whom was erased").decode()

    def _sealed(self, context: bytes, data: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, context)

    def _opened(self, context: bytes, stored: object, what: str) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            if isinstance(stored, bytes):
                return self._cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            pass
        raise SealDamagedError(f"{what} is damaged: it is not what was sealed there")


CLEAR_ROWS: Final = ClearRows()


def sealed_bounds(generation: int) -> tuple[Place, Place]:
    """See `RowForm.bounds`."""
    return _GENERATION.pack(generation), _GENERATION.pack(generation + 1)


def generation_of(place: Place) -> int | None:
    """Which secret sealed what stands there; None: it is clear. Raises SealDamagedError."""
    if isinstance(place, str):
        return None
    if len(place) != _GENERATION.size + _HASH_BYTES:
        raise SealDamagedError("a row is damaged: it says what nobody writes")
    return int(_GENERATION.unpack_from(place)[0])


def _key_of(secret: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(key=secret, person=b"fasttree " + purpose, digest_size=32).digest()


def _of_value(place: Place, number: int, token: str) -> bytes:
    return b"v" + _NUMBER(number) + _bytes(place) + token.encode()


def _bytes(place: Place) -> bytes:
    assert isinstance(place, bytes)
    return place
