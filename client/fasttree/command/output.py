"""What a command prints: tables, JSON, lines of progress."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

import click

from fasttree.command.terminal import on_one_line, write_raw
from fasttree.v1 import types_pb2

#: Characters of a bar.
_BAR = 20
#: Before so much time nothing is said of a rate.
_PACE_S = 0.5


def print_json(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One JSON document on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


class Table:
    """A plain table. Columns whose cells are all numbers stand to the right."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Widths come from these rows; `line` keeps them for further ones. Cells are shown on one line."""
        columns, rows = [on_one_line(name) for name in columns], [[on_one_line(cell) for cell in row] for row in rows]
        self._widths = [
            max(len(column), *(len(row[index]) for row in rows)) if rows else len(column)
            for index, column in enumerate(columns)
        ]
        self._right = [bool(rows) and all(_is_number(row[index]) for row in rows) for index in range(len(columns))]
        self.header = self.line(columns)
        self.lines = [self.line(row) for row in rows]

    def line(self, cells: Sequence[str]) -> str:
        """One row as text."""
        return "".join(self.padded(cells)).rstrip()

    def padded(self, cells: Sequence[str]) -> list[str]:
        """The cells of one row, each as wide as its column, with what stands between it and the next."""
        shown = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(map(on_one_line, cells), self._widths, self._right, strict=True)
        ]
        return [f"{cell}  " for cell in shown[:-1]] + shown[-1:]

    def text(self) -> str:
        """Header and rows."""
        return "\n".join([self.header, *self.lines])


def _is_number(cell: str) -> bool:
    return cell == "" or cell.lstrip("-").replace(".", "", 1).isdigit()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows under their columns."""
    click.echo(Table(columns, [[str(cell) for cell in row] for row in rows]).text())


def as_of_text(as_of: types_pb2.AsOf) -> str:
    """What an answer is as of, for people."""
    text = f"as of import {as_of.import_id}, position {as_of.position}"
    if as_of.node:
        text += f" ({as_of.node})"
    if as_of.closed_period:
        text += f", when {as_of.closed_period} was closed"
    if as_of.HasField("fresh_at"):
        age_s = time.time() - as_of.fresh_at.ToNanoseconds() / 1e9
        if age_s > 10:
            text += f"; what came in the last {age_s:.0f} s may be missing"
    return text


class Pace:
    """How fast something goes, and how long it takes yet; begun anew where another thing is done."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._what = ""
        self._begun_s = 0.0
        self._first = self._last = 0

    def told(self, what: str, done: int, whole: int, unit: str) -> str:
        """Such as "12.3 MB/s, 0:42 left"; empty until something can be said. `whole`: 0: nobody knows."""
        now_s = self._now_s()
        if what != self._what or done < self._last:
            self._what, self._begun_s, self._first = what, now_s, done
        self._last = done
        took_s, came = now_s - self._begun_s, done - self._first
        if took_s < _PACE_S or not came:
            return ""
        per_s = came / took_s
        rate = f"{per_s / 1e6:,.1f} MB/s" if unit == "bytes" else f"{per_s:,.0f} {unit}/s"
        return rate if not whole else f"{rate}, {_clock((whole - done) / per_s)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Progress of long work on standard error: one line that renews itself on a terminal, else a line for each step."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._width = 0
        self._step = -1
        self._pace = Pace()

    def percent(self, what: str, done: int, whole: int, unit: str = "bytes", *, lines: bool = True) -> None:
        """So much of so much, with a bar, how fast it goes and how long it takes yet; without a terminal, a line for
        every 25 %, or none."""
        percent = 100 * done // whole if whole else 100
        if self._terminal:
            filled = min(_BAR, _BAR * percent // 100)
            self._renew(f"{what} [{'#' * filled}{'-' * (_BAR - filled)}] {percent} %", what, done, whole, unit)
        elif lines and percent // 25 != self._step:
            self._step = percent // 25
            self.line(f"{what} {percent} %")

    def count(self, what: str, done: int, unit: str) -> None:
        """So many of nobody knows how many, and how fast; nothing without a terminal."""
        if self._terminal:
            self._renew(f"{what} {done:,}", what, done, 0, unit)

    def renew(self, text: str) -> None:
        """A line that takes the place of the one before, on a terminal; nothing elsewhere."""
        if self._terminal:
            self._draw(text)

    def _renew(self, text: str, what: str, done: int, whole: int, unit: str) -> None:
        pace = self._pace.told(what, done, whole, unit)
        self._draw(f"{text}, {pace}" if pace else text)

    def _draw(self, text: str) -> None:
        if not self._quiet:
            shown = on_one_line(text)[: shutil.get_terminal_size().columns - 1]  # a longer one would not be taken away
            write_raw(self._stream, "\r" + shown.ljust(self._width))
            self._stream.flush()
            self._width = len(shown)

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._quiet:
            return
        self.clear()
        self._stream.write(on_one_line(text) + "\n")
        self._stream.flush()

    def clear(self) -> None:
        """Takes the renewing line away."""
        if self._width:
            write_raw(self._stream, "\r" + " " * self._width + "\r")
            self._width = 0
