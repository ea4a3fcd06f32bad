"""A million members, on nodes with exactly the memory that the formula of docs/kubernetes.md gives them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bench.engine.genealogy import Genealogy, make_genealogy, write_genealogy
from tests.kubernetes.real.deployed import ROOT, Deployed, check, delete, deploy
from tests.kubernetes.real.waiting import until

pytestmark = pytest.mark.timeout(1800)

MEMBERS = 1_000_000
_OVERLAY = ROOT / "tests/kubernetes/real/overlays/million"
_WATCH = (Path(__file__).parent / "memory.py").read_text()
_SNAPSHOTS = "ls /var/lib/fasttree/treenode/snapshots"


def _import(million: Deployed, members: Genealogy, file: Path) -> None:
    """A million members in the place of all that are there."""
    write_genealogy(members, file)
    million.put("load", f"/tmp/{file.name}", file.read_bytes())
    done = million.command("import", f"/tmp/{file.name}", "--as-of-position", "end", "--force", "--wait")
    assert re.search(r"done, 1,?000,?000 rows", done), done


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A cluster of its own that has imported them."""
    running = deploy(_OVERLAY, "fasttree-million")
    _import(running, make_genealogy(MEMBERS), tmp_path_factory.mktemp("first") / "first.csv")
    yield running
    delete(running)


@contextlib.contextmanager
def _memory(million: Deployed, pod: str) -> Iterator[dict[str, Any]]:
    """What a node's processes hold at most during the block; the figures are there when it ends."""
    figures: dict[str, Any] = {}
    command = ["kubectl", "--namespace", million.namespace, "exec", "-i", pod, "--", "python3", "-P", "-c", _WATCH]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        try:
            assert run.stdout.readline() == "looking\n"
            yield figures
            run.stdin.close()
            figures.update(json.loads(run.stdout.read()))
        finally:
            run.kill()


def _endpoints(nodes: int) -> list[dict[str, str]]:
    """So many, of which the overlay's own list has two."""
    names = [f"fasttree-treenode-{number}" for number in range(nodes)]
    ports = {"report": 50100, "instant": 50201}
    return [
        {"name": name, **{port: f"{name}.fasttree-treenode:{number}" for port, number in ports.items()}}
        for name in names
    ]


def _limit_bytes(pod: dict[str, Any]) -> int:
    return int(pod["spec"]["containers"][0]["resources"]["limits"]["memory"].removesuffix("Mi")) << 20


def _restarts(million: Deployed) -> int:
    return sum(pod["status"]["containerStatuses"][0]["restartCount"] for pod in million.pods())


def _started_to_ready_s(million: Deployed) -> dict[str, float]:
    """Without what the machine's kubelet takes to come to them; in whole seconds, as Kubernetes has it."""
    took: dict[str, float] = {}
    for pod in million.pods()[2:]:
        started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        (ready,) = (told["lastTransitionTime"] for told in pod["status"]["conditions"] if told["type"] == "Ready")
        took[pod["metadata"]["name"]] = (
            datetime.fromisoformat(ready) - datetime.fromisoformat(started)
        ).total_seconds()
    return took


def test_new_nodes_are_ready_while_reads_go_on(million: Deployed) -> None:
    seen_s: dict[str, float] = {}
    ready_s: dict[str, float] = {}

    def all_are_ready() -> bool:
        for pod in million.pods():
            name, now_s = pod["metadata"]["name"], time.monotonic()
            told = pod["status"].get("conditions", [])
            if any(status["type"] == "Ready" and status["status"] == "True" for status in told):
                ready_s.setdefault(name, now_s)
            else:
                seen_s.setdefault(name, now_s)
        return len(ready_s) == 5

    million.wait_until_whole()
    with million.load() as figures:
        million.kubectl("scale", "statefulset/fasttree-treenode", "--replicas=5")
        until("five nodes are ready", all_are_ready)
    took_s = {name: round(ready_s[name] - began_s, 1) for name, began_s in seen_s.items()}
    print(f"ready after {took_s} s, at a load of {os.getloadavg()[0]:.1f}")
    print(f"ready after their start, in seconds: {_started_to_ready_s(million)}")
    assert len(took_s) == 3
    check(figures)
    million.start_shell()
    million.put("operator", "/work/five.json", json.dumps({"pusher": "fasttree-pusher:50300", "nodes": _endpoints(5)}))
    compare = ("--endpoints", "/work/five.json", "verify")
    until("all nodes hold the same", lambda: "5 nodes hold the same" in million.operate(*compare, check=False))
    million.scale(2)


def test_an_import_over_a_million_members_and_snapshots_stay_within_the_memory(
    million: Deployed, tmp_path: Path
) -> None:
    million.scale(2)
    million.wait_until_whole()
    pods = million.pods()
    names = [pod["metadata"]["name"] for pod in pods]
    with contextlib.ExitStack() as stack:
        watched = {name: stack.enter_context(_memory(million, name)) for name in names}
        load = stack.enter_context(million.load())
        before = {name: million.kubectl("exec", name, "--", "sh", "-c", _SNAPSHOTS) for name in names}
        members = make_genealogy(MEMBERS)
        # The same members, who have sold something else: reads go on asking for them.
        _import(million, replace(members, volumes={"pv": members.volumes["pv"][::-1].copy()}), tmp_path / "second.csv")

        def written_anew() -> bool:
            return all(million.kubectl("exec", name, "--", "sh", "-c", _SNAPSHOTS) != before[name] for name in names)

        until("each node has written a snapshot", written_anew)
    check(load)
    limit = _limit_bytes(pods[0])
    told = {name: f"{figures['held_bytes_max'] / (1 << 20):.0f} MiB" for name, figures in watched.items()}
    print(f"held at most: {told} of {limit >> 20} MiB")
    assert _restarts(million) == 0
    for figures in watched.values():
        assert figures["killed"] == 0
        assert figures["held_bytes_max"] < limit
