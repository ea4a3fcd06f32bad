"""The machines of `fasttree up --machines`: what is where, what is refused, and what becomes of a request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.cluster.cluster import free_port
from fasttree.command.local.cluster_folder import ClusterFolder
from fasttree.command.local.parts import ClusterPlan
from fasttree.command.local.supervisor import Child, Supervisor
from fasttree.command.machines.asking import Asked, MachineFiles
from fasttree.command.machines.keeping import MachineKeeper
from fasttree.command.machines.plan import Machines, machines_of
from fasttree.command.main import cli
from fasttree.command.session import CommandError
from tests.waiting import until

URL = "postgresql://fasttree@db/company"


@pytest.fixture
def plan(tmp_path: Path) -> ClusterPlan:
    machines = Machines(count=3, url=URL, imports=tmp_path / "imports")
    home = ClusterFolder(tmp_path / "cluster")
    return ClusterPlan(home, host="127.0.0.1", vip_port=1, nodes=["n1", "n2", "n3"], assignments=(), machines=machines)


def test_each_machine_has_one_of_everything_at_its_own_address(plan: ClusterPlan) -> None:
    endpoints = plan.endpoints(lambda part: 7)
    hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    for addresses in (endpoints.coordinator, endpoints.pusher, ",".join(node.report for node in endpoints.nodes)):
        assert [address.rpartition(":")[0] for address in addresses.split(",")] == hosts
    assert endpoints.vip.startswith("127.0.0.1:")
    assert set(endpoints.pids) >= {"coordinator", "coordinator-3", "pusher", "pusher-3"}
    by_name = {child.name: " ".join(child.command) for child in plan.children() if child.name != "vip"}
    assert f"cluster.coordinator={endpoints.coordinator}" in by_name["n2"]
    assert f"pusher.log_url={URL}" in by_name["pusher-2"]
    assert "state/pusher-2" in by_name["pusher-2"]
    assert "coordinator.store=postgresql" in by_name["coordinator-2"]


def test_what_the_options_can_not_mean(tmp_path: Path) -> None:
    assert machines_of(None, "", "", tmp_path) is None
    with pytest.raises(click.UsageError, match="--machines needs --postgresql URL"):
        machines_of(3, "", "", tmp_path)
    with pytest.raises(click.UsageError, match="with --machines alone"):
        machines_of(None, URL, "", tmp_path)
    done = CliRunner().invoke(
        cli, ["up", "--dir", str(tmp_path / "c"), "--machines", "3", "--postgresql", URL, "--nodes", "2"]
    )
    assert (done.exit_code, "--machines says how many of everything there are" in done.output) == (2, True)
    assert not (tmp_path / "c").exists()


def test_nothing_is_started_over_a_server_that_is_not_there(tmp_path: Path) -> None:
    url = f"postgresql://x@127.0.0.1:{free_port()}/none"
    told = CliRunner().invoke(cli, ["up", "--machines", "3", "--postgresql", url, "--dir", str(tmp_path / "new")])
    assert isinstance(told.exception, CommandError)
    assert str(told.exception).startswith("no use can be made of PostgreSQL at 127.0.0.1/none: ")
    assert "; start it, or correct --postgresql or the password (" in str(told.exception)
    assert not (tmp_path / "new").exists()


def test_a_cluster_without_machines_says_so(tmp_path: Path) -> None:
    endpoints = tmp_path / "endpoints.json"
    for pids, words in (({}, "machines are those of a cluster"), ({"up": os.getpid()}, "this cluster has no machines")):
        endpoints.write_text(json.dumps({"vip": "127.0.0.1:1", "pids": pids}))
        done = CliRunner().invoke(cli, ["machine", "list", "--endpoints", str(endpoints)])
        assert words in str(done.exception)


async def test_a_machine_is_lost_frozen_and_given_back(plan: ClusterPlan, tmp_path: Path) -> None:
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    supervisor = Supervisor(lambda: None, lambda text: None, restart=True)
    files = MachineFiles(tmp_path)
    keeper = MachineKeeper(files, supervisor, plan, lambda part: tmp_path / part, lambda text: None)
    keeper._children = {name: Child(name, sleeping, tmp_path / "log") for name in keeper._everything}
    for child in keeper._children.values():
        await supervisor.start(child)
    supervisor.all_started()
    running = asyncio.create_task(keeper.run(["M1", "M2", "M3"]))
    await until(lambda: files.states() is not None, "the machines")

    async def ask(action: str, machine: str) -> tuple[str, str]:
        files.ask(Asked(action, machine))
        with pytest.raises(CommandError, match="something else is being done"):
            files.ask(Asked(action, machine))
        await until(lambda: files.asked() is None, "it to be done")
        states = files.states()
        assert states is not None
        return states.states.get(machine, ""), states.problem

    def process_state(part: str) -> str:
        return Path(f"/proc/{supervisor.pid(part)}/stat").read_text().rpartition(")")[2].split()[0]

    assert await ask("stop", "M2") == ("stopped", "")
    await until(lambda: process_state("n2") == "T", "it to freeze")
    assert await ask("stop", "M2") == ("stopped", "M2 is stopped: nothing to stop")
    assert await ask("start", "M2") == ("running", "")
    (tmp_path / "n2").mkdir()
    before = supervisor.pid("n2")
    assert await ask("kill", "M2") == ("killed", "")
    with contextlib.suppress(FileNotFoundError):
        assert process_state("n2") == "Z"
    assert await ask("start", "M2") == ("running", "")
    assert (tmp_path / "n2").exists()
    assert await ask("empty", "M2") == ("running", "")
    assert not (tmp_path / "n2").exists()
    assert supervisor.pid("n2") != before
    assert process_state("pusher-2") in "RS"
    assert (await ask("kill", "M4"))[1] == "no machine M4; there are: M1, M2, M3"
    # What is frozen at the end can end.
    assert await ask("stop", "M1") == ("stopped", "")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    keeper.thaw()
    supervisor.signal(keeper._everything, signal.SIGKILL)
    await supervisor.stop([keeper._everything])
