"""Volumes: exact integers in hundredths inside, decimals with two places for people."""

from __future__ import annotations

import re

from fasttree.client.errors import UpdateFormatError

_AMOUNT = re.compile(r"(-?)([0-9]+)(?:\.([0-9]{1,2}))?")
#: What an update can hold, either way.
_HUNDREDTHS_MAX = 2**63 - 1
_LENGTH_MAX = 40


def to_hundredths(text: str) -> int:
    """12.5, "12.50" or "-3" as hundredths. Raises UpdateFormatError for more than two places: nothing is rounded.

    What an import file takes is taken here, and nothing else.
    """
    match = _AMOUNT.fullmatch(text) if len(text) <= _LENGTH_MAX else None
    if match is None:
        raise UpdateFormatError(
            f"{text[:_LENGTH_MAX]!r} is not an amount: write a number with at most two decimals, such as 12.50"
        )
    sign, whole, places = match.groups()
    hundredths = int(whole) * 100 + int((places or "").ljust(2, "0"))
    if hundredths > _HUNDREDTHS_MAX:
        raise UpdateFormatError(f"{text!r} is out of range: at most {from_hundredths(_HUNDREDTHS_MAX)} either way")
    return -hundredths if sign == "-" else hundredths


def from_hundredths(hundredths: int) -> str:
    """1250 as "12.50"."""
    text = f"{hundredths:03d}" if hundredths >= 0 else f"{hundredths:04d}"
    return f"{text[:-2]}.{text[-2:]}"
