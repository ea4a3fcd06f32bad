"""Imports with personal columns at a pusher: no file of it has the values but the vault, whatever becomes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.pusher.app import Pusher
from services.pusher.imports.intake import ImportIntake, known_columns
from services.shared.serving.errors import InvalidArgumentError, UnavailableError
from tests.pusher.personal.test_personal_values import PHONE, declared
from tests.pusher.running_pusher import push, running_pusher, stub_of

HEADER = "member_id,sponsor_id,kind,status,rank,joined_on,pv,phone"


@pytest.fixture
async def pusher(tmp_path: Path) -> AsyncIterator[Pusher]:
    (tmp_path / "state").mkdir()
    async with running_pusher(tmp_path / "state") as running:
        async with stub_of(running) as stub:
            await push(stub, [declared("phone")])
        yield running


def written(tmp_path: Path, row: str) -> Path:
    file = tmp_path / "members.csv"
    file.write_text(f"{HEADER}\n{row}\n")
    return file


def files_with_phone(tmp_path: Path) -> set[str]:
    found = (file for file in (tmp_path / "state").rglob("*") if file.is_file())
    return {file.name for file in found if PHONE.encode() in file.read_bytes()}


async def test_what_is_taken_has_tokens(pusher: Pusher, tmp_path: Path) -> None:
    file = written(tmp_path, f"a,,distributor,A,0,2026-01-01,0,{PHONE}")
    manifest = await pusher.intake.take(file, "members.csv", 1)
    assert files_with_phone(tmp_path) == {"personal.db"}
    kept = pusher.kept.files.path(manifest).read_text()
    assert kept.splitlines()[1].rpartition(",")[2].startswith("personal:")


async def test_what_is_refused_is_not_kept_as_a_file(pusher: Pusher, tmp_path: Path) -> None:
    file = written(tmp_path, f"a,,distributor,A,0,2026-01-01,0,{PHONE},{PHONE}")
    with pytest.raises(InvalidArgumentError, match=r"line 2: it has 9 fields, the header 8: mend it in the file"):
        await pusher.intake.take(file, "members.csv", 1)
    assert files_with_phone(tmp_path) == set()


async def test_a_column_that_becomes_personal_meanwhile_refuses_the_file(pusher: Pusher, tmp_path: Path) -> None:
    now = known_columns(pusher.door.rules, pusher.personal.vault)
    answers = iter((replace(now, personal=("name",)), now))
    intake = ImportIntake(
        pusher.store,
        pusher.kept,
        pusher.catalog,
        pusher.since_export,
        lambda: next(answers),
        pusher.intake.profiles,
        lambda added: None,
    )
    file = written(tmp_path, f"a,,distributor,A,0,2026-01-01,0,{PHONE}")
    with pytest.raises(UnavailableError, match=r"a column became personal while members\.csv was taken: send it again"):
        await intake.take(file, "members.csv", 1)
    assert files_with_phone(tmp_path) == set()
