"""A log is backed up beside a pusher that runs, lost, brought back, and adopted: by the command, with a real pusher."""

from __future__ import annotations

import errno
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from fasttree.client import Endpoints
from fasttree.command.main import cli
from fasttree.command.session import CommandError, Session
from tests.command.fasttree_command import FastTree
from tests.fakes.node import FakeNode
from tests.fakes.server import CLUSTER
from tests.pusher.pusher_process import PusherProcess
from tests.pusher.running_pusher import write_hosts
from tests.waiting import until


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    started = await FakeNode("one", {"m1": ("", 1)}).start()
    yield started
    await started.stop()


@pytest.fixture
async def pusher(tmp_path: Path, node: FakeNode) -> AsyncIterator[PusherProcess]:
    hosts = write_hosts(tmp_path, [node])
    process = PusherProcess(tmp_path, f"cluster.name={CLUSTER}", f"cluster.hosts_file={hosts}")
    await process.start()
    yield process
    await process.end()


def order(number: int) -> str:
    return f'{{"update_id": "o-{number}", "volume_posted": {{"member_id": "m1", "amount": "1.00"}}}}\n'


async def test_a_backup_that_is_older_than_the_nodes_is_adopted(
    tmp_path: Path, node: FakeNode, pusher: PusherProcess
) -> None:
    fasttree = FastTree(tmp_path / "shell", Endpoints(pusher=pusher.address, vip=pusher.address))
    state, backup = str(tmp_path / "state"), str(tmp_path / "backup")
    assert (await fasttree("push", "-", stdin=order(1) + order(2))).code == 0
    taken = await fasttree("log", "backup", backup, "--folder", state, "--json")
    assert (taken.code, taken.json["first_position"], taken.json["last_position"]) == (0, 1, 3)
    assert (await fasttree("push", "-", stdin=order(3))).code == 0
    await until(lambda: node.position == 4, "the node to have everything")

    running = await fasttree("log", "restore", backup, "--folder", state)
    assert (running.code, "while its pusher is down" in running.err) == (1, True)
    await pusher.end()
    restored = await fasttree("log", "restore", backup, "--folder", state)
    assert restored.code == 0, restored.err
    assert "positions 1 to 3" in restored.out
    assert str(tmp_path / "state" / "replaced-1") in restored.out
    written = [*Path(backup).rglob("*"), *(tmp_path / "state" / "replaced-1").rglob("*"), tmp_path / "state" / "log.db"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written if path.is_file()} == {0o600}
    folders = [Path(backup), tmp_path / "state" / "replaced-1", *(path for path in written if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    again = await fasttree("log", "backup", backup, "--folder", state)
    assert (again.code, "not empty" in again.err) == (1, True)

    await pusher.start()
    refused = await fasttree("push", "-", stdin=order(4))
    assert refused.code == 1
    assert "has lost updates" in refused.err
    assert node.position == 4
    adopted = await fasttree("log", "adopt", "--reason", "the disk died")
    assert adopted.code == 0, adopted.err
    pushed = await fasttree("push", "-", stdin=order(4))
    assert (pushed.code, "1 new" in pushed.out) == (0, True)
    await until(lambda: node.update_ids[-1:] == ["o-4"], "the node to go over")
    assert (node.position, node.hellos[-1].adopted_reason) == (4, "the disk died")


async def test_a_backup_that_has_all_that_the_nodes_have_goes_on_by_itself(
    tmp_path: Path, node: FakeNode, pusher: PusherProcess
) -> None:
    fasttree = FastTree(tmp_path / "shell", Endpoints(pusher=pusher.address, vip=pusher.address))
    state, backup = str(tmp_path / "state"), str(tmp_path / "backup")
    assert (await fasttree("push", "-", stdin=order(1) + order(2))).code == 0
    await until(lambda: node.position == 3, "the node to have everything")
    assert (await fasttree("log", "backup", backup, "--folder", state)).code == 0
    log_id = node.log_id
    await pusher.end()
    assert (await fasttree("log", "restore", backup, "--folder", state, "--json")).json["last_position"] == 3
    await pusher.start()
    pushed = await fasttree("push", "-", stdin=order(2) + order(3))
    assert (pushed.code, "1 new, 1 known already" in pushed.out) == (0, True)
    await until(lambda: node.position == 4, "the node to go on")
    assert node.log_id == log_id


async def test_a_place_where_no_backup_can_be_is_named(
    tmp_path: Path, pusher: PusherProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    fasttree = FastTree(tmp_path / "shell", Endpoints(pusher=pusher.address, vip=pusher.address))
    file = tmp_path / "file"
    file.touch()
    ran = await fasttree("log", "backup", str(file / "backup"), "--folder", str(tmp_path / "state"))
    assert (ran.code, f"{file} is a file where a folder should be" in ran.err) == (1, True)
    # Root may write everywhere.
    refused = PermissionError(errno.EACCES, "Permission denied", "kept/backup")
    monkeypatch.setattr("fasttree.command.log.backups.back_up", Mock(side_effect=refused))
    said = CliRunner().invoke(cli, ["log", "backup", "kept/backup", "--folder", str(tmp_path)], obj=Session())
    assert isinstance(said.exception, CommandError)
    assert str(said.exception) == "kept/backup: Permission denied: see to rights and room there, or name another"
