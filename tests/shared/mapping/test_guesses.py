"""What a file looks like is offered where it is sure, asked where it is not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from services.shared.mapping.canonical import KnownColumns
from services.shared.mapping.guesses import Guessed, guess
from services.shared.mapping.profile import Profile, profile_of
from tests.newcomer_file import NAMES, newcomer_csv

HEADER = "member_id,sponsor_id,status,rank,joined_on,pv"


def _guess(content: str | bytes, folder: Path, profile: Profile | None = None, **known: object) -> Guessed:
    (folder / "own").write_bytes(content.encode() if isinstance(content, str) else content)
    return guess(folder / "own", profile or Profile(), KnownColumns(**known))  # type: ignore[arg-type]


@pytest.mark.parametrize("packed", [False, True])
def test_a_newcomers_file_is_seen_through(packed: bool, tmp_path: Path) -> None:
    content = newcomer_csv()
    found = _guess(gzip.compress(content, mtime=0) if packed else content, tmp_path)
    assert found.profile == profile_of(NAMES, ";", "MM/DD/YYYY", "1,234.50")
    assert [each.option for each in found.guesses][:2] == ["--separator ';'", "--map member_id=DISTRIBUTOR_ID"]
    assert found.guesses[1].says == "DISTRIBUTOR_ID looks like member_id"


def test_a_file_of_the_form_of_imports_gives_none(tmp_path: Path) -> None:
    assert _guess(f"\ufeff{HEADER.upper()}\r\n1,,A,1,2024-03-14,1.50\r\n", tmp_path) == Guessed(Profile())


def test_what_somebody_said_is_not_guessed(tmp_path: Path) -> None:
    said = profile_of({"member_id": "REP"}, ";", "DD/MM/YYYY", "1.234,50")
    content = "REP;DISTRIBUTOR_ID;sponsor_id;status;rank;joined_on;pv\n1;2;;A;1;03/04/2024;1,50\n"
    assert _guess(content, tmp_path, said) == Guessed(said)


@pytest.mark.parametrize(
    ("day", "option"),
    [
        ("14.03.2024", "--date-format DD.MM.YYYY"),
        ("14/03/2024", "--date-format DD/MM/YYYY"),
        ("03/14/2024", "--date-format MM/DD/YYYY"),
        ("20240314", "--date-format YYYYMMDD"),
        ("03/04/2024", ""),
    ],
)
def test_days(day: str, option: str, tmp_path: Path) -> None:
    (found,) = _guess(f"{HEADER}\n1,,A,1,{day},1\n", tmp_path).guesses
    assert found.option == option
    assert option or found.says.endswith("could be MM/DD/YYYY or DD/MM/YYYY: say which, by --date-format")


@pytest.mark.parametrize(
    ("number", "option"),
    [
        ('"1,234.50"', "--decimal 1,234.50"),
        ('"12,50"', "--decimal 1.234,50"),
        ("1'234.50", "--decimal '1'\"'\"'234.50'"),
        ("1 234", "--decimal '1 234,50'"),
    ],
)
def test_numbers(number: str, option: str, tmp_path: Path) -> None:
    (found,) = _guess(f"{HEADER}\n1,,A,1,,{number}\n2,,A,1,,7\n", tmp_path).guesses
    assert found.option == option


def test_values_that_nothing_explains_are_left_to_the_check(tmp_path: Path) -> None:
    assert _guess(f"{HEADER}\n1,,A,1,soon,much\n", tmp_path) == Guessed(Profile())


def test_a_column_is_taken_once_and_none_that_has_its_name(tmp_path: Path) -> None:
    found = _guess("ID,MEMBER_ID,Upline,STATUS,Title Rank,Join Date,QV\n1,2,,A,1,,5\n", tmp_path, volume_types=("QV",))
    assert found.profile.columns == {"sponsor_id": "Upline", "rank": "Title Rank", "joined_on": "Join Date"}


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"PAR1\0\0", bytes(range(256)), gzip.compress(b"a;b\n" * 9, mtime=0)[:-9]]
)
def test_what_is_no_csv_is_left_to_whoever_reads_it(content: bytes, tmp_path: Path) -> None:
    assert _guess(content, tmp_path).profile.columns == {}
