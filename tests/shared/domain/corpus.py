"""Good and bad values of every field of a member and an update: what every door must say of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from services.shared.domain.limits import (
    AMOUNT_MAX,
    COLUMN_NAME_LENGTH_MAX,
    COLUMN_TEXT_BYTES_MAX,
    LEG_MAX,
    MEMBER_ID_LENGTH_MAX,
    RANK_MAX,
    STATUS_LENGTH_MAX,
)


class Field(StrEnum):
    """A field that both an update and a file can set. The last four are further columns, each of its own kind."""

    MEMBER_ID = "member_id"
    SPONSOR_ID = "sponsor_id"
    PLACEMENT_ID = "placement_id"
    PLACEMENT_LEG = "placement_leg"
    KIND = "kind"
    STATUS = "status"
    RANK = "rank"
    JOINED_ON = "joined_on"
    AMOUNT = "pv"
    PERIOD = "period"
    #: The name of a further column, which holds "x".
    COLUMN_NAME = "column_name"
    TEXT = "note"
    INTEGER = "points"
    DECIMAL = "ratio"
    DATE = "since"


@dataclass(frozen=True)
class Case:
    """A value of a field: a text, or the number that an update has there."""

    field: Field
    value: str | int
    good: bool

    def __str__(self) -> str:
        """As pytest names it."""
        return f"{self.field}-{'good' if self.good else 'bad'}-{self.value!r:.40}"


_IDS_GOOD = ("7", "M-7.a/b", "a b", '"7"', "a,b", "~!", "x" * MEMBER_ID_LENGTH_MAX)
_IDS_BAD = (" 7", "7 ", " ", "x" * (MEMBER_ID_LENGTH_MAX + 1), "7\t", "7\0", "\x7f7", "é", "٧", "7\u00a0", "漢")
_DAYS_GOOD = ("2026-11-30", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "1970-01-01", "1969-12-31")
_DAYS_BAD = (
    *("2026-02-30", "2100-02-29", "2023-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "0000-01-01"),
    *("2026-1-31", "2026-W48-1", "2026-366", "20261130", "26-11-30", "2026/11/30", "2026-11-30T00", "2026-11-3O"),
    *("٢٠٢٦-١١-٣٠", "２０２６-11-30", " 2026-11-30", "2026-11-30 ", "+026-11-30", "2026_11_30", "today"),
)
_TEXTS_GOOD = (
    *("", "x", "Zürich", "東京", " a ", "007", 'say "hi"', "a,b", "12'3", "\u00a0", "\ufeff", "’", "⁠", "\u2028"),
    *("\u200e\u05e9\u200f", "می\u200cخواهم", "👩\u200d👧", "\u061c", "©", "\u00ad"),
    *("02134", "SW1A 1AA", "2026-11-30", "1e3", "a\tb", "a\nb", "a\r\nb", "\r", "\n\n", '\n"\n', "\t"),
    *(
        "x" * COLUMN_TEXT_BYTES_MAX,
        '"' * COLUMN_TEXT_BYTES_MAX,
        "\n" * COLUMN_TEXT_BYTES_MAX,
        "é" * (COLUMN_TEXT_BYTES_MAX // 2),
        "x" * 257,
    ),
)
_TEXTS_BAD = (
    *("\0", "a\0b", "a\vb", "a\fb", "\x1b[31m", "\x07", "\x1f", "\x7f"),
    *("x" * (COLUMN_TEXT_BYTES_MAX + 1), "é" * (COLUMN_TEXT_BYTES_MAX // 2 + 1), "x" * 100_000),
)
#: What no door lets in any more, and what a log of an earlier version may hold.
TEXTS_OBEYED = ("\u0080", "a\u0085b", "\u009b31m", "\u009f", "a\u202eb", "\u202a", "\u2066x\u2069", "é\n\u0092")
_NUMBERS_BAD = (
    *("1E1000000", "12E345678", "1e3", "1E-6", "1_000", "٣", "６", "3 ", " 3", "\t3", "1,5", "0x1f", "NaN", "sNaN"),
    *("Infinity", "-inf", "-", "+", ".", "1.", ".5", "1.2.3", "--1", "1-", "9" * 41, "1" + "0" * 5_000),
    "0." + "0" * 60,
)


def cases() -> list[Case]:
    """The whole corpus, but for numbers of further columns."""
    return [
        *_cases(Field.MEMBER_ID, _IDS_GOOD, ("", *_IDS_BAD)),
        *_cases(Field.SPONSOR_ID, ("", *_IDS_GOOD), ("case", *_IDS_BAD)),
        *_cases(Field.PLACEMENT_ID, ("", *_IDS_GOOD), ("case", *_IDS_BAD)),
        *_cases(Field.PLACEMENT_LEG, (0, 1, 2, 70_000, LEG_MAX), (LEG_MAX + 1, 2**32 - 1)),
        *_cases(Field.KIND, (1, 2), (3, 2**31 - 1, -1)),
        *_cases(
            Field.STATUS,
            ("", "A", "a", "A b", " A", "A ", " ", ",", '"', "x" * STATUS_LENGTH_MAX),
            ("x" * (STATUS_LENGTH_MAX + 1), "é", "A\t", "A\0", "\x7f", "\n", "A\u00a0", "漢", "x" * 100_000),
        ),
        *_cases(Field.RANK, (0, 1, RANK_MAX), (-1, RANK_MAX + 1, 2**31 - 1, -(2**31))),
        *_cases(Field.JOINED_ON, ("", *_DAYS_GOOD), _DAYS_BAD),
        *_cases(
            Field.AMOUNT, (0, 1, -1, 1250, -5, 2**31, -(2**31) - 1, 2**62, AMOUNT_MAX, -AMOUNT_MAX), (-AMOUNT_MAX - 1,)
        ),
        *_cases(
            Field.PERIOD,
            ("2026-10", "1999-01", "9999-12"),
            (
                "2026-13",
                "2026-00",
                "0000-01",
                "2026-1",
                "2026-010",
                "26-10",
                "2026_10",
                "2026-10-01",
                "٢٠٢٦-١٠",
                "２０２６-10",
                "x",
            ),
        ),
        *_cases(
            Field.COLUMN_NAME,
            (
                *("city", "größe", "T-shirt size", 'say "hi"', "a,b", "東京", "n" * COLUMN_NAME_LENGTH_MAX, "é" * 64),
                *("a:b", "note:text", "pv:2026-10", ":", "::", "a:", ":b", "a*", "#", "=1+1"),
            ),
            ("n" * (COLUMN_NAME_LENGTH_MAX + 1), "a\0b", "a\x1bb", "a\u202eb", "a\u200bb", "a\u2028b", "n" * 100_000),
        ),
        *_cases(Field.TEXT, _TEXTS_GOOD, _TEXTS_BAD),
    ]


def typed_columns() -> list[Case]:
    """Values of further columns that are declared to be numbers or days."""
    return [
        *_cases(
            Field.INTEGER,
            ("", "0", "7", "-7", "+7", "007", "12.0", "-0", str(2**63 - 1), str(1 - 2**63), "0" * 39 + "1"),
            (*_NUMBERS_BAD, "1.5", str(2**63), str(-(2**63)), "9" * 40),
        ),
        *_cases(
            Field.DECIMAL,
            ("", "0", "7", "-12.5", "+0.25", "0.000001", "1.2500000000", "007.50", "9223372036854.775807"),
            (*_NUMBERS_BAD, "0.0000001", "9223372036854.775808", "9" * 40),
        ),
        *_cases(Field.DATE, ("", *_DAYS_GOOD), _DAYS_BAD),
    ]


def amount_texts() -> dict[str, int | None]:
    """Amounts as files and people write them, in hundredths; None: it is no amount."""
    return {
        **{"0": 0, "7": 700, "0.5": 50, "12.50": 1250, "-12.05": -1205, "007": 700, "-0.00": 0, "-0": 0},
        **{"92233720368547758.07": AMOUNT_MAX, "-92233720368547758.07": -AMOUNT_MAX},
        **dict.fromkeys(("92233720368547758.08", "-92233720368547758.08", "9" * 18, "9" * 400), None),
        **dict.fromkeys(("1.234", "1.000", "1,5", "1,000.00", "1e3", "1E1000000", "NaN", "inf", "Infinity"), None),
        **dict.fromkeys(("-", ".", "1.", ".5", "1.2.3", "--1", "1 0", "1_000", "$1", "٣", "６", "0x1f", "1\0"), None),
        **dict.fromkeys(("+1", "+0.50", " 1", "1 ", "1\t", "\u00a01", "1\n"), None),
    }


def _cases(field: Field, good: tuple[str | int, ...], bad: tuple[str | int, ...]) -> Iterator[Case]:
    yield from (Case(field, value, good=True) for value in good)
    yield from (Case(field, value, good=False) for value in bad)
