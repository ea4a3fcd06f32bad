"""A node's copy of the vault, of a real pusher: what becomes of one that is damaged, another vault's, or moved away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fasttree.v1 import types_pb2
from services.pusher.app import Pusher
from services.shared.personal.vault import FILE_NAME, Cell, Vault
from services.treenode.personal.copy import PersonalCopy
from services.treenode.settings import TreeNodeSettings
from tests.pusher.personal.test_personal_values import declared, records
from tests.pusher.running_pusher import push, running_pusher, stub_of

PHONE = "+46 70 111"


@contextlib.asynccontextmanager
async def following(folder: Path, pusher: Pusher) -> AsyncIterator[PersonalCopy]:
    settings = TreeNodeSettings.of(name="n1", personal_again_s=0.05)
    copy = PersonalCopy(folder, settings, lambda: f"127.0.0.1:{pusher.server.port}", lambda: True)
    run = asyncio.ensure_future(copy.run())
    try:
        yield copy
    finally:
        run.cancel()
        await asyncio.wait([run])
        copy.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60.0):
        while not holds():  # noqa: ASYNC110 - the copy follows by itself
            await asyncio.sleep(0.02)


def damage(file: Path) -> None:
    file.write_bytes(b"no database at all" * 100)


def put_another(file: Path) -> None:
    with contextlib.closing(Vault(file, "another")) as vault:
        vault.put([Cell("b", "phone", "+46 70 222")])


@pytest.mark.parametrize("spoil", [damage, put_another])
async def test_what_can_t_be_followed_is_moved_away_and_copied_anew_without_a_restart(
    tmp_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder, copied = tmp_path / "state", tmp_path / "node" / FILE_NAME
    folder.mkdir()
    copied.parent.mkdir()
    spoil(copied)
    async with running_pusher(folder, personal_follow_s=0.1) as pusher, stub_of(pusher) as stub:
        change = types_pb2.MemberChanged(member_id="a", columns={"phone": PHONE})
        await push(stub, [declared("phone"), types_pb2.Update(update_id="u", member_changed=change)])
        token = (await records(stub))[-1].member_changed.columns["phone"]
        async with following(copied.parent, pusher) as copy:
            await until(lambda: "away" in caplog.text)
            assert copy.revealed([token]) == [""]
            copied.rename(tmp_path / "aside")
            await until(lambda: copy.revealed([token]) == [PHONE])
            copied.rename(tmp_path / "again")  # a good one, too
            await until(copied.exists)
            await until(lambda: copy.revealed([token]) == [PHONE])
