"""A file of DataTrax's taken apart: sections, keys in any case, values, and comments, also those that were wrapped.

An editor that wraps long lines leaves the rest of a comment on a line of its own, without a mark. Such a line has no
`=`, and stands right below the comment.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from services.shared.domain.sentences import quoted

SECTION = "FastTree"
_PREFIX = f"{SECTION.lower()}-"
_HEADER = re.compile(r"\[([^\[\]]{1,64})\]")
_COMMENT = "#"
_COMMENTED_KEY = re.compile(r"#+[ \t]*(FastTree-[A-Za-z0-9-]{1,64})[ \t]*=(.*)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,79}")


class Fault(NamedTuple):
    """What is wrong at one line. Line 0 is the file as a whole."""

    line: int
    text: str


class Entry(NamedTuple):
    """A key and its value, as they stand in the file."""

    line: int
    name: str
    value: str

    @property
    def key(self) -> str:
        """The key without the section's name before it, in small letters: what two writings of it share."""
        return self.name.lower().removeprefix(_PREFIX)


class Section(NamedTuple):
    """What [FastTree] consists of."""

    #: By their keys, in the file's order.
    entries: dict[str, Entry]
    #: Those that stand there behind a `#`.
    commented: list[Entry]
    faults: list[Fault]


class _Place(Enum):
    BEFORE = auto()
    HERE = auto()
    ELSEWHERE = auto()


def read_section(text: str) -> Section:
    """Takes [FastTree] out of the text of a file. Other sections are DataTrax's own, and are passed over."""
    entries: dict[str, Entry] = {}
    commented: list[Entry] = []
    faults: list[Fault] = []
    place, first_header, in_comment = _Place.BEFORE, 0, False
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t\r\x0c\x1a")  # COBOL programs and old editors end a file or a page with a mark
        if not line:
            in_comment = False
        elif line.startswith(_COMMENT):
            in_comment = True
            found = _COMMENTED_KEY.fullmatch(line)
            if found and place is _Place.HERE:
                commented.append(Entry(number, found[1], found[2].strip()))
        elif header := _HEADER.fullmatch(line):
            in_comment = False
            place = _Place.HERE if header[1].strip().lower() == SECTION.lower() else _Place.ELSEWHERE
            if place is _Place.HERE:
                if first_header:
                    faults.append(Fault(number, f"[{SECTION}] stands twice: put these lines below line {first_header}"))
                first_header = first_header or number
        elif "=" not in line:
            if not in_comment and place is _Place.HERE:
                faults.append(
                    Fault(number, f"expected KEY=VALUE, or {_COMMENT} before a comment; found {quoted(line)}")
                )
        else:
            in_comment = False
            name, value = (part.strip() for part in line.split("=", 1))
            if place is _Place.HERE:
                _take(Entry(number, name, value), entries, faults)
            elif name.lower().startswith(_PREFIX):
                faults.append(Fault(number, f"{quoted(name)} stands outside [{SECTION}]: move it there"))
    if not first_header:
        faults.append(Fault(0, f"no section [{SECTION}]: write that line above its keys"))
    return Section(entries, commented, faults)


def _take(entry: Entry, entries: dict[str, Entry], faults: list[Fault]) -> None:
    if not _NAME.fullmatch(entry.name):
        form = "letters, digits and hyphens, such as FastTree-server-live"
        faults.append(Fault(entry.line, f"{quoted(entry.name)} is no key: {form}"))
        return
    same = entries.setdefault(entry.key, entry)
    if same is not entry:
        both = f"{entry.name} stands at line {same.line} already"
        if same.value == entry.value:
            faults.append(Fault(entry.line, f"{both}: remove one"))
        else:
            faults.append(Fault(entry.line, f"{both}, as {quoted(same.value)}: remove the one that is wrong"))
