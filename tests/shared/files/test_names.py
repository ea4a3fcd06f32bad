"""Names from outside: none leads out of its folder, and client and server take the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fasttree.client.errors import InvalidArgumentError as RefusedByClient
from fasttree.client.imports import Upload, UploadOptions
from fasttree.client.retries import Retries
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


class ReachedError(Exception):
    """The client has no objection."""


class Stub:
    async def GetPusher(self, *_: object, **__: object) -> None:
        raise ReachedError


async def test_the_client_refuses_what_the_server_would(tmp_path: Path) -> None:
    """The client imports nothing of the services: its rule is its own, and the same."""

    async def taken_by_client(name: str) -> bool:
        (tmp_path / name).write_bytes(b"member_id\n")
        stub: Any = Stub()
        try:
            await Upload(stub, "", tmp_path / name, UploadOptions(), None).run(Retries())
        except (RefusedByClient, ReachedError) as error:
            return isinstance(error, ReachedError)
        raise AssertionError("it reached nobody, and was not refused")

    for name in GOOD:
        assert await taken_by_client(name), name
    refused = [name for name in HOSTILE if Path(name).name == name and name not in ("", "..") and "\0" not in name]
    assert len(refused) > 5
    for name in refused:
        assert not await taken_by_client(name), name
