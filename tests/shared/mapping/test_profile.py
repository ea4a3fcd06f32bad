"""A profile says how a file is written, or why it can't be one, in one line with the field."""

from __future__ import annotations

from typing import Any

import pytest

from services.shared.mapping.profile import Profile, ProfileError, parse_profile, profile_of


def test_what_is_left_open_is_as_imports_have_it() -> None:
    assert profile_of() == Profile()
    assert profile_of().is_canonical
    assert not profile_of(separator=";").is_canonical


@pytest.mark.parametrize(("written", "meant"), [(";", ";"), ("|", "|"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t")])
def test_separators(written: str, meant: str) -> None:
    assert profile_of(separator=written).separator == meant


def test_it_is_told_in_one_line() -> None:
    profile = profile_of({"member_id": "ID"}, "tab", "MM/DD/YYYY", "1,234.50")
    assert profile.in_words() == 'member_id=ID, separator "\\x09", days as MM/DD/YYYY, numbers as 1,234.50'
    assert Profile().in_words() == ""


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"separator": "::"}, 'separator: "::" is none'),
        ({"separator": "x"}, "separator: "),
        ({"separator": "\n" * 500}, "separator: "),
        ({"date_format": "MM/DD/YY"}, 'date_format: "MM/DD/YY" is none'),
        ({"decimal": "1.5"}, 'decimal: "1.5" is none'),
        ({"columns": {"": "ID"}}, "columns: "),
        ({"columns": {"x" * 65: "ID"}}, "columns: "),
        ({"columns": {"member_id": " "}}, "columns: member_id"),
        ({"columns": {"member_id": "a\nb"}}, "columns: member_id"),
        ({"columns": {"member_id": "x" * 129}}, "columns: member_id"),
        ({"columns": {"member_id": "A", "Member_ID": "B"}}, "a name that FastTree has stands there twice"),
        ({"columns": {"member_id": "A", "sponsor_id": "a"}}, "a name that the file has stands there twice"),
        ({"columns": {f"c{number}": f"d{number}" for number in range(257)}}, "257 are more than 256"),
    ],
)
def test_what_can_not_be(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ProfileError) as error:
        profile_of(**fields)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a = ", "no TOML: "),
        (b"a = " + b"[" * 9_000 + b"]" * 9_000, "a value in it is none that can be read"),
        (b"a = " + b"9" * 30_000, "a value in it is none that can be read"),
        (b'separator = "\xff"', "it is not UTF-8: save it as UTF-8"),
        (b"x" * 70_000, "a profile is a few lines"),
    ],
)
@pytest.mark.usefixtures("uncollected")
def test_a_file_that_can_not_be_read(content: bytes, told: str) -> None:
    with pytest.raises(ProfileError) as error:
        parse_profile(content)
    assert told in str(error.value)
