"""Checksums are found once, and again when the file changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from services.shared.files.checksums import KnownChecksums, file_sha256


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def rewritten_unseen(path: Path, data: bytes) -> None:
    """Other content under the same size and time: only who reads the file again can see it."""
    state = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size


def test_a_file_is_read_once(tmp_path: Path) -> None:
    path, known = tmp_path / "file", KnownChecksums()
    path.write_bytes(b"one")
    assert known.of(path) == sha256(b"one")
    rewritten_unseen(path, b"two")
    assert known.of(path) == sha256(b"one")
    path.rename(tmp_path / "renamed")
    assert known.of(tmp_path / "renamed") == sha256(b"one")
    assert KnownChecksums().of(tmp_path / "renamed") == file_sha256(tmp_path / "renamed") == sha256(b"two")


def test_one_that_was_written_to_is_read_again(tmp_path: Path) -> None:
    path, known = tmp_path / "file", KnownChecksums()
    path.write_bytes(b"one")
    known.of(path)
    state = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert known.of(path) == sha256(b"two")
    path.write_bytes(b"three")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert known.of(path) == sha256(b"three")


def test_what_was_found_while_writing_is_not_read(tmp_path: Path) -> None:
    path, known = tmp_path / "file", KnownChecksums()
    path.write_bytes(b"one")
    known.remember(path, sha256(b"whatever it said"))
    assert known.of(path) == sha256(b"whatever it said")


def test_few_are_remembered(tmp_path: Path) -> None:
    known = KnownChecksums()
    for number in range(100):
        (tmp_path / str(number)).write_bytes(b"one")
        known.of(tmp_path / str(number))
    for number in (0, 99):
        rewritten_unseen(tmp_path / str(number), b"two")
    assert known.of(tmp_path / "0") == sha256(b"two")
    assert known.of(tmp_path / "99") == sha256(b"one")
