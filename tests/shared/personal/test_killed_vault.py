"""The vault's owner, killed at each moment of an erasure and of a rotation; a disk full at each page of both."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from services.shared.files.sealed.own import keys_for_now
from services.shared.personal.needed import values_by_key
from services.shared.personal.vault import FILE_NAME, Cell, Vault, VaultError
from services.shared.python_process import python_command
from tests.shared.files.moments import moments, put_back
from tests.shared.files.sealed.own_keys import keys
from tests.shared.personal.killed import ERASED, OTHERS, filled, opened

PAGE_BYTES = 4096
ONE, TWO = keys("one"), keys("two", "one")


def stored_in(folder: Path) -> set[bytes]:
    """What the file has of each value and salt: so much that it is known again."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        rows = db.execute("SELECT value FROM kept UNION ALL SELECT salt FROM salts").fetchall()
    return {(each.encode() if isinstance(each, str) else each)[-16:] for (each,) in rows}


def assert_none_in(folder: Path, pieces: set[bytes]) -> None:
    data = b"".join(file.read_bytes() for file in folder.iterdir())
    assert not any(piece in data for piece in pieces)


def tend_to_the_end(vault: Vault) -> None:
    while not (found := vault.tend()).is_done:
        assert found.damaged == 0


@contextmanager
def room(size_bytes: int) -> Iterator[None]:
    """No file has room behind that byte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Started:
    """A vault with somebody to erase among others."""

    def __init__(self, folder: Path) -> None:
        vault = filled(folder)
        self.others, self.erased = vault.tokens(OTHERS), vault.tokens(ERASED)
        vault.close()
        self.of_others = stored_in(folder)

    def check(self, vault: Vault, *, is_erased: bool) -> None:
        assert vault.revealed(self.others) == [each.value for each in OTHERS]
        assert vault.revealed(self.erased) == ["" if is_erased else each.value for each in ERASED]
        assert (vault.erasure("anna-1") is not None) == is_erased


@pytest.mark.parametrize("how", ["clear", "sealed"])
def test_an_erasure_that_is_killed_was_done_or_not_and_loses_nobody_else_s(tmp_path: Path, how: str) -> None:
    state = tmp_path / "state"
    with keys_for_now(ONE if how == "sealed" else None):
        started = Started(state)
        found = moments(python_command("tests.shared.personal.killed", "erase", str(state), how), state)
        pieces = started.of_others - stored_in(state)
        done = 0
        for number, left in enumerate(found):
            folder = tmp_path / str(number)
            put_back(left, folder)
            vault = Vault(folder / FILE_NAME)
            is_done = vault.erasure("anna-1") is not None
            started.check(vault, is_erased=is_done)
            assert vault.not_logged() == ([("e-1", "anna-1")] if is_done else [])
            if not is_done:
                vault.erase("anna-1", "e-2")
            started.check(vault, is_erased=True)
            vault.close()
            assert_none_in(folder, pieces)
            done += is_done
    assert len(pieces) == len(ERASED) + 1
    assert 0 < done < len(found)


@pytest.mark.parametrize("how", ["clear", "sealed"])
def test_a_rotation_that_is_killed_goes_on_and_leaves_nothing_of_before(tmp_path: Path, how: str) -> None:
    state = tmp_path / "state"
    with keys_for_now(ONE if how == "sealed" else None):
        started = Started(state)
        with closing(Vault(state / FILE_NAME)) as vault:
            vault.erase("anna-1", "e-1")
        found = moments(python_command("tests.shared.personal.killed", "rotate", str(state), how), state)
    with keys_for_now(TWO):
        for number, left in enumerate(found):
            folder = tmp_path / str(number)
            put_back(left, folder)
            vault = Vault(folder / FILE_NAME)
            started.check(vault, is_erased=True)
            assert_none_in(folder, started.of_others - stored_in(state) - stored_in(folder))
            tend_to_the_end(vault)
            started.check(vault, is_erased=True)
            vault.close()
            assert [file.name for file in folder.iterdir()] == [FILE_NAME]
            assert values_by_key(folder) == {"two": len(OTHERS)}
            assert_none_in(folder, started.of_others)


def test_a_full_disk_keeps_an_erasure_and_a_rotation_from_being_done_and_harms_nothing(tmp_path: Path) -> None:
    """Whichever of the files it is that gets no more room, and at which page."""
    state = tmp_path / "state"
    with keys_for_now(ONE):
        started = Started(state)
        pages = (state / FILE_NAME).stat().st_size // PAGE_BYTES
    erasures: list[str] = []
    rotations: list[str] = []
    for number in range(pages + 4):
        folder = tmp_path / str(number)
        shutil.copytree(state, folder)
        with keys_for_now(ONE), closing(opened(folder)) as vault:
            is_erased = True
            with room(number * PAGE_BYTES + 100):
                try:
                    vault.erase("anna-1", "e-1")
                except VaultError as error:
                    erasures.append(str(error))
                    is_erased = False
            started.check(vault, is_erased=is_erased)
            if not is_erased:
                vault.erase("anna-1", "e-2")
        with keys_for_now(TWO), closing(opened(folder)) as vault:
            with room(number * PAGE_BYTES + 100):
                try:
                    tend_to_the_end(vault)
                except VaultError as error:
                    rotations.append(str(error))
            started.check(vault, is_erased=True)
            tend_to_the_end(vault)
            started.check(vault, is_erased=True)
        assert [file.name for file in folder.iterdir()] == [FILE_NAME]
        assert_none_in(folder, started.of_others)
    for refused in (erasures, rotations):
        assert 0 < len(refused) < pages + 4
        assert all(each.endswith("make room there") for each in refused), refused


def test_a_vault_is_written_anew_without_being_held_in_memory(tmp_path: Path) -> None:
    size_bytes = 24_000_000
    with keys_for_now(ONE), closing(Vault(tmp_path / FILE_NAME)) as vault:
        vault.follow_key()
        vault.put([Cell(f"m-{of // 10}", f"c-{of % 10}", "x" * 4_000) for of in range(size_bytes // 4_000)])
    command = python_command("tests.shared.personal.killed", "rotate much", str(tmp_path), "sealed")
    grew_bytes = int(subprocess.check_output(command))
    assert grew_bytes < size_bytes // 3
    assert values_by_key(tmp_path) == {"two": size_bytes // 4_000}


def test_the_file_beside_it_is_its_owner_s_alone_and_has_no_name(tmp_path: Path) -> None:
    """But for a moment, in which it is empty."""
    state = tmp_path / "state"
    with keys_for_now(ONE):
        filled(state).close()
        found = moments(python_command("tests.shared.personal.killed", "rotate", str(state), "sealed"), state)
    beside = [{name: left[name] for name in left if name.startswith("etilqs_")} for left in found]
    assert {content for each in beside for content in each.values()} == {b""}
    (left,) = [left for left, names in zip(found, beside, strict=True) if names][:1]
    put_back(left, tmp_path / "killed")
    (tmp_path / "killed" / "etilqs_mine").write_text("somebody else's")
    with keys_for_now(ONE):
        Vault(tmp_path / "killed" / FILE_NAME).close()
    assert not set(beside[found.index(left)]) & {file.name for file in (tmp_path / "killed").iterdir()}
    assert (tmp_path / "killed" / "etilqs_mine").exists()
