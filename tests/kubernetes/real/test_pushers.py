"""Several pushers over one log: the machine with all that acts dies, and pushes go on without a look at it.

Its log is in a NATS server on the first machine, which is not the one that is lost.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.servers.nats_servers import program
from tests.kubernetes.cluster import place
from tests.kubernetes.cluster.machines import end_node, start_node
from tests.kubernetes.real.deployed import EACH_VIP, ROOT, Deployed, check, delete, deploy
from tests.kubernetes.real.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.own_cluster]

LOST, KEPT = "node2", "node1"
_PORT = 4222
_PUSHER = "app.kubernetes.io/component=pusher"
_COORDINATOR = "app.kubernetes.io/component=coordinator"


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[None]:
    """A server that pods reach, and that writes to its disk before it answers."""
    config = tmp_path / "nats.conf"
    config.write_text(
        f'listen: "{place.CONTROL}:{_PORT}"\n'
        f'jetstream {{ store_dir: "{tmp_path}/log", sync_interval: always, max_mem: 64MB, max_file: 2GB }}\n'
    )
    with subprocess.Popen([program(), "--config", config], stderr=subprocess.DEVNULL) as server:
        yield
        server.kill()


@pytest.fixture
def several(nats: None) -> Iterator[Deployed]:
    running = deploy(ROOT / "tests/kubernetes/real/overlays/pushers", "fasttree-pushers", pushers=2)
    running.start_client("near", KEPT)
    running.start_shell(KEPT)
    yield running
    delete(running)


def _active_coordinator(several: Deployed) -> str:
    pods = several.pods(f"{_COORDINATOR},fasttree.io/role=active")
    return str(pods[0]["metadata"]["name"]) if len(pods) == 1 else ""


def _active_pusher(several: Deployed) -> str:
    """As the coordinator says; empty while none is."""
    said = several.operate("status", "--json", check=False)
    pushers = json.loads(said)["pushers"] if said.startswith("{") else []
    return next((each["pusher"] for each in pushers if each["active"] and each["state"] == "active"), "")


def _all_that_acts_is_there(several: Deployed) -> None:
    """The primary, the active coordinator and the active pusher are on the machine that will be lost."""
    while several.machine_of(name := several.primary()) != LOST:
        several.kubectl("delete", "pod", name)
        several.wait_until_whole()
    while several.machine_of(str(until("one is active", lambda: _active_coordinator(several)))) != LOST:
        several.kubectl("delete", "pod", _active_coordinator(several))
        several.wait_until_whole()
    there = next(pod["metadata"]["name"] for pod in several.pods(_PUSHER) if pod["spec"]["nodeName"] == LOST)
    if until("a pusher is active", lambda: _active_pusher(several)) != there:
        several.operate("switchover", "--pusher", "--to", there)
    until("it is the one there", lambda: _active_pusher(several) == there)


def _said_by(several: Deployed, coordinator: str) -> str:
    """What the status says that is asked of that coordinator by its own name; one that stands by knows it too."""
    several.put("operator", "/tmp/one.json", json.dumps({"coordinator": f"{coordinator}.fasttree-coordinators:50400"}))
    return several.operate("--endpoints", "/tmp/one.json", "status", check=False)


def test_the_machine_with_all_that_acts_dies_and_pushes_go_on(several: Deployed) -> None:
    _all_that_acts_is_there(several)
    lost = _active_pusher(several)
    stands_by = next(pod["metadata"]["name"] for pod in several.pods(f"{_COORDINATOR},fasttree.io/role=standby"))
    until("the one that stands by is asked too", lambda: "primary fasttree-treenode" in _said_by(several, stands_by))
    with several.load(EACH_VIP, pod="near") as figures:
        end_node(2)
        ended_s = time.monotonic()
        until("another pusher is active", lambda: _active_pusher(several) not in ("", lost))
        print(f"another pusher after {time.monotonic() - ended_s:.1f} s by the looks of status")
        until("a coordinator is active elsewhere", lambda: several.machine_of(_active_coordinator(several)) == KEPT)
        said = several.kubectl("logs", stands_by)
        start_node(2, 2, [])
        several.wait_until_whole()
    check(figures)
    print(*(line for line in said.splitlines() if "pushers.runner" in line), sep="\n")
    several.wait_until_alike()
