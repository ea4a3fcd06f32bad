"""A sealed file is written anew by a profile as a clear one is, and nothing of it is clear on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.shared.files.chunks import take_file
from services.shared.files.sealed.keys import new_key_line
from services.shared.files.sealed.names import IMPORT_FILE, MAGIC
from services.shared.files.sealed.own import HandedKeys, begin_sealing, keys_to_hand
from services.shared.files.sealed.settings import SealingSettings
from services.shared.mapping.canonical import KnownColumns
from services.shared.mapping.process import Done, NotOpened, RewriteRequest, answer
from services.shared.mapping.profile import profile_of
from services.shared.mapping.runner import rewrite_file
from tests.shared.files.sealed.own_keys import content

TEXT = b"ID;ENROLLED;PV\nquetzal;02/14/2026;1,234.50\n"
PROFILE = profile_of({"member_id": "ID", "joined_on": "ENROLLED", "pv": "PV"}, ";", "MM/DD/YYYY", "1,234.50")


@pytest.fixture(autouse=True)
def _no_keys_afterwards() -> Iterator[None]:
    yield
    begin_sealing(SealingSettings())


def key_file(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text(new_key_line("one"))
    path.chmod(0o600)
    return str(path)


def asked(folder: Path, sealing: HandedKeys) -> RewriteRequest:
    return RewriteRequest(
        source=str(folder / "taken"),
        target=str(folder / "written"),
        profile=PROFILE,
        volume_types=["PV"],
        columns={},
        sealing=sealing,
    )


def handed(key_file: str) -> HandedKeys:
    """What a process by that file of keys hands on; this one is it from then on."""
    begin_sealing(SealingSettings(key_file=key_file))
    return keys_to_hand()


def take(folder: Path) -> None:
    """TEXT, as the process that goes by `state.keys` takes it in."""
    (folder / "own.csv").write_bytes(TEXT)
    take_file(folder / "own.csv", folder / "taken", len(TEXT))


def test_a_sealed_file_is_written_anew_sealed(tmp_path: Path) -> None:
    keys = handed(key_file(tmp_path, "state.keys"))
    take(tmp_path)
    assert answer(asked(tmp_path, keys)) == Done(rows=1)
    for name in ("taken", "written"):
        data = (tmp_path / name).read_bytes()
        assert data.startswith(MAGIC)
        assert b"quetzal" not in data
    assert content(tmp_path / "taken", IMPORT_FILE) == TEXT
    assert b"quetzal,2026-02-14,1234.50" in content(tmp_path / "written", IMPORT_FILE)


async def test_what_becomes_of_the_file_of_keys_is_nothing_to_it(tmp_path: Path) -> None:
    """The process that has started it goes on with the keys that it has, and so an import does."""
    file = key_file(tmp_path, "state.keys")
    handed(file)
    take(tmp_path)
    Path(file).unlink()
    await rewrite_file(tmp_path / "taken", tmp_path / "written", PROFILE, KnownColumns(["PV"], {}))
    assert b"quetzal,2026-02-14,1234.50" in content(tmp_path / "written", IMPORT_FILE)


def test_what_can_t_be_opened_is_told_in_words(tmp_path: Path) -> None:
    other = handed(key_file(tmp_path, "other.keys"))
    keys = handed(key_file(tmp_path, "state.keys"))
    take(tmp_path)
    taken = (tmp_path / "taken").read_bytes()
    for sealing, words in (
        (HandedKeys(), "sealed by key one, and no keys are named"),
        (other, "sealed by another key one than the one in sealing.key_file"),
    ):
        told = answer(asked(tmp_path, sealing))
        assert isinstance(told, NotOpened)
        assert words in told.reason
    (tmp_path / "taken").write_bytes(taken[:-1])
    told = answer(asked(tmp_path, keys))
    assert isinstance(told, NotOpened)
    assert "it was cut" in told.reason or "not what was sealed" in told.reason
    assert not (tmp_path / "written").exists()


def test_keys_that_are_handed_on_are_in_no_representation(tmp_path: Path) -> None:
    file = Path(key_file(tmp_path, "state.keys"))
    told = repr(asked(tmp_path, handed(str(file))))
    assert str(file) in told
    assert file.read_text().split()[1] not in told
