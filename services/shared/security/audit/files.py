"""The names of an audit log's files.

NAME-00000001.jsonl …       a chain of lines, from file to file; NAME is `operations` or `refusals`
NAME.head                   number and hash of the newest line: it tells a tail that was cut off
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

OPERATIONS: Final = "operations"
REFUSALS: Final = "refusals"
CHAINS: Final = (OPERATIONS, REFUSALS)

_HEAD: Final = re.compile(rb"([0-9]{16}) ([0-9a-f]{64})\n")


class Head(NamedTuple):
    """The newest line."""

    record: int
    hash: str

    def content(self) -> bytes:
        """As the file has it: always of one length, so that one write replaces another."""
        return f"{self.record:016d} {self.hash}\n".encode()


def open_regular(path: Path, flags: int) -> int:
    """A descriptor of a file of an audit log. Whatever somebody put in its place, nobody waits: a pipe would hold up
    whoever opens it, and with that every operation, until its other end is opened. Raises OSError, with the file."""
    odd = OSError(errno.EINVAL, "it is no regular file: take it away", str(path))
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        # A pipe that nobody reads, a socket, a folder.
        raise odd if error.errno in (errno.ENXIO, errno.EISDIR) else error from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise odd
    return descriptor


def read_regular(path: Path) -> BinaryIO:
    """The same to be read. Raises OSError, with the file."""
    return os.fdopen(open_regular(path, os.O_RDONLY), "rb")


def file_of(folder: Path, chain: str, number: int) -> Path:
    """Of a chain, by its number."""
    return folder / f"{chain}-{number:08d}.jsonl"


def head_of(folder: Path, chain: str) -> Path:
    """Where the newest line's hash is."""
    return folder / f"{chain}.head"


def numbers_in(folder: Path, chain: str) -> list[int]:
    """The files of a chain, the oldest first. Raises OSError."""
    pattern = re.compile(rf"{chain}-([0-9]{{8}})\.jsonl")
    return sorted(int(found[1]) for name in os.listdir(folder) if (found := pattern.fullmatch(name)))


def read_head(folder: Path, chain: str) -> Head | None:
    """None where there is none that can be read."""
    try:
        with read_regular(head_of(folder, chain)) as file:
            found = _HEAD.fullmatch(file.read(100))
    except OSError:
        return None
    return Head(int(found[1]), found[2].decode()) if found else None


def lines_of(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Each line without its end, and whether it had one: the last may lack it. Raises OSError."""
    with read_regular(path) as file:
        for line in file:
            yield (line[:-1], True) if line.endswith(b"\n") else (line, False)
