"""The names of an audit log's files.

NAME-00000001.jsonl …       a chain of lines, from file to file; NAME is `operations` or `refusals`
NAME.head                   number and hash of the newest line: it tells a tail that was cut off
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

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
        found = _HEAD.fullmatch(head_of(folder, chain).read_bytes()[:100])
    except OSError:
        return None
    return Head(int(found[1]), found[2].decode()) if found else None


def lines_of(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Each line without its end, and whether it had one: the last may lack it. Raises OSError."""
    with path.open("rb") as file:
        for line in file:
            yield (line[:-1], True) if line.endswith(b"\n") else (line, False)
