"""A cluster in Kubernetes, reached by `--context`: a stand-in for kubectl leads to a cluster of fakes."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from fasttree.client import Endpoints
from fasttree.command.session import EVERY_PART, Session
from tests.command.fasttree_command import FastTree
from tests.command.live.test_top import Served
from tests.command.live.test_top import pages as pages
from tests.fakes.cluster import FakeCluster
from tests.waiting import until

#: Leads from a port of its own to a port of the fakes, as `kubectl port-forward` does, until it is ended.
KUBECTL = """#!{python}
import json, os, re, socket, sys, threading, time
plan = json.load(open({plan!r}))
words = [word for word in sys.argv[1:] if not word.startswith("--")]
with open({calls!r}, "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if "--context=prod" not in sys.argv:
    sys.exit("error: context \\"other\\" does not exist")
if words[0] == "get":
    print("\\n".join(plan["pods"]))
    sys.exit()
target, ports = words[1], [int(word[1:]) for word in words[2:]]
if target not in plan["ways"] or not all(plan["ways"][target].get(str(port)) for port in ports):
    sys.exit(f'Error from server (NotFound): "{{target}}" not found')

def carry(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def serve(listener, address):
    while True:
        one, _ = listener.accept()
        other = socket.create_connection(address)
        for pair in ((one, other), (other, one)):
            threading.Thread(target=carry, args=pair, daemon=True).start()

for port in ports:
    host, _, there = plan["ways"][target][str(port)].rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"Forwarding from 127.0.0.1:{{listener.getsockname()[1]}} -> {{port}}", flush=True)
    threading.Thread(target=serve, args=(listener, (host, int(there))), daemon=True).start()
open(os.path.join({running!r}, str(os.getpid())), "w").close()
time.sleep(3600)
"""


class Kubectl:
    """On PATH, before any other one."""

    def __init__(self, folder: Path, cluster: FakeCluster) -> None:
        self.folder = folder / "kubectl"
        (self.folder / "running").mkdir(parents=True)
        endpoints, http = cluster.endpoints, cluster.endpoints.http
        self.plan: dict[str, Any] = {
            "pods": [f"pod/{node.name}" for node in endpoints.nodes],
            "ways": {
                "service/fasttree-vip": {"50100": endpoints.vip},
                "service/fasttree-pusher": {"50300": endpoints.pusher, "50310": http.get("pusher")},
                "service/fasttree-coordinator": {
                    "50400": endpoints.coordinator,
                    "50410": http.get("coordinator"),
                },
                **{
                    f"pod/{node.name}": {"50100": node.report, "50201": node.instant, "50200": node.http or node.report}
                    for node in endpoints.nodes
                },
            },
        }
        self.write()
        program = self.folder / "kubectl"
        parts = {"plan": "plan.json", "calls": "calls", "running": "running"}
        text = KUBECTL.format(python=sys.executable, **{name: str(self.folder / part) for name, part in parts.items()})
        program.write_text(text)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def write(self) -> None:
        (self.folder / "plan.json").write_text(json.dumps(self.plan))

    def none_runs(self) -> bool:
        return not any(os.path.exists(f"/proc/{each.name}") for each in (self.folder / "running").iterdir())

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def kubectl(tmp_path: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    made = Kubectl(tmp_path, cluster)
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture
def remote(fasttree: FastTree, monkeypatch: pytest.MonkeyPatch) -> FastTree:
    """The command with no endpoints of its own."""
    monkeypatch.delenv("FASTTREE_ENDPOINTS", raising=False)
    fasttree.endpoints_path.unlink()
    return fasttree


async def test_a_context_leads_to_every_part_and_leaves_nothing(remote: FastTree, kubectl: Kubectl) -> None:
    here = await remote("status", "--json", "--context", "prod")
    assert here.code == 0, here.err
    assert here.json["primary"] == "n1"
    listed = await remote("node", "list", "--json", "--context", "prod")
    assert listed.code == 0, listed.err
    await until(kubectl.none_runs, "every kubectl to end")
    assert all("--namespace=fasttree" in call for call in kubectl.calls)
    member = await remote("--context", "prod", "--namespace", "live", "held")
    assert member.code == 0, member.err
    assert "--namespace=live" in kubectl.calls[-1]
    await until(kubectl.none_runs, "every kubectl to end")


async def test_whoever_looks_closer_gets_to_the_figures_too(
    fasttree: FastTree, pages: Served, cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl = Kubectl(tmp_path, cluster)
    monkeypatch.setenv("PATH", f"{kubectl.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("FASTTREE_ENDPOINTS", raising=False)
    fasttree.endpoints_path.unlink()
    there = ("--context", "prod", "--json")
    top = await fasttree("top", "--count", "1", *there)
    assert top.code == 0, top.err
    shown = top.json_lines[0]["parts"]
    assert {part["name"]: part["problem"] for part in shown} == dict.fromkeys(("n1", "n2", "pusher", "coordinator"), "")
    assert all(part["memory_bytes"] for part in shown)
    doctor = await fasttree("doctor", *there)
    assert [each for each in doctor.json["findings"] if each["check"] in ("ports", "figures", "nodes")] == []
    bundle = await fasttree("bundle", "--out", str(tmp_path / "bundle.tar.gz"), *there)
    assert bundle.code == 0, bundle.err
    assert {f"metrics/{name}.txt" for name in ("n1", "n2", "pusher", "coordinator")} <= set(bundle.json["contents"])
    watched = await fasttree("status", "--watch", "--count", "1", *there)
    assert watched.json_lines[0]["primary"] == "n1", watched.err
    trace = await fasttree("trace", "nobody's", *there)
    assert (trace.code, "nobody here knows an update" in trace.err) == (1, True)
    await until(kubectl.none_runs, "every kubectl to end")


async def test_what_is_not_there_is_told_and_the_rest_goes_on(remote: FastTree, kubectl: Kubectl) -> None:
    del kubectl.plan["ways"]["service/fasttree-coordinator"]
    kubectl.write()
    ran = await remote("--context", "prod", "held")
    assert ran.code == 0
    assert "warning: context prod, namespace fasttree: service/fasttree-coordinator: kubectl: Error from" in ran.err
    await until(kubectl.none_runs, "every kubectl to end")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--context", "other", "status"),
            'namespace fasttree: kubectl: context "other" does not exist',
        ),
        (
            ("--namespace", "live", "status"),
            "--namespace says where in a cluster of Kubernetes",
        ),
        (("--context", "prod", "--endpoints", "x", "status"), "each say where the cluster is: leave one out"),
        (("--endpoints", "x", "status", "--context", "prod"), "each say where the cluster is: leave one out"),
    ],
)
async def test_what_can_not_be_is_one_line(
    remote: FastTree, kubectl: Kubectl, arguments: tuple[str, ...], told: str
) -> None:
    ran = await remote(*arguments)
    assert ran.code in (1, 2)
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
    assert kubectl.none_runs()


async def test_without_kubectl_it_says_so(remote: FastTree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = await remote("--context", "prod", "status")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "--context needs kubectl on PATH" in ran.err


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_certificate_is_shown_to_parts_that_are_known_by_the_name_of_all(
    by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way leads by 127.0.0.1, which no certificate in Kubernetes names."""
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).touch()
    if by == "environment":
        monkeypatch.setenv("FASTTREE_TLS_DIR", str(tmp_path))
    folder = tmp_path if by == "option" else None
    for context, name in (("prod", EVERY_PART), (None, "")):
        shown = Session(context=context, tls_dir=folder).tls(Endpoints())
        assert shown is not None
        assert (shown.server_name, shown.ca) == (name, str(tmp_path / "ca.crt"))
