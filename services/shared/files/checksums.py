"""SHA-256 of whole files, or of what is in sealed ones, each read once as long as it stays the same."""

from __future__ import annotations

import hashlib
import os
import threading
from io import FileIO
from pathlib import Path
from typing import TypeAlias

from services.shared.files.sealed.names import IMPORT_FILE, SealedAs
from services.shared.files.sealed.reading import content_of, is_sealed

_KNOWN_MAX = 64
#: A few chunks of a sealed file, and no other number of them: each is opened once.
_READ_BYTES = 1 << 20

#: Device, inode, size in bytes, time of change in nanoseconds: the same file with the same content, whatever its name.
_Identity: TypeAlias = tuple[int, int, int, int]


def file_sha256(path: Path) -> bytes:
    """SHA-256 of a whole file, 32 bytes. Reads the disk: run it in a thread."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def content_sha256(path: Path, sealed_as: SealedAs = IMPORT_FILE) -> bytes:
    """SHA-256 of what is in a file, be it sealed or not, 32 bytes. Reads the disk: run it in a thread.

    Raises OSError, SealDamagedError, SealKeyError.
    """
    with path.open("rb", buffering=0) as file:
        return _sha256_of(file, sealed_as)


def _sha256_of(file: FileIO, sealed_as: SealedAs) -> bytes:
    if not is_sealed(file.fileno()):
        return hashlib.file_digest(file, "sha256").digest()
    content, digest, offset = content_of(file.fileno(), sealed_as, Path(file.name).name), hashlib.sha256(), 0
    buffer = memoryview(bytearray(_READ_BYTES))
    while offset < content.size_bytes:
        part = buffer[: content.size_bytes - offset]
        content.read_into(part, offset)
        digest.update(part)
        offset += len(part)
    return digest.digest()


class KnownChecksums:
    """What this process has found to be in files. A file that was written to since is read again.

    Every method reads the disk: run it in a thread; several may at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: The newest last; at most _KNOWN_MAX.
        self._known: dict[_Identity, bytes] = {}

    def of(self, path: Path, sealed_as: SealedAs = IMPORT_FILE) -> bytes:
        """SHA-256 of what is in a file, 32 bytes. Raises as `content_sha256`."""
        with path.open("rb", buffering=0) as file:
            before = _identity(os.fstat(file.fileno()))
            with self._lock:
                known = self._known.get(before)
            if known is not None:
                return known
            found = _sha256_of(file, sealed_as)
            after = _identity(os.fstat(file.fileno()))
        if before == after:
            self._remember(after, found)
        return found

    def remember(self, path: Path, sha256: bytes) -> None:
        """A file was found to be that just now, when it was written. Raises OSError."""
        self._remember(_identity(path.stat()), sha256)

    def _remember(self, identity: _Identity, sha256: bytes) -> None:
        with self._lock:
            self._known[identity] = sha256
            while len(self._known) > _KNOWN_MAX:
                del self._known[next(iter(self._known))]


def _identity(state: os.stat_result) -> _Identity:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
