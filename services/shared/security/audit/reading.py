"""An audit log's records for people, the newest first, a page at a time: files are read from their ends."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from services.shared.security.audit.files import CHAINS, file_of, head_of, lines_of, numbers_in, read_regular
from services.shared.security.audit.records import FORM, LINE_BYTES_MAX, Line

_BLOCK_BYTES: Final = 64 << 10


class Place(NamedTuple):
    """Where a record stands among all of them, and how they are ordered: by time, then by where they are."""

    time: str
    folder: str
    chain: str
    record: int


class Found(NamedTuple):
    """One record."""

    place: Place
    line: Line


def audit_folders(place: Path) -> list[Path]:
    """The folders of audit logs at or below a folder."""
    return sorted({head.parent for head in place.rglob(head_of(Path(), CHAINS[0]).name)})


def newest_first(folders: Sequence[Path], before: Place | None = None) -> Iterator[Found]:
    """All records older than a place. What is no record is left out: `verify` judges it. Raises OSError."""
    chains = (_backwards(folder, chain, before) for folder in folders for chain in CHAINS)
    for found in heapq.merge(*chains, key=lambda found: found.place, reverse=True):
        if before is None or found.place < before:
            yield found


def _backwards(folder: Path, chain: str, before: Place | None) -> Iterator[Found]:
    for number in reversed(numbers_in(folder, chain)):
        path = file_of(folder, chain, number)
        try:
            if before is not None and _begins_after(path, before.time):
                continue
            for content in _lines_backwards(path):
                if (line := _line_of(content)) is not None:
                    time = line.grpc_audit_log.timestamp
                    yield Found(Place(time, str(folder), chain, line.fasttree.record), line)
        except FileNotFoundError:
            return  # it had had its time, and went while others were read


def _begins_after(path: Path, time: str) -> bool:
    first = next((_line_of(content) for content, _ in lines_of(path)), None)
    return first is not None and first.grpc_audit_log.timestamp > time


def _line_of(content: bytes) -> Line | None:
    try:
        return FORM.of_json(content)
    except (msgspec.DecodeError, UnicodeError):
        return None


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """The last line first; one that is longer than any record is cut."""
    with read_regular(path) as file:
        left, rest = file.seek(0, os.SEEK_END), b""
        while left:
            size = min(_BLOCK_BYTES, left)
            left -= size
            file.seek(left)
            first, *lines = (file.read(size) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first[:LINE_BYTES_MAX]
        if rest:
            yield rest
