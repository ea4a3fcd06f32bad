"""A node that has nothing does not start from a snapshot of before the first import and the first member, once there is
an import: it would say of everybody that there is nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.shared.serving.channels import open_channel
from services.treenode.app import TreeNode
from services.treenode.node.lifecycle import NodeState
from tests.fakes.coordinator import fake_coordinator
from tests.fakes.import_file import csv_of
from tests.fakes.pusher import FakePusher, fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.treenode.running_node import load_import, running_node
from tests.treenode.snapshots.stored.test_stored_snapshots import looks
from tests.treenode.snapshots.test_restart import fed, member_of, no_tree, ready_in
from tests.updates import posted
from tests.waiting import until


async def test_one_that_is_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mount").mkdir()
    given = looks(snapshot_folder=str(tmp_path / "mount"))
    async with fake_pusher() as pusher:
        async with running_node(tmp_path / "1", **given) as lost:
            await _bare(lost, pusher)
            await until(lambda: lost.runner.stored.position == 1, "the stored snapshot")
        await _serves_nothing_before_the_import(tmp_path / "2", pusher, caplog, given)


async def test_a_peers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with fake_pusher() as pusher, fake_coordinator() as coordinator:
        given = looks(coordinator=coordinator.address)
        async with running_node(tmp_path / "1", name="peer", **given) as peer:
            await _bare(peer, pusher)
            await ready_in(coordinator, "peer")
            await _serves_nothing_before_the_import(tmp_path / "2", pusher, caplog, given)


async def _bare(node: TreeNode, pusher: FakePusher) -> None:
    """It has an update, and no member."""
    pusher.updates.append(posted("O-1", "M1"))
    await fed(node, pusher, 0)
    assert await node.writer.save() is not None


async def _serves_nothing_before_the_import(
    folder: Path, pusher: FakePusher, caplog: pytest.LogCaptureFixture, given: dict[str, Any]
) -> None:
    manifest = pusher.add_import(1, csv_of([("M1", "", "10.00")]), 1)
    pusher.import_id = 1
    async with (
        running_node(folder, **given) as node,
        open_channel(node.address.report) as channel,
        Stream(node, pusher) as stream,
    ):
        await stream.hello()
        why = "its snapshot at 1 is of before the first import and the first member, and import 1 is in force"
        await until(lambda: why in caplog.text, "the node to pass it over")
        await no_tree(channel, "M1")
        await load_import(node, pusher, manifest)
        await stream.send([])
        assert node.runner.core.state is NodeState.PASSIVE
        assert (await member_of(channel, "M1")).as_of.import_id == 1
