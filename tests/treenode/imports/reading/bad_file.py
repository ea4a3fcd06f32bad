"""What a malformed import file of the corpus is, and how most are made: good members, one of them spoilt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.treenode.imports.reading import ImportLimits

HEADER = "member_id,sponsor_id,status,rank,joined_on,pv"
WIDE_HEADER = "member_id,sponsor_id,placement_id,placement_leg,kind,status,rank,joined_on,pv,note"
#: Good members, on lines 2 to 7.
GOOD = (
    "100,,A,5,2020-01-31,10.00",
    "101,100,A,4,2021-02-28,20.50",
    "102,100,C,0,2024-02-29,0.00",
    "103,101,A,3,,-5.25",
    "104,103,C,0,2026-11-01,7",
    "105,,A,12,2000-02-29,0.1",
)
WIDE_GOOD = (
    "100,,,,distributor,A,5,2020-01-31,10.00,first",
    "101,100,100,L,D,A,4,2021-02-28,20.50,",
    "102,100,100,R,customer,C,0,2024-02-29,0.00,",
    "103,101,101,1,,A,3,,-5.25,",
    "104,103,101,2,c,C,0,2026-11-01,7,",
    "105,,,,,A,12,2000-02-29,0.1,last",
)


@dataclass(frozen=True)
class Told:
    """What must be told of a row: its line, its column, and words of the reason."""

    line: int
    column: str
    words: str


@dataclass(frozen=True)
class BadFile:
    """A file that must be refused."""

    name: str
    content: bytes
    told: tuple[Told, ...]
    #: All rejected rows; as many as are told unless they are more.
    count: int
    suffix: str = ".csv"
    limits: ImportLimits | None = None

    def write(self, folder: Path) -> Path:
        path = folder / f"import{self.suffix}"
        path.write_bytes(self.content)
        return path


def csv_file(*lines: str, header: str = HEADER) -> bytes:
    """A CSV file of these lines below a header."""
    return "\n".join((header, *lines, "")).encode()


def spoilt(line: int, text: str) -> bytes:
    """The good members, another text on one line."""
    return csv_file(*(text if place == line else good for place, good in enumerate(GOOD, start=2)))


def spoilt_wide(line: int, text: str) -> bytes:
    """The good members with every column, another text on one line."""
    return csv_file(
        *(text if place == line else good for place, good in enumerate(WIDE_GOOD, start=2)), header=WIDE_HEADER
    )


def bad(name: str, content: bytes, *told: tuple[int, str, str], count: int = 0, **more: Any) -> BadFile:
    """A file of the corpus; `told`: line, column, words of the reason."""
    return BadFile(name, content, tuple(Told(*each) for each in told), count or len(told), **more)
