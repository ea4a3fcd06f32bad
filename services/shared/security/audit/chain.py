"""A chain of lines on disk, as its one writer has it. Every function here waits for the disk."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from services.shared.security.audit.files import (
    Head,
    file_of,
    head_of,
    lines_of,
    numbers_in,
    open_regular,
    read_head,
)
from services.shared.security.audit.records import FORM, NOTHING_BEFORE, Entry, Kind, hash_of, line_of

logger = logging.getLogger(__name__)

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
_MORE: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW


class AuditError(OSError):
    """Why nothing can be written: one line that names the place."""


class ChainFile:
    """One chain. `append` once it is open; whatever goes wrong, it is closed, and `open` begins anew.

    Args:
        bytes_max: Of one file.
        kept: Files.
    """

    def __init__(self, folder: Path, chain: str, service: str, bytes_max: int, kept: int) -> None:
        self._folder, self._chain, self._service = folder, chain, service
        self._bytes_max, self._kept = bytes_max, kept
        self._descriptor = self._head_descriptor = -1
        self._number = self._size = 0
        #: The newest line that this process knows of: what is on the disk must not be less.
        self.head = Head(0, NOTHING_BEFORE)

    @property
    def is_open(self) -> bool:
        """Whether `append` may be called."""
        return self._descriptor >= 0

    def open(self, now_s: float) -> None:
        """Goes on where the chain ends, and says so in a line of its own. Raises OSError."""
        try:
            self._open(now_s)
        except BaseException:
            self.close()
            raise

    def _open(self, now_s: float) -> None:
        head_path = head_of(self._folder, self._chain)
        self._head_descriptor = open_regular(head_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._head_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AuditError(
                f"the audit log in {self._folder} is another process's: end that, or set audit.folder"
            ) from None
        numbers = numbers_in(self._folder, self._chain)
        details: dict[str, int | str] = {"pid": os.getpid()}
        found = Head(0, NOTHING_BEFORE)
        if numbers:
            self._number = numbers[-1]
            path = file_of(self._folder, self._chain, self._number)
            self._descriptor = open_regular(path, _MORE)
            self._size = os.fstat(self._descriptor).st_size
            found, cut_off = _tail(self._folder, self._chain, numbers)
            if cut_off:
                details["cut_off_bytes"] = cut_off
                self._write(b"\n")
        known = max(self.head, read_head(self._folder, self._chain) or self.head)
        if known.record > found.record or (known.record == found.record and known.hash != found.hash):
            details |= {"lost_after": found.record, "lost_to": known.record, "lost_hash": known.hash}
            logger.error(
                "audit: the %s in %s end at record %d, and had ended at %d: somebody took lines away, or the disk did",
                self._chain,
                self._folder,
                found.record,
                known.record,
            )
        self.head = found
        if not numbers:
            self._begin_file(1, now_s)
        self._append([Entry(Kind.OPENED, now_s, details=details)], now_s)

    def append(self, entries: Sequence[Entry], now_s: float) -> None:
        """They last once it returns. Raises OSError: none of them is there."""
        try:
            self._check_place()
            self._append(entries, now_s)
        except BaseException:
            self.close()
            raise

    def _append(self, entries: Sequence[Entry], now_s: float) -> None:
        if self._size >= self._bytes_max:
            self._begin_file(self._number + 1, now_s)
        head, lines = self.head, []
        for entry in entries:
            line = line_of(entry, self._service, head.record + 1, head.hash)
            head = Head(head.record + 1, hash_of(line[:-1]))
            lines.append(line)
        self._write(b"".join(lines))
        self.head = head
        # A mark for want of an fsync: after a power failure it is older than the lines, which is no harm.
        os.pwrite(self._head_descriptor, head.content(), 0)

    def _write(self, data: bytes) -> None:
        """All of it, or nothing."""
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fdatasync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def _begin_file(self, number: int, now_s: float) -> None:
        """The next file, which carries the chain on, and says which ones there have to be."""
        numbers = numbers_in(self._folder, self._chain)
        oldest = max(numbers[0] if numbers else number, number - self._kept + 1)
        path = file_of(self._folder, self._chain, number)
        descriptor = open_regular(path, _NEW)
        before, self._descriptor, self._number, self._size = self._descriptor, descriptor, number, 0
        if before >= 0:
            os.close(before)
        self._append([Entry(Kind.FILE, now_s, details={"file": number, "oldest_file": oldest})], now_s)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        for old in numbers:
            if old < oldest:
                os.unlink(file_of(self._folder, self._chain, old))

    def _check_place(self) -> None:
        """That what is written can be found: a file that lost its name takes lines as ever. Raises OSError."""
        path = file_of(self._folder, self._chain, self._number)
        named, opened = os.stat(path, follow_symlinks=False), os.fstat(self._descriptor)
        if not stat.S_ISREG(named.st_mode) or named.st_ino != opened.st_ino or opened.st_size != self._size:
            raise AuditError(f"{path} is another file than was written to, or somebody wrote to it")

    def close(self) -> None:
        """For good, or until `open`."""
        for descriptor in (self._descriptor, self._head_descriptor):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._descriptor = self._head_descriptor = -1


def _tail(folder: Path, chain: str, numbers: Sequence[int]) -> tuple[Head, int]:
    """The last line, and how long it is where it is not whole. What holds on to it does so whatever is in it."""
    for number in reversed(numbers):
        last, whole, lines = b"", True, 0
        record = 0
        for line, ended in lines_of(file_of(folder, chain, number)):
            last, whole, lines = line, ended, lines + 1
            record = _record_of(line) or record + 1
        if lines:
            return Head(record, hash_of(last)), 0 if whole else len(last)
    return Head(0, NOTHING_BEFORE), 0


def _record_of(line: bytes) -> int:
    try:
        return FORM.of_json(line).fasttree.record
    except (msgspec.DecodeError, UnicodeError):
        return 0
