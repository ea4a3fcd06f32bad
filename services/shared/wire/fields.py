"""Fields of protobuf messages, written by hand where a message object for each would cost more than its content."""

from __future__ import annotations

from functools import lru_cache


def _encoded(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL_MAX = 2047
#: Of the numbers that nearly every length is one of.
_SMALL = [_encoded(number) for number in range(_SMALL_MAX + 1)]


def varint(number: int) -> bytes:
    """A whole number from 0, seven bits a byte, the lowest first."""
    return _SMALL[number] if number <= _SMALL_MAX else _encoded(number)


@lru_cache
def tag(number: int, *, is_number: bool = False) -> bytes:
    """What stands before a field's content: its number, and whether that is a varint or (else) as long as it says."""
    return varint(number << 3 | (0 if is_number else 2))


def field(number: int, content: bytes) -> bytes:
    """A text or a message as a field; nothing where it is empty."""
    return tag(number) + varint(len(content)) + content if content else b""
