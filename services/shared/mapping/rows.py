"""The rows of a CSV file with any separator: which lines belong together, and what their fields are.

The rule is that of the reader of imports (`services/treenode/imports/reading/kernels/lines.py`), so each row begins on
the line that it names: line breaks in quotes belong to the field, a quote that somebody forgot costs its own line only.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from services.shared.domain.limits import COLUMN_TEXT_BYTES_MAX
from services.shared.packing import Unpacked, opened

QUOTES_WRONG: Final = "its quotes can't be read: close each quote that begins a field, and double those inside"

_CHUNK_BYTES = 1 << 20
#: As the reader of imports has it.
_ROW_CHARACTERS_MAX = 1 << 20
#: How far a quoted field may go: twice the longest text, whose quotes are doubled.
_QUOTED_CHARACTERS_MAX = 2 * COLUMN_TEXT_BYTES_MAX + 2
#: Enough to see what stands behind it, too.
_AHEAD_CHARACTERS = _QUOTED_CHARACTERS_MAX + 4
_QUOTED = re.compile(r'"(?:[^"]|"")*+"')


class RowTooLongError(Exception):
    """No row ends within a length that a row may have. One line, with the mend."""


class Row(NamedTuple):
    """One row, the header among them. Bytes that are no UTF-8 are surrogates, as `surrogateescape` has it."""

    #: The line that it begins on, from 1.
    line: int
    #: As it stands in the file, with its line end.
    text: str
    fields: list[str]
    #: What keeps its fields from being read; empty where nothing does.
    problem: str = ""


@contextlib.contextmanager
def open_unpacked(path: Path) -> Iterator[Unpacked]:
    """A file's bytes, unpacked where it is packed. Raises OSError, then and while it is read; PackingError is one."""
    with path.open("rb") as file:
        yield opened(file)


def read_rows(file: Unpacked, separator: str) -> Iterator[Row]:
    """Every row, empty lines among them. Raises RowTooLongError."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    text, at, line, is_end = "", 0, 1, False
    while True:
        found = _cut(text, at, separator, is_end)
        if found is not None:
            end, fields, problem = found
            row = text[at:end]
            yield Row(line, row, fields, problem)
            line += row.count("\n")
            at = end
            continue
        if is_end:
            return
        if len(text) - at > _ROW_CHARACTERS_MAX:
            raise RowTooLongError(
                f"line {line}: it is longer than {_ROW_CHARACTERS_MAX:,} characters: look for missing line ends"
            )
        more = file.read(_CHUNK_BYTES)
        is_end = not more
        text, is_first = text[at:] + decoder.decode(more, is_end), line == 1 and not at
        text, at = text.removeprefix("\ufeff") if is_first else text, 0


def _cut(text: str, at: int, separator: str, is_end: bool) -> tuple[int, list[str], str] | None:
    """(end, fields, problem) of the row that begins there; None where the text ends before that is known."""
    end = text.find("\n", at)
    if end < 0:
        if not is_end or at >= len(text):
            return None
        end = len(text)
    if text.find('"', at, end) >= 0:
        return _cut_quoted(text, at, separator, is_end)
    stop = end - 1 if end > at and text[end - 1] == "\r" else end
    return end + 1, text[at:stop].split(separator), ""


def _cut_quoted(text: str, at: int, separator: str, is_end: bool) -> tuple[int, list[str], str] | None:
    fields: list[str] = []
    problem = ""
    while True:
        if text.startswith('"', at):
            if not is_end and len(text) < at + _AHEAD_CHARACTERS:
                return None
            quoted = _QUOTED.match(text, at, at + _QUOTED_CHARACTERS_MAX)
            if quoted is None or not _ends_field(text, quoted.end(), separator):
                end = text.find("\n", at)
                return None if end < 0 and not is_end else ((end + 1) or len(text), fields, QUOTES_WRONG)
            fields.append(text[at + 1 : quoted.end() - 1].replace('""', '"'))
            at = quoted.end()
        else:
            stop = _end_of_plain(text, at, separator)
            if stop == len(text) and not is_end:
                return None
            field = text[at:stop]
            problem = QUOTES_WRONG if '"' in field else problem
            fields.append(field if text.startswith(separator, stop) else field.removesuffix("\r"))
            at = stop
        if text.startswith(separator, at):
            at += 1
            continue
        return at + (2 if text.startswith("\r\n", at) else 1), fields, problem


def _ends_field(text: str, at: int, separator: str) -> bool:
    return at == len(text) or text[at] in (separator, "\n") or text.startswith("\r\n", at) or text[at:] == "\r"


def _end_of_plain(text: str, at: int, separator: str) -> int:
    newline, end = text.find("\n", at), text.find(separator, at)
    ends = [place for place in (newline, end) if place >= 0]
    return min(ends, default=len(text))
