"""Names from outside: none leads out of its folder, and what the client sends is one that the server takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fasttree.client.imports import upload_name
from services.shared.files.names import check_file_name, inside
from services.shared.serving.errors import InvalidArgumentError

GOOD = ["members.csv", "a", "A-Z_09.csv.gz", ".hidden", "...", "..a", "-", "x" * 128]
HOSTILE = [
    "",
    ".",
    "..",
    "../members.csv",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a b",
    "a\n",
    "\na",
    "a\0",
    "é",
    "٣",
    "a:b",
    "~",
    "$HOME",
    "x" * 129,
]


@pytest.mark.parametrize("name", GOOD)
def test_good_names_are_taken(name: str) -> None:
    check_file_name(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_by_field(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="file_name") as caught:
        check_file_name(name, "manifest.file_name")
    assert caught.value.field == "manifest.file_name"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/x", "a/b", "a/", "a\0"])
def test_no_name_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError):
        inside(tmp_path, name)


@pytest.mark.parametrize("name", [*GOOD, "a b", "é\n", "..."])
def test_what_is_one_name_stays_inside(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name).parent == tmp_path
    assert inside(tmp_path, name).resolve().parent == tmp_path.resolve()


@pytest.mark.parametrize("name", [*GOOD, *HOSTILE[1:], "März 2024 (Export).csv.gz", "名" * 80 + ".csv", "é" * 300])
def test_the_client_uploads_under_a_name_that_the_server_takes(name: str) -> None:
    """The client imports nothing of the services: its rule is its own, and fits."""
    check_file_name(upload_name(name))
    assert upload_name(upload_name(name)) == upload_name(name)
    assert name not in GOOD or upload_name(name) == name


def test_a_name_reminds_of_the_files_own() -> None:
    assert upload_name("Mitglieder März 2024.csv.gz") == "Mitglieder_Marz_2024.csv.gz"
    assert upload_name("x" * 200 + ".csv.gz").endswith(".csv.gz")
