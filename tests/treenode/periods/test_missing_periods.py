"""A state of a closed period that is damaged, or could not be written: fetched from a peer, or made anew."""

from __future__ import annotations

import asyncio
import errno
import shutil
from pathlib import Path

import grpc
import grpc.aio
import pytest

from services.treenode.snapshots import state_writing
from services.treenode.snapshots.background_write import BackgroundWrite, BackgroundWriteError
from tests.fakes.coordinator import fake_coordinator
from tests.fakes.pusher import fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.treenode.periods.test_closed_periods import AFTER, OCTOBER, THEN, follow, kept_of, refused, volumes
from tests.treenode.running_node import running_node
from tests.waiting import until


@pytest.mark.parametrize("has_peer", [True, False])
async def test_a_damaged_file_is_set_aside_and_made_good(tmp_path: Path, has_peer: bool) -> None:
    async with fake_pusher() as pusher, fake_coordinator() as coordinator:
        pusher.updates = [*OCTOBER, *AFTER]
        async with running_node(tmp_path / "1", coordinator=coordinator.address) as node:
            await follow(node, pusher)
        for path in (tmp_path / "1" / "snapshots").glob("*.snapshot"):
            path.unlink()  # what is behind the closing is of no use
        peers = running_node(tmp_path / "2", name="n2", coordinator=coordinator.address if has_peer else "")
        async with peers as peer:
            await follow(peer, pusher)
            await peer.periods.writes_ended()
            (path,) = (tmp_path / "1" / "periods").glob("2026-10*.period")
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            async with running_node(tmp_path / "1", coordinator=coordinator.address) as node:
                await follow(node, pusher)
                await until(lambda: node.runner.core.life.ready, "the node")

                async def answers() -> bool:
                    try:
                        return await volumes(node, timeout_s=5) == THEN
                    except grpc.aio.AioRpcError:
                        return False  # it is being looked for

                await until(answers, "October to be there again")
                aside = {each.name for each in (tmp_path / "1" / "periods" / "aside").iterdir()}
                assert path.name in aside
                assert len(aside) == 2


async def test_a_full_disk_ends_nothing_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = True

    class Disk(BackgroundWrite):
        async def finished(self, timeout_s: float) -> None:
            await super().finished(timeout_s)
            if full:
                raise BackgroundWriteError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_writing, "BackgroundWrite", Disk)
    async with fake_pusher() as pusher, running_node(tmp_path) as node:
        pusher.updates = list(OCTOBER)
        async with Stream(node, pusher) as stream:
            await stream.hello()
            await stream.send(range(1, len(OCTOBER) + 1))
            await until(lambda: node.periods.core.problems, "the disk to be full")
            code, text = await refused(node, "2026-10")
            assert (code, "No space left" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
            assert list((tmp_path / "periods").glob("*.part")) == []
            pusher.updates += AFTER
            await stream.send(range(len(OCTOBER) + 1, len(pusher.updates) + 1))
            full = False
            await until(lambda: node.periods.core.held.keys() == {"2026-10", "2026-11"}, "both months")
            assert await volumes(node) == THEN
            assert (await kept_of(node)).kept_periods_problem == ""


@pytest.mark.parametrize("has_snapshot", [False, True])
async def test_a_node_killed_while_a_month_is_written_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_snapshot: bool
) -> None:
    class Disk(BackgroundWrite):
        async def finished(self, timeout_s: float) -> None:
            await super().finished(timeout_s)
            await killed.wait()

    killed = asyncio.Event()
    async with fake_pusher() as pusher:
        pusher.updates = OCTOBER[:-1]
        async with running_node(tmp_path / "1") as node:
            await follow(node, pusher)
        if not has_snapshot:
            for path in (tmp_path / "1" / "snapshots").glob("*.snapshot"):
                path.unlink()
        pusher.updates = [*OCTOBER, *AFTER]
        monkeypatch.setattr(state_writing, "BackgroundWrite", Disk)
        async with running_node(tmp_path / "1") as node:
            await follow(node, pusher)
            assert list((tmp_path / "1" / "periods").glob("written-2026-10*.part"))
            # The disk as it is at this moment: what a kill leaves.
            await asyncio.to_thread(shutil.copytree, tmp_path / "1", tmp_path / "2")
            killed.set()
        monkeypatch.undo()
        assert not list((tmp_path / "2" / "periods").glob("*.period"))
        async with running_node(tmp_path / "2") as node:
            await follow(node, pusher)
            await until(lambda: node.periods.core.held.keys() == {"2026-10", "2026-11"}, "both months")
            assert await volumes(node) == THEN
            assert not list((tmp_path / "2" / "periods").glob("*.part"))
