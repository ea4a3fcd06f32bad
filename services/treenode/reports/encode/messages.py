"""Parts of protobuf messages that are made once for many rows. Kernels know the tags."""

from __future__ import annotations

from functools import lru_cache


@lru_cache
def tag_of(number: int, *, is_number: bool = False) -> int:
    """The bytes of a field's tag as one number, the first one lowest. `is_number`: else it has a length."""
    return int.from_bytes(encoded_length(number << 3 | (0 if is_number else 2)), "little")


def encoded_length(value: int) -> bytes:
    """A varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_bytes(tag: int, content: bytes) -> bytes:
    """A length-delimited field with a tag of one byte; nothing where the content is empty."""
    if 0 < len(content) < 0x80:
        return bytes((tag, len(content))) + content
    return bytes((tag,)) + encoded_length(len(content)) + content if content else b""


def volume_prefix(volume_type: str, period: str) -> bytes:
    """The first two fields of a Volume."""
    return field_bytes(0x0A, volume_type.encode()) + field_bytes(0x12, period.encode())


def further_prefix(name: str) -> bytes:
    """The key of an entry of Member.columns."""
    return field_bytes(0x0A, name.encode())
