"""Days and numbers as a company's program writes them, turned into the form that imports have."""

from __future__ import annotations

import re
from typing import Final

from services.shared.domain.limits import NUMBER_LENGTH_MAX

DATE_FORMAT_FORM: Final = (
    "write YYYY, MM and DD once each, with / . - or a blank between them or nothing: MM/DD/YYYY, DD.MM.YYYY, YYYYMMDD"
)
DECIMAL_FORM: Final = "write the number 1234.50 as the file has it: 1,234.50 or 1.234,50 or 1 234,50 or 1234,50"

_FORMAT = re.compile(r"(YYYY|MM|DD)([/. -]?)(YYYY|MM|DD)\2(YYYY|MM|DD)")
_PARTS: Final = {"YYYY": "(?P<y>[0-9]{4})", "MM": "(?P<m>[0-9]{1,2})", "DD": "(?P<d>[0-9]{1,2})"}
#: What databases write behind a day.
_MIDNIGHT = r"(?:[ T]00:00(?::00(?:\.0{1,9})?)?)?"
_DECIMAL = re.compile("1([,.' \u00a0\u202f]?)234([.,])50")


class DayFormat:
    """How days are written, such as MM/DD/YYYY; the zero of 03 may be left out, midnight may follow."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, with the mend."""
        found = _FORMAT.fullmatch(text)
        if found is None or len({found[1], found[3], found[4]}) < 3:
            raise ValueError(DATE_FORMAT_FORM)
        self.text = text
        parts = [_PARTS[found[place]] for place in (1, 3, 4)]
        if not found[2]:
            parts = [part.replace("{1,2}", "{2}") for part in parts]
        self._pattern = re.compile(re.escape(found[2]).join(parts) + _MIDNIGHT)
        #: By what the file has: a file has few different days.
        self._known: dict[str, str | None] = {}

    def canonical(self, text: str) -> str | None:
        """YYYY-MM-DD, in the calendar or not; None where it is written otherwise."""
        if text in self._known:
            return self._known[text]
        found = self._pattern.fullmatch(text) if len(text) <= NUMBER_LENGTH_MAX else None
        day = f"{found['y']}-{found['m']:0>2}-{found['d']:0>2}" if found else None
        if len(self._known) < 100_000:
            self._known[text] = day
        return day

    @property
    def problem(self) -> str:
        """What is wrong with a day that is not written so; {value} stands for it."""
        return f"{{value}} is not a day written as {self.text}: correct it, or leave it empty if unknown"


class Notation:
    """How numbers are written: what stands before the decimal places, and what between thousands, if anything."""

    def __init__(self, text: str) -> None:
        """`text`: 1234.50 written so. Raises ValueError, with the mend."""
        found = _DECIMAL.fullmatch(text)
        if found is None or found[1] == found[2]:
            raise ValueError(DECIMAL_FORM)
        self.text = text
        self._thousands, self._point = found[1], found[2]
        grouped = rf"[0-9]{{1,3}}(?:{re.escape(found[1])}[0-9]{{3}})+|" if found[1] else ""
        self._pattern = re.compile(rf"[+-]?(?:{grouped}[0-9]+)(?:{re.escape(found[2])}[0-9]+)?")

    def canonical(self, text: str) -> str | None:
        """The number with a point and nothing between thousands; None where it is written otherwise."""
        if len(text) > NUMBER_LENGTH_MAX or not self._pattern.fullmatch(text):
            return None
        return (text.replace(self._thousands, "") if self._thousands else text).replace(self._point, ".")

    @property
    def problem(self) -> str:
        """What is wrong with a number that is not written so; {value} stands for it."""
        return f"{{value}} is not a number written as {self.text}: correct it"
