"""Fields of protobuf messages, written by hand where a message object for each would cost more than its content."""

from __future__ import annotations

from functools import lru_cache


def varint(number: int) -> bytes:
    """A whole number from 0, seven bits a byte, the lowest first."""
    if number < 0x80:
        return bytes((number,))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


@lru_cache
def tag(number: int, *, is_number: bool = False) -> bytes:
    """What stands before a field's content: its number, and whether that is a varint or (else) as long as it says."""
    return varint(number << 3 | (0 if is_number else 2))


def field(number: int, content: bytes) -> bytes:
    """A text or a message as a field; nothing where it is empty."""
    return tag(number) + varint(len(content)) + content if content else b""
