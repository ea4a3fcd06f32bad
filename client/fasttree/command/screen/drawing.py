"""A terminal's whole screen, drawn anew in its place, and given back as it was."""

from __future__ import annotations

import shutil
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TextIO

from fasttree.command.screen.styled import Line, Style, Text, has_colours, rendered
from fasttree.command.terminal import on_one_line, write_raw

_ENTER = "\x1b[?1049h\x1b[?25l"  # another screen, without a cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_CUT = "…"


def columns_of(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def fitted(line: Line, width: int) -> Iterator[Line]:
    """The line as it fits: a sentence goes on below, a row of a table is cut."""
    shown = [Text(on_one_line(piece.text), piece.style) for piece in line]
    if sum(columns_of(piece.text) for piece in shown) <= width:
        yield shown
    elif len(shown) == 1 and shown[0].style is not Style.HEAD:
        for part in textwrap.wrap(shown[0].text, width, subsequent_indent="  ") or [""]:
            wrapped = [Text(part, shown[0].style)]
            yield wrapped if columns_of(part) <= width else _cut(wrapped, width)  # it counts characters, not columns
    else:
        yield _cut(shown, width)


def _cut(line: Line, width: int) -> Line:
    left, kept = width - 1, []
    for text, style in line:
        part = text
        while columns_of(part) > left:
            part = part[:-1]
        kept.append(Text(part, style))
        left -= columns_of(part)
        if part != text:
            break
    return [*kept, Text(_CUT, Style.FAINT)]


class Screen:
    """Use it as a context manager: whatever ends it, the terminal is as it was."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colours = has_colours(stream)

    def __enter__(self) -> Self:
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write(_LEAVE)

    def draw(self, lines: Sequence[Line]) -> None:
        """In the place of what was there. What the terminal has no room for is counted in its last line."""
        width, height = shutil.get_terminal_size()
        found = [part for line in lines for part in fitted(line, width)]
        if len(found) > height:
            below = len(found) - height + 1
            found = [*found[: height - 1], [Text(f"{_CUT} {below} lines below: a higher terminal shows them"[:width])]]
        text = "\n".join(rendered(line, colours=self._colours) + _LINE_END for line in found)
        self._write(_HOME + text + _REST)

    def _write(self, text: str) -> None:
        write_raw(self._stream, text)
        self._stream.flush()
