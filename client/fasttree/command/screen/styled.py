"""Text with a meaning, and the meaning's colour where somebody sees colours.

A text is made printable before its colour is put around it, so that nothing of a name or an error is a colour.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple, TextIO

import click

from fasttree.command.output import Table
from fasttree.command.terminal import on_one_line, write_raw


class Style(Enum):
    """What a text means."""

    PLAIN = "plain"
    #: As it should be.
    GOOD = "good"
    #: Worth a look; it may heal by itself.
    LOOK = "look"
    #: It heals by nothing but an operator, or nobody answers.
    BAD = "bad"
    HEAD = "head"
    FAINT = "faint"


_COLOURS: dict[Style, dict[str, Any]] = {
    Style.PLAIN: {},
    Style.GOOD: {"fg": "green"},
    Style.LOOK: {"fg": "yellow"},
    Style.BAD: {"fg": "red", "bold": True},
    Style.HEAD: {"bold": True},
    Style.FAINT: {"dim": True},
}


class Text(NamedTuple):
    """A piece of a line."""

    text: str
    style: Style = Style.PLAIN


Line = Sequence[Text]


def has_colours(stream: TextIO) -> bool:
    """Whether who reads there sees colours: a terminal that knows them, and nobody who said NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in ("", "dumb")


def rendered(line: Line, *, colours: bool) -> str:
    """The line as it is written; to be written as it is (`write_raw`)."""
    if not colours:
        return "".join(on_one_line(piece.text) for piece in line).rstrip()
    return "".join(_coloured(on_one_line(piece.text), piece.style) for piece in line)


def _coloured(text: str, style: Style) -> str:
    return click.style(text, **_COLOURS[style]) if _COLOURS[style] and text else text


def print_lines(lines: Sequence[Line]) -> None:
    """On standard output, each on a line of its own."""
    colours = has_colours(sys.stdout)
    for line in lines:
        write_raw(sys.stdout, rendered(line, colours=colours) + "\n")
    sys.stdout.flush()


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[Text]]) -> list[Line]:
    """A table as lines: the header, then a line a row."""
    table = Table(columns, [[cell.text for cell in row] for row in rows])
    lines: list[Line] = [[Text(table.header, Style.HEAD)]]
    for row in rows:
        cells = table.padded([cell.text for cell in row])
        lines.append([Text(text, cell.style) for text, cell in zip(cells, row, strict=True)])
    return lines
