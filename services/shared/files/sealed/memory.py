"""Sealed files for readers that want a path: their content in memory that has no name, for as long as it is read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from services.shared.files.durable import open_new
from services.shared.files.sealed.names import SealedAs
from services.shared.files.sealed.own import key_to_seal
from services.shared.files.sealed.reading import content_of, is_sealed

_PIECE_BYTES = 4 << 20


@contextlib.contextmanager
def readable(path: Path, sealed_as: SealedAs) -> Iterator[Path]:
    """A path under which the content can be read: the file's own, where it is not sealed.

    Raises SealKeyError, SealDamagedError, OSError.
    """
    with path.open("rb", buffering=0) as file:
        if not is_sealed(file.fileno()):
            yield path
            return
        content = content_of(file.fileno(), sealed_as, path.name)
        with _memory() as descriptor:
            offset = 0
            while offset < content.size_bytes:
                buffer = memoryview(bytearray(min(_PIECE_BYTES, content.size_bytes - offset)))
                content.read_into(buffer, offset)
                while buffer:
                    written = os.write(descriptor, buffer)
                    buffer, offset = buffer[written:], offset + written
            yield _path_of(descriptor)


@contextlib.contextmanager
def writable(path: Path, sealed_as: SealedAs) -> Iterator[Path]:
    """A path under which the file can be written: its own, or, where this process has keys, memory that is sealed into
    the file when it is left. Nothing is durable then."""
    key = key_to_seal()
    if key is None:
        yield path
        return
    # Loaded where there are keys.
    from services.shared.files.sealed.writing import seal_file

    with _memory() as descriptor:
        yield _path_of(descriptor)
        target = open_new(path)
        try:
            seal_file(_path_of(descriptor), target, key, sealed_as)
        finally:
            os.close(target)


@contextlib.contextmanager
def _memory() -> Iterator[int]:
    descriptor = os.memfd_create("unsealed")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _path_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}")
