"""What numbers on the command line may be: what fits into the API's fields and a clock, written as everywhere."""

from __future__ import annotations

import datetime
import re
from typing import Any

import click

from fasttree.client.calls.retries import SECONDS_MAX

_POSITION_MAX = 2**63 - 1
_COUNT_MAX = 2**31 - 1
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

#: Whatever has so many digits is one.
POSITION_DIGITS_MAX = 18
#: Stands for the log's end, as a position that there is not.
AT_END = -1
# Python itself takes underscores, exponents, blanks and the digits of every script.
_WHOLE = re.compile(r"-?[0-9]{1,40}")
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?")


def _told(least: float | None, most: float | None) -> str:
    """Such as "0.1 to 60", in place of click's formula."""
    return f"{_short(least or 0)} to {_short(most or 0)}"


def _short(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.4f}".rstrip("0").rstrip(".")


class WholeRange(click.IntRange):
    """Whole numbers of a range."""

    def _describe_range(self) -> str:
        return _told(self.min, self.max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As a number of that range."""
        if isinstance(value, str) and not _WHOLE.fullmatch(value):
            self.fail(f"{value[:40]!r} is no whole number: write digits", param, ctx)
        return super().convert(value, param, ctx)


class NumberRange(click.FloatRange):
    """Numbers of a range; neither nan nor inf."""

    def _describe_range(self) -> str:
        return _told(self.min, self.max)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As a number of that range."""
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            self.fail(f"{value[:40]!r} is no number: write digits, with a point or none", param, ctx)
        return super().convert(value, param, ctx)


POSITION = WholeRange(1, _POSITION_MAX)
POSITION_OR_NONE = WholeRange(0, _POSITION_MAX)
COUNT = WholeRange(1, _COUNT_MAX)
COUNT_OR_NONE = WholeRange(0, _COUNT_MAX)
PORT = WholeRange(1, 65_535)
#: A member's rank may be below 0.
RANK = WholeRange(-(2**31), 2**31 - 1)


class Day(click.ParamType[str]):
    """A day as the API writes it."""

    name = "day"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself, once it is known to be one."""
        try:
            if not _DAY.fullmatch(value):
                raise ValueError
            datetime.date.fromisoformat(value)
        except ValueError:
            self.fail(f'"{value}" is not a day: write it as 2026-11-30', param, ctx)
        return value


class SecondsRange(NumberRange):
    """Seconds up to a year."""

    def __init__(self, least_s: float) -> None:
        super().__init__(least_s, SECONDS_MAX)


def parse_position(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """A position, AT_END, or None where nothing is given."""
    if value is None or value == "end":
        return None if value is None else AT_END
    if not (value.isascii() and value.isdigit() and len(value) <= POSITION_DIGITS_MAX):
        raise click.BadParameter(f"{value[:40]!r} is no position: write a number from 0, or end")
    return int(value)
