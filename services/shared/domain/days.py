"""Days of the Gregorian calendar, "YYYY-MM-DD" in the years 1 to 9999, and commission periods, "YYYY-MM"."""

from __future__ import annotations

import datetime
import re
from functools import lru_cache
from typing import Final

from services.shared.domain.limits import NO_DAY
from services.shared.domain.sentences import quoted

DAY_FORMAT: Final = "{value} is not a day: write it as 2026-11-30, or leave it empty if unknown"
DAY_RANGE: Final = "{value} is not in the calendar: correct it, or leave it empty if unknown"
PERIOD_PATTERN: Final = r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])"
PERIOD_FORM: Final = "{value} is not a period: write it as 2026-11"
#: Where none may be named.
PERIOD_FORMAT: Final = f"{PERIOD_FORM}, or leave it empty for the current one"

_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
# Python's own parser takes weeks ("2026-W48-1") too, and \d the digits of every script.
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_PERIOD = re.compile(PERIOD_PATTERN)


@lru_cache(maxsize=65_536)
def day_number(text: str) -> int:
    """Days from 1970-01-01 to a day; NO_DAY for the empty text. Raises ValueError, which says what is wrong."""
    if not text:
        return NO_DAY
    match = _DAY.fullmatch(text)
    if match is None:
        raise ValueError(DAY_FORMAT.format(value=quoted(text)))
    try:
        return datetime.date(*map(int, match.groups())).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise ValueError(DAY_RANGE.format(value=quoted(text))) from None


def day_problem(text: str) -> str | None:
    """What makes a text no day; None for a day, and for the empty text: it is not known."""
    try:
        day_number(text)
    except ValueError as error:
        return str(error)
    return None


def is_period(text: str) -> bool:
    """Whether a text is a commission period."""
    return _PERIOD.fullmatch(text) is not None
