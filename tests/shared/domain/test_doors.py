"""Every door says the same of a value: it takes it, and it comes out equal, or it refuses it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.shared.domain.columns import obeyed_problem
from services.shared.domain.limits import LEG_MAX, RANK_MAX
from tests.shared.domain.corpus import TEXTS_OBEYED, Case, Field, cases, typed_columns
from tests.shared.domain.doors import CONFIG, FILE_DOORS, UPDATE_DOORS, Value

#: Fields whose values a Parquet file may have as numbers; the others are texts there anyway.
_TYPED = (Field.RANK, Field.PLACEMENT_LEG, Field.AMOUNT)


def _doors(field: Field) -> dict[str, Any]:
    doors = {**UPDATE_DOORS, **FILE_DOORS}
    if field not in _TYPED:
        del doors["typed parquet"]
    return doors


def _said(field: Field, value: Value) -> dict[str, Value | None]:
    said = {name: door(field, value) for name, door in _doors(field).items()}
    if field is Field.PLACEMENT_LEG and value == 0:
        # No leg: an update leaves the choice to the tree, in a file there is none.
        assert said == {name: 1 if name in UPDATE_DOORS else 0 for name in said}
        return dict.fromkeys(said, 0)
    return said


@pytest.mark.parametrize("case", cases(), ids=str)
def test_every_door_says_the_same_of_the_corpus(case: Case) -> None:
    assert set(_said(case.field, case.value).values()) == {case.value if case.good else None}


@pytest.mark.parametrize("text", TEXTS_OBEYED, ids=ascii)
def test_what_a_terminal_would_obey_comes_in_nowhere_and_stays_where_a_log_has_it(text: str) -> None:
    said = {name: door(Field.TEXT, text) for name, door in _doors(Field.TEXT).items()}
    assert {name for name, value in said.items() if value is None} == said.keys() - {"applied", "applied later"}
    assert {said[name] for name in ("applied", "applied later")} == {text}


@pytest.mark.parametrize("case", typed_columns(), ids=str)
def test_columns_of_numbers_and_days_are_taken_as_they_are_written_or_refused(case: Case) -> None:
    for door in (*UPDATE_DOORS.values(), FILE_DOORS["csv"], FILE_DOORS["parquet"]):
        said = door(case.field, case.value)
        assert (said is not None) == case.good
        if said is not None and case.field is not Field.DATE and case.value:
            assert Decimal(said) == Decimal(case.value)
        elif said is not None:
            assert said == case.value


_ALPHABET = st.sampled_from("aZ09 ~!\"',;-_./:\t\n\r\0\x1b\x7f\u00a0\u0085é٣漢\u2028\u202e\ufeff😀")
_TEXT = st.text(_ALPHABET, max_size=40) | st.text(max_size=40) | st.text("0123456789-", max_size=12)
_LONG = st.builds(lambda letter, count: letter * count, _ALPHABET, st.integers(250, 1100))
_FIELDS: dict[Field, st.SearchStrategy[Value]] = {
    Field.MEMBER_ID: _TEXT,
    Field.SPONSOR_ID: _TEXT,
    Field.PLACEMENT_ID: _TEXT,
    Field.PLACEMENT_LEG: st.integers(1, 2**32 - 1) | st.integers(LEG_MAX - 2, LEG_MAX + 2),
    Field.KIND: st.integers(1, 4),
    Field.STATUS: _TEXT | st.text("A b", max_size=18),
    Field.RANK: st.integers(-(2**31), 2**31 - 1) | st.integers(RANK_MAX - 2, RANK_MAX + 2),
    Field.JOINED_ON: _TEXT | st.dates().map(str) | st.from_regex(r"\d{4}-\d\d-\d\d", fullmatch=True),
    Field.AMOUNT: st.integers(-(2**63), 2**63 - 1),
    Field.PERIOD: _TEXT | st.from_regex(r"\d{4}-\d\d", fullmatch=True),
    Field.COLUMN_NAME: _TEXT,
    Field.TEXT: _TEXT | _LONG,
}
#: Who and what is there already under the names that might be drawn.
_TAKEN = {"1", "case", "before", "after", *CONFIG.open_periods}


@pytest.mark.parametrize("field", _FIELDS, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_door_says_the_same_of_what_is_drawn(field: Field, data: st.DataObject) -> None:
    value = data.draw(_FIELDS[field])
    assume(value not in _TAKEN)
    if field in (Field.COLUMN_NAME, Field.PERIOD):
        # A header's names are read without the blanks around them, and an empty period has no place there.
        assume(value == str(value).strip() != "")
    if field is Field.COLUMN_NAME:
        assume(str(value).lower() not in ("level", "gv", "pv", "*"))
    if field is Field.TEXT:
        assume(obeyed_problem(str(value)) is None)
    said = _said(field, value)
    assert set(said.values()) in ({value}, {None})
