"""What numbers on the command line may be: no more than fits into the API's fields and a clock."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

import click

_POSITION_MAX = 2**63 - 1
_COUNT_MAX = 2**31 - 1
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YEAR_S = 366.0 * 86_400

#: Whatever has so many digits is one.
POSITION_DIGITS_MAX = 18

POSITION = click.IntRange(1, _POSITION_MAX)
POSITION_OR_NONE = click.IntRange(0, _POSITION_MAX)
COUNT = click.IntRange(1, _COUNT_MAX)
COUNT_OR_NONE = click.IntRange(0, _COUNT_MAX)
PORT = click.IntRange(1, 65_535)
#: A member's rank may be below 0.
RANK = click.IntRange(-(2**31), 2**31 - 1)


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


class SecondsRange(click.FloatRange):
    """Seconds up to a year; neither nan nor inf."""

    def __init__(self, least_s: float) -> None:
        super().__init__(least_s, _YEAR_S)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As a number of that range."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds
