"""Amounts of volume: exact integers in hundredths inside, decimals with two places for people."""

from __future__ import annotations

import re
from typing import Final

from services.shared.domain.limits import AMOUNT_MAX


def amount_text(hundredths: int) -> str:
    """1250 as "12.50"."""
    whole, part = divmod(abs(hundredths), 100)
    return f"{'-' if hundredths < 0 else ''}{whole}.{part:02d}"


AMOUNT_FORMAT: Final = "{value} is not a decimal number: write it as 1234.56 or -1234.56"
AMOUNT_PLACES: Final = "{value} has more than two decimal places: round it to hundredths"
AMOUNT_RANGE: Final = f"{{value}} is out of range: at most {amount_text(AMOUNT_MAX)} either way"

_AMOUNT = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?")


def amount_fault(text: str) -> str:
    """Which of these sentences holds for a text of at most NUMBER_LENGTH_MAX characters; none, empty, for an amount."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        return AMOUNT_FORMAT
    whole, fraction = match.groups(default="")
    if int(whole + fraction[:2].ljust(2, "0")) > AMOUNT_MAX:
        return AMOUNT_RANGE
    return AMOUNT_PLACES if len(fraction) > 2 else ""


def amount_problem(hundredths: int) -> str | None:
    """What makes an amount one that can't be posted; None where nothing does."""
    if -AMOUNT_MAX <= hundredths <= AMOUNT_MAX:
        return None
    return AMOUNT_RANGE.format(value=amount_text(hundredths))
