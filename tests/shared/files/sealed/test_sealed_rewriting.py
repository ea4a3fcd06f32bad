"""A sealed file is written anew by a profile as a clear one is, and nothing of it is clear on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.shared.files.chunks import take_file
from services.shared.files.sealed.keys import new_key_line
from services.shared.files.sealed.names import IMPORT_FILE, MAGIC
from services.shared.files.sealed.own import begin_sealing
from services.shared.files.sealed.settings import SealingSettings
from services.shared.mapping.process import DiskFailed, Done, RewriteRequest, answer
from services.shared.mapping.profile import profile_of
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


def asked(folder: Path, sealing: SealingSettings) -> RewriteRequest:
    return RewriteRequest(
        source=str(folder / "taken"),
        target=str(folder / "written"),
        profile=PROFILE,
        volume_types=["PV"],
        columns={},
        sealing=sealing,
    )


def test_a_sealed_file_is_written_anew_sealed(tmp_path: Path) -> None:
    sealing = SealingSettings(key_file=key_file(tmp_path, "state.keys"))
    (tmp_path / "own.csv").write_bytes(TEXT)
    begin_sealing(sealing)
    size_bytes = len(TEXT)
    take_file(tmp_path / "own.csv", tmp_path / "taken", size_bytes)
    assert answer(asked(tmp_path, sealing)) == Done(rows=1)
    for name in ("taken", "written"):
        data = (tmp_path / name).read_bytes()
        assert data.startswith(MAGIC)
        assert b"quetzal" not in data
    assert content(tmp_path / "taken", IMPORT_FILE) == TEXT
    assert b"quetzal,2026-02-14,1234.50" in content(tmp_path / "written", IMPORT_FILE)


def test_what_can_t_be_opened_is_told_in_words(tmp_path: Path) -> None:
    begin_sealing(SealingSettings(key_file=key_file(tmp_path, "state.keys")))
    (tmp_path / "own.csv").write_bytes(TEXT)
    take_file(tmp_path / "own.csv", tmp_path / "taken", len(TEXT))
    taken = (tmp_path / "taken").read_bytes()
    for sealing, words in (
        (SealingSettings(), "sealed by key one, and no keys are named"),
        (SealingSettings(key_file=key_file(tmp_path, "other.keys")), "sealed by another key one"),
        (SealingSettings(key_file=str(tmp_path / "none")), "No such file"),
    ):
        told = answer(asked(tmp_path, sealing))
        assert isinstance(told, DiskFailed)
        assert words in told.reason
    (tmp_path / "taken").write_bytes(taken[:-1])
    told = answer(asked(tmp_path, SealingSettings(key_file=str(tmp_path / "state.keys"))))
    assert isinstance(told, DiskFailed)
    assert "it was cut" in told.reason or "not what was sealed" in told.reason
    assert not (tmp_path / "written").exists()
