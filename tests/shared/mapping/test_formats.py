"""Days and numbers of other programs become those of imports, or are refused: never something else."""

from __future__ import annotations

import pytest

from services.shared.mapping.formats import DayFormat, Notation


@pytest.mark.parametrize(
    ("form", "text", "day"),
    [
        ("MM/DD/YYYY", "03/14/2024", "2024-03-14"),
        ("MM/DD/YYYY", "3/4/2024", "2024-03-04"),
        ("MM/DD/YYYY", "3/4/2024 00:00:00", "2024-03-04"),
        ("DD.MM.YYYY", "14.03.2024", "2024-03-14"),
        ("YYYY/MM/DD", "2024/03/14T00:00", "2024-03-14"),
        ("YYYYMMDD", "20240314", "2024-03-14"),
        ("DD MM YYYY", "14 03 2024", "2024-03-14"),
        # Whether there is such a day, the reader of imports says.
        ("MM/DD/YYYY", "02/31/2024", "2024-02-31"),
        ("MM/DD/YYYY", "2024-03-14", None),
        ("MM/DD/YYYY", "03/14/24", None),
        ("MM/DD/YYYY", "03.14.2024", None),
        ("MM/DD/YYYY", "03/14/2024 12:30", None),
        ("MM/DD/YYYY", "٠٣/14/2024", None),
        ("MM/DD/YYYY", " 03/14/2024", None),
        ("DD.MM.YYYY", "14x03x2024", None),
        ("YYYYMMDD", "2024314", None),
        ("MM/DD/YYYY", "03/14/2024" + "0" * 5_000, None),
    ],
)
def test_days(form: str, text: str, day: str | None) -> None:
    written = DayFormat(form)
    assert [written.canonical(text) for _ in range(2)] == [day, day]


@pytest.mark.parametrize("form", ["", "MM/DD", "MM/DD/YY", "MM/MM/YYYY", "MM/DD.YYYY", "%m/%d/%Y", "YYYY-MM-DD "])
def test_no_form_of_a_day(form: str) -> None:
    with pytest.raises(ValueError, match="write YYYY, MM and DD once each"):
        DayFormat(form)


@pytest.mark.parametrize(
    ("form", "text", "number"),
    [
        ("1,234.50", "1,234.50", "1234.50"),
        ("1,234.50", "-12,345,678.9", "-12345678.9"),
        ("1,234.50", "1234.50", "1234.50"),
        ("1,234.50", "7", "7"),
        ("1.234,50", "1.234,50", "1234.50"),
        ("1.234,50", "0,5", "0.5"),
        ("1.234,50", "1.234", "1234"),
        ("1 234,50", "1 234,50", "1234.50"),
        ("1'234.50", "1'234.50", "1234.50"),
        ("1234,50", "1234,50", "1234.50"),
        # What would be another number is none.
        ("1.234,50", "12.50", None),
        ("1.234,50", "1.5", None),
        ("1,234.50", "1,23", None),
        ("1,234.50", "1,2345", None),
        ("1,234.50", "12,50", None),
        ("1,234.50", ",234", None),
        ("1,234.50", "1,234.", None),
        ("1234,50", "1.234,50", None),
        ("1,234.50", "1e3", None),
        ("1,234.50", "$1.00", None),
        ("1,234.50", "١", None),
        ("1,234.50", "1" * 41, None),
    ],
)
def test_numbers(form: str, text: str, number: str | None) -> None:
    assert Notation(form).canonical(text) == number


@pytest.mark.parametrize("form", ["", ",", "1,234,50", "1.234.50", "1,234", "1_234.50", "1,234.5", "2,234.50"])
def test_no_form_of_a_number(form: str) -> None:
    with pytest.raises(ValueError, match=r"write the number 1234\.50"):
        Notation(form)
