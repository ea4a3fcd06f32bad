"""Names of columns, of further ones and of volumes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.domain.columns import (
    COLUMN_NAME_PATTERN,
    holds_obeyed,
    is_column_name,
    is_volume_type,
    obeyed_problem,
    parse_number,
    volume_column,
    volume_type_problem,
)


@given(st.text(max_size=70) | st.text(" a\u200b", max_size=4) | st.characters())
def test_names_are_those_of_the_pattern(name: str) -> None:
    assert is_column_name(name) == (re.fullmatch(COLUMN_NAME_PATTERN, name) is not None)


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("pv:2026-10", ("pv", "2026-10")),
        ("A_1:0001-12", ("A_1", "0001-12")),
        ("A" * 16 + ":2026-10", ("A" * 16, "2026-10")),
        ("A" * 17 + ":2026-10", None),
        ("1V:2026-10", None),
        ("A-B:2026-10", None),
        ("é:2026-10", None),
        (":2026-10", None),
        ("pv:2026-13", None),
        ("pv:0000-12", None),
        ("pv:٢٠٢٦-١٠", None),
        ("pv:2026-10:2026-10", None),
        ("pv", None),
    ],
)
def test_a_volume_column_is_a_type_and_a_period(name: str, opened: tuple[str, str] | None) -> None:
    assert volume_column(name) == opened
    if opened:
        assert is_volume_type(opened[0])


@pytest.mark.parametrize("name", ["GV", "level", "Status", "member_id", "DOWNLINE_COUNT", "volumes", "columns", "kind"])
def test_a_new_volume_type_has_no_name_of_a_column(name: str) -> None:
    assert "is a column that every member has" in str(volume_type_problem(name))
    assert volume_type_problem("PV") is None is volume_type_problem("gv2")
    assert "is no volume type" in str(volume_type_problem("2x"))


@given(st.text() | st.text("a©é’\u2066\u2069\u202d\u202f\u0085\u009f\u00a0\u2080"))
def test_texts_and_their_bytes_are_looked_through_alike(text: str) -> None:
    assert holds_obeyed(text.encode()) == (obeyed_problem(text) is not None)


@pytest.mark.parametrize("text", ["1E1000000", "9" * 1_000_000, "0." + "0" * 1_000_000, "-" * 1_000_000])
@pytest.mark.parametrize("places", [0, 6])
def test_a_number_of_any_length_is_refused_in_few_words(text: str, places: int) -> None:
    with pytest.raises(ValueError, match="is not a number") as refused:
        parse_number(text, places)
    assert len(str(refused.value)) < 200
