"""A COBOL picture: how many bytes a field has, and which text stands in them.

    X(12)               text; blanks behind it are none of it, nor are bytes of value 0
    9(9)                a whole number
    9(6)V99             a number with two decimal places, and no point in the file
    S9(7)V99            the same with a sign: over the last digit, as programs write it where they are told nothing
    S9(7) SIGN LEADING SEPARATE    a sign of its own, - or +, before the digits (or TRAILING: behind them)
    S9(7)V99 COMP-3     packed: two digits in a byte, the sign in the last half

A number is told without leading zeros. One that is blank is told as nothing: programs leave fields so that they don't
use.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final, NamedTuple

from services.shared.domain.sentences import quoted_bytes

#: Of one field: more than any that a program has.
BYTES_MAX: Final = 1_024
#: As COBOL has it.
DIGITS_MAX: Final = 31

FORM: Final = (
    "write X(12), 9(9), 9(6)V99 or S9(7)V99; behind a number, COMP-3 or SIGN LEADING SEPARATE or SIGN TRAILING SEPARATE"
)
_PICTURE = re.compile(
    r"(?P<text>(?:X(?:\([0-9]{1,4}\))?)+)"
    r"|(?P<signed>S)?(?P<whole>(?:9(?:\([0-9]{1,2}\))?)*)(?:V(?P<places>(?:9(?:\([0-9]{1,2}\))?)+))?"
    r"(?P<packed> (?:USAGE )?(?:COMP|COMPUTATIONAL)-3)?(?: SIGN (?:IS )?(?P<where>LEADING|TRAILING) SEPARATE)?"
)
_COUNTED = re.compile(r"[X9](?:\(([0-9]+)\))?")

#: The last digit with a sign over it: `{` and A to I are + 0 to 9, `}` and J to R are - 0 to 9, in ASCII and, by its
#: own bytes, in EBCDIC; p to y are - 0 to 9 as some compilers for ASCII write them.
_OVER: Final = {
    **{sign: ("", digit) for digit, sign in enumerate("{ABCDEFGHI")},
    **{sign: ("-", digit) for digit, sign in enumerate("}JKLMNOPQR")},
    **{sign: ("-", digit) for digit, sign in enumerate("pqrstuvwxy")},
    **{sign: ("", digit) for digit, sign in enumerate("0123456789")},
}
_PACKED_MINUS: Final = frozenset("bd")
_PACKED_PLUS: Final = frozenset("acef")


class Sign(Enum):
    NONE = auto()
    OVER_LAST = auto()
    LEADING = auto()
    TRAILING = auto()


class Picture(NamedTuple):
    """One field's picture."""

    is_number: bool
    #: Of a text, its bytes.
    digits: int
    places: int = 0
    sign: Sign = Sign.NONE
    is_packed: bool = False

    @property
    def byte_count(self) -> int:
        if self.is_packed:
            return self.digits // 2 + 1
        return self.digits + (self.sign in (Sign.LEADING, Sign.TRAILING))

    def text_of(self, field: bytes, encoding: str) -> str:
        """The text of a field's bytes, `byte_count` of them. Raises ValueError, which says what is wrong."""
        if self.is_packed:
            return self._decimal(*self._unpacked(field))
        try:
            text = field.decode(encoding)
        except UnicodeDecodeError:
            raise ValueError(f"{quoted_bytes(field)} is not of the layout's encoding: name another one there") from None
        if not self.is_number:
            return text.rstrip(" \0")
        if not text.strip(" \0"):
            return ""
        return self._decimal(*self._signed(text))

    def _signed(self, text: str) -> tuple[str, str]:
        """Sign and digits of a number that is written as text."""
        sign, digits = "", text
        if self.sign is Sign.OVER_LAST:
            sign, last = _OVER.get(text[-1], ("", -1))
            digits = f"{text[:-1]}{last}" if last >= 0 else ""
        elif self.sign is not Sign.NONE:
            mark, digits = (text[0], text[1:]) if self.sign is Sign.LEADING else (text[-1], text[:-1])
            if mark not in "+-":
                raise ValueError(f"{quoted_bytes(text.encode())} has no sign where the picture says so: + or -")
            sign = mark.replace("+", "")
        digits = digits.lstrip(" ")  # what programs write with leading blanks
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"{quoted_bytes(text.encode())} is no number of this picture: correct it, or the layout")
        return sign, digits

    def _unpacked(self, field: bytes) -> tuple[str, str]:
        digits, sign = field.hex()[:-1], field.hex()[-1]
        if not digits.isdigit() or sign not in _PACKED_MINUS | _PACKED_PLUS or int(digits or "0") >= 10**self.digits:
            raise ValueError(f"the bytes {field.hex()} are no packed number of this picture: correct it, or the layout")
        return ("-" if sign in _PACKED_MINUS else ""), digits

    def _decimal(self, sign: str, digits: str) -> str:
        whole, places = digits, ""
        if self.places:
            digits = digits.zfill(self.places + 1)
            whole, places = digits[: -self.places], "." + digits[-self.places :]
        number = (whole.lstrip("0") or "0") + places
        return number if not number.strip("0.") else sign + number


def picture_of(text: str) -> Picture:
    """The picture that a layout names. Raises ValueError, with the mend."""
    found = _PICTURE.fullmatch(" ".join(text.upper().split()))
    if found is None:
        raise ValueError(FORM)
    if found["text"]:
        byte_count = _count(found["text"])
        if not 1 <= byte_count <= BYTES_MAX:
            raise ValueError(f"a text has 1 to {BYTES_MAX:,} bytes")
        return Picture(False, byte_count)
    whole, places = _count(found["whole"]), _count(found["places"] or "")
    if not 1 <= whole + places <= DIGITS_MAX:
        raise ValueError(FORM if not whole + places else f"a number has 1 to {DIGITS_MAX} digits")
    sign = Sign.NONE
    if found["signed"]:
        sign = {None: Sign.OVER_LAST, "LEADING": Sign.LEADING, "TRAILING": Sign.TRAILING}[found["where"]]
    if found["where"] and (found["packed"] or not found["signed"]):
        raise ValueError("a separate sign stands with S9, and not with COMP-3")
    return Picture(True, whole + places, places, sign, found["packed"] is not None)


def _count(text: str) -> int:
    """How many places a run such as 9(4)99 has."""
    return sum(int(each or 1) for each in _COUNTED.findall(text))
