"""Names from outside: none leads out of its folder, and what the client sends is one that the server takes."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from fasttree.client.imports import upload_name
from services.shared.files.names import check_file_name, file_name_problem, fit_file_name, inside
from services.shared.serving.errors import InvalidArgumentError

GOOD = [
    *("members.csv", "a", "A-Z_09.csv.gz", ".hidden", "...", "..a", "-", "x" * 200),
    *(
        "a b",
        " a ",
        "Mitglieder März 2024 (Export).csv.gz",
        "Ma\u0308rz.csv",
        "名" * 66,
        "٣",
        "a:b",
        "~",
        "$HOME",
        "`id`",
    ),
    *("Export\u202f10\xa0Uhr.csv", "می\u200cخواهم.csv", "👩\u200d💻.csv"),
]
HOSTILE = [
    "",
    ".",
    "..",
    "../members.csv",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\n",
    "\na",
    "a\0",
    "a\x1b[2J",
    "a\x7f",
    "a\x9b2J",
    "a\u2028b",
    "a\u202ecsv.exe",
    "a\u2066b",
    "\udcff.csv",
    "x" * 201,
    "名" * 67,
    "x" * 5_000_000,
]


@pytest.mark.parametrize("name", GOOD)
def test_good_names_are_taken(name: str) -> None:
    check_file_name(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_by_field(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="file_name") as caught:
        check_file_name(name, "manifest.file_name")
    assert len(str(caught.value)) < 250
    assert "\x1b" not in str(caught.value)
    assert caught.value.field == "manifest.file_name"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/b", "a/", "a\0"])
def test_no_name_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", [*GOOD, "é\n"])
def test_what_is_one_name_stays_inside(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name).parent == tmp_path
    assert inside(tmp_path, name).resolve().parent == tmp_path.resolve()


@pytest.mark.parametrize("name", [*GOOD, *HOSTILE[1:], "名" * 80 + ".csv", "é" * 300, "e\u0301" * 300])
def test_the_client_uploads_under_a_name_that_the_server_takes(name: str) -> None:
    """The client imports nothing of the services: its rule is its own, and fits."""
    check_file_name(upload_name(name))
    assert upload_name(upload_name(name)) == upload_name(name)
    assert name not in GOOD or upload_name(name) == unicodedata.normalize("NFC", name)


def test_a_name_reminds_of_the_files_own() -> None:
    assert upload_name("Mitglieder Ma\u0308rz 2024.csv.gz") == "Mitglieder März 2024.csv.gz"
    assert upload_name("a\x1b[2J/b.csv") == "a_[2J_b.csv"
    assert upload_name("x" * 200 + ".csv.gz").endswith(".csv.gz")


@pytest.mark.parametrize("name", [*GOOD, *HOSTILE])
def test_what_is_refused_is_kept_under_a_name_that_fits(name: str) -> None:
    fit = fit_file_name(name)
    assert file_name_problem(fit) is None
    assert not fit.startswith(".")
    assert fit == name or name in HOSTILE or name.startswith(".")
