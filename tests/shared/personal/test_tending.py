"""The round of a vault's owner: to the end, and again for another key; what is wrong is said once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.shared.files.sealed.keys import new_key_line
from services.shared.files.sealed.own import begin_sealing
from services.shared.files.sealed.settings import SealingSettings
from services.shared.personal.moving import Tended
from services.shared.personal.tending import tend_vault
from services.shared.personal.vault import VaultError


@pytest.fixture(autouse=True)
def _sealed(tmp_path: Path) -> Iterator[None]:
    file = tmp_path / "state.keys"
    file.touch(0o600)
    file.write_text(new_key_line("one"))
    begin_sealing(SealingSettings(key_file=str(file), reload_s=0.001))
    yield
    begin_sealing(SealingSettings())


async def test_what_came_of_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.shared.personal.tending")
    steps: Iterator[Tended | VaultError | None] = iter(
        [
            None,
            VaultError("personal columns: the disk fails"),
            VaultError("personal columns: the disk fails"),
            Tended(200, 0, is_done=False),
            Tended(20, 3, is_done=True),
            Tended(0, 3, is_done=True),
        ]
    )
    is_over = asyncio.Event()

    async def tend() -> Tended | None:
        try:
            step = next(steps)
        except StopIteration:
            is_over.set()
            return None
        if isinstance(step, VaultError):
            raise step
        return step

    task = asyncio.create_task(tend_vault(tend))
    async with asyncio.timeout(60):
        await is_over.wait()
    task.cancel()
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "personal columns",
        "personal columns of 220 members are written anew, sealed as everything is now",
        "personal columns of 3 members are damaged, and stay as they were sealed",
    ]


async def test_without_keys_it_is_over_at_once() -> None:
    begin_sealing(SealingSettings())

    async def tend() -> Tended | None:
        raise AssertionError("there is nothing to tend")

    await tend_vault(tend)
