"""SHA-256 of whole files, each read once as long as it stays the same."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import TypeAlias

_KNOWN_MAX = 64

#: Device, inode, size in bytes, time of change in nanoseconds: the same file with the same content, whatever its name.
_Identity: TypeAlias = tuple[int, int, int, int]


def file_sha256(path: Path) -> bytes:
    """SHA-256 of a whole file, 32 bytes. Reads the disk: run it in a thread."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class KnownChecksums:
    """What this process has found files to be. A file that was written to since is read again.

    Every method reads the disk: run it in a thread; several may at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: The newest last; at most _KNOWN_MAX.
        self._known: dict[_Identity, bytes] = {}

    def of(self, path: Path) -> bytes:
        """A file's SHA-256, 32 bytes. Raises OSError."""
        with path.open("rb") as file:
            before = _identity(os.fstat(file.fileno()))
            with self._lock:
                known = self._known.get(before)
            if known is not None:
                return known
            found = hashlib.file_digest(file, "sha256").digest()
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
