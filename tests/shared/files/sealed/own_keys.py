"""Keys for tests, and files sealed by them."""

from __future__ import annotations

import os
from pathlib import Path

from services.shared.files.sealed.keys import Key, Keys
from services.shared.files.sealed.names import SealedAs
from services.shared.files.sealed.reading import content_of
from services.shared.files.sealed.writing import SealedWriter

NAMED = SealedAs("state", "1-2.snapshot")


def keys(*ids: str, secret: bytes = b"s") -> Keys:
    """Keys of these ids, each its own."""
    made = [Key(each, (secret + each.encode()).ljust(32, b"\0")) for each in ids or ("one",)]
    return Keys(made, "sealing.key_file = state.keys")


def sealed_file(path: Path, content: bytes, by: Keys, chunk_bytes: int = 64, named: SealedAs = NAMED) -> None:
    """Written in one go."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        writer = SealedWriter.new(descriptor, by.first, named, chunk_bytes=chunk_bytes)
        writer.write(content)
        writer.finish()
    finally:
        os.close(descriptor)


def content(path: Path, named: SealedAs = NAMED) -> bytes:
    """All that is in a file."""
    with path.open("rb", buffering=0) as file:
        found = content_of(file.fileno(), named, path.name)
        data = bytearray(found.size_bytes)
        assert found.read_into(memoryview(data), 0)
        return bytes(data)
