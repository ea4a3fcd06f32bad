"""A cluster by certificates: from Secrets to a tree that is served to who shows one, and to nobody else; while nodes
die and certificates are renewed."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.real.certificates import make_secrets, shown
from tests.kubernetes.real.deployed import ROOT, Deployed, check, delete
from tests.kubernetes.real.waiting import WAIT_S, until

pytestmark = pytest.mark.timeout(900)

_NAMESPACE = "fasttree-tls"
_VIP = ("fasttree-vip", 50100)
#: Where a shell finds what was put there for somebody else.
_OTHER = "/tmp/other"


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the authority is."""
    return tmp_path_factory.mktemp("tls") / "certs"


@pytest.fixture(scope="module")
def sealed(certs: Path) -> Iterator[Deployed]:
    """The demo by certificates; whole."""
    running = Deployed(_NAMESPACE, sealed=True)
    running.kubectl("create", "namespace", _NAMESPACE)
    begun_s = time.monotonic()
    make_secrets(running, certs)
    applied_s = time.monotonic()
    running.kubectl("apply", "-k", str(ROOT / "tests/kubernetes/real/overlays/tls"))
    running.start_shell()
    until("the VIP answers who shows a certificate", lambda: running.operate("member", "10126", check=False))
    answered_s = time.monotonic()
    print(f"Secrets after {applied_s - begun_s:.1f} s, first answer {answered_s - applied_s:.1f} s after kubectl apply")
    running.wait_until_whole()
    running.start_client("load")
    yield running
    delete(running)


def _fasttree(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on the machine of an operator."""
    command = [sys.executable, "-P", "-m", "fasttree.command", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)


def _refusal(running: Deployed, *options: str) -> str:
    """What somebody is told who asks the VIP for a member; nothing is shown to him."""
    ask = ["kubectl", "--namespace", running.namespace, "exec", "operator", "--", "fasttree", *options]
    ran = subprocess.run(
        [*ask, "--timeout", "5", "member", "10126"], capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert ran.returncode != 0, ran.stdout
    assert not ran.stdout
    return ran.stderr


def _put_folder(running: Deployed, certificate: Path, key: Path, ca: Path) -> None:
    running.kubectl("exec", "operator", "--", "mkdir", "-p", _OTHER)
    for name, path in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", ca)):
        running.put("operator", f"{_OTHER}/{name}", path.read_text())


def test_who_shows_a_certificate_is_answered_and_nobody_else(sealed: Deployed, certs: Path, tmp_path: Path) -> None:
    assert "primary fasttree-treenode-" in until("status", lambda: sealed.operate("status", check=False))
    sealed.wait_until_alike()
    # In clear, to the VIP and to a node.
    for number, address in enumerate(("fasttree-vip:50100", "fasttree-ro:50100")):
        sealed.put("operator", f"/tmp/clear{number}.json", json.dumps({"vip": address}))
        named = ("--endpoints", f"/tmp/clear{number}.json")
        assert address in _refusal(sealed, *named)
        assert "10126" in sealed.operate(*named, "--tls-dir", "/run/fasttree/tls", "member", "10126")
    # By another authority's certificate.
    theirs = tmp_path / "theirs"
    assert _fasttree("certs", "init", "--dir", str(theirs)).returncode == 0
    assert _fasttree("certs", "issue", "--dir", str(theirs), "operator").returncode == 0
    _put_folder(sealed, theirs / "client-operator.crt", theirs / "client-operator.key", certs / "ca.crt")
    told = _refusal(sealed, "--tls-dir", _OTHER)
    assert re.search("refuses this client's certificate|another one than this client's", told), told
    # By one whose role has no business with members, by the VIP, which tells the node whose call it is.
    _put_folder(sealed, certs / "client-monitor.crt", certs / "client-monitor.key", certs / "ca.crt")
    assert "spiffe://dot-live/monitor/monitor may not call" in _refusal(sealed, "--tls-dir", _OTHER)


def test_every_part_is_known_by_addresses_too(sealed: Deployed, certs: Path) -> None:
    for part, port in (("treenode", 50100), ("pusher", 50300), ("coordinator", 50400)):
        address = sealed.pods(f"app.kubernetes.io/component={part}")[0]["status"]["podIP"]
        assert shown(sealed, address, port, "fasttree-part"), part
        assert not shown(sealed, address, port, "fasttree-other"), part
    # As Prometheus asks, which is a monitor.
    address = sealed.pods()[0]["status"]["podIP"]
    _put_folder(sealed, certs / "client-monitor.crt", certs / "client-monitor.key", certs / "ca.crt")
    page = shown(sealed, address, 50200, "fasttree-part", folder=_OTHER, page="/metrics")
    assert page.splitlines()[1].startswith("200 ")
    assert "fasttree_node_" in page


def test_an_operator_outside_asks_by_a_context(sealed: Deployed, certs: Path) -> None:
    context = sealed.kubectl("config", "current-context").strip()
    there = ("--context", context, "--namespace", _NAMESPACE)
    ran = _fasttree(*there, "--tls-dir", str(certs / "client-operator"), "status")
    assert "primary fasttree-treenode-" in ran.stdout, ran.stderr
    assert _fasttree(*there, "--timeout", "5", "status").returncode != 0


def test_the_primarys_pod_is_deleted_without_grace(sealed: Deployed) -> None:
    with sealed.load() as figures:
        gone = sealed.primary()
        sealed.kubectl("delete", "pod", gone, "--grace-period=0", "--force")
        sealed.wait_until_whole()
    check(figures)


def test_certificates_are_renewed_under_load_without_a_restart(sealed: Deployed, certs: Path) -> None:
    sealed.wait_until_whole()
    pods = "app.kubernetes.io/component in (console,coordinator,pusher,treenode,vip)"
    before = {pod["metadata"]["uid"]: _restarts(pod) for pod in sealed.pods(pods)}
    ports = (_VIP, ("fasttree-treenode-0.fasttree-treenode", 50100), ("fasttree-coordinator", 50400))
    old = {host: shown(sealed, host, port, host) for host, port in ports}
    assert all(old.values())
    with sealed.load() as figures:
        assert _fasttree("certs", "renew", "--dir", str(certs), "--all").returncode == 0
        make_secrets(sealed, certs)
        for host, port in ports:
            seen = functools.partial(shown, sealed, host, port, host)
            until(f"{host} shows the new one", functools.partial(_is_another, seen, old[host]))
    check(figures)
    assert {pod["metadata"]["uid"]: _restarts(pod) for pod in sealed.pods(pods)} == before
    sealed.wait_until_alike()


def _is_another(seen: Callable[[], str], old: str) -> bool:
    return seen() not in ("", old)


def _restarts(pod: dict[str, Any]) -> int:
    return sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
