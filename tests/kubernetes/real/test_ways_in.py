"""Who may come beside clients: Prometheus, a Gateway's pods, and an operator on a machine outside of the cluster."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.kubernetes.foreign_kinds import custom_resource_definitions
from tests.kubernetes.real.deployed import LOAD_POD, ROOT, Deployed
from tests.kubernetes.real.waiting import WAIT_S, until

pytestmark = pytest.mark.timeout(600)

_OBSERVED = str(ROOT / "tests/kubernetes/real/overlays/observed")
#: Of each part: its port of metrics, and what it counts among others.
_METRICS = {
    "treenode": (50200, "fasttree_node_"),
    "pusher": (50310, "fasttree_pusher_"),
    "coordinator": (50410, "fasttree_coordinator_"),
    "vip": (50190, "envoy_cluster_"),
    "console": (50500, "fasttree_console_"),
}
_GET = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
except OSError:
    print("denied")
"""
_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 50100), timeout=5).close()
except OSError:
    print("denied")
else:
    print("allowed")
"""


@pytest.fixture(scope="module")
def observed(deployed: Deployed) -> Iterator[Deployed]:
    """With monitoring and a Gateway's route; and a pod in each of the namespaces that these let in."""
    for path in custom_resource_definitions():
        deployed.kubectl("apply", "--server-side", "-f", str(path))
    deployed.kubectl("wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinitions", "--all")
    deployed.kubectl("apply", "-k", _OBSERVED)
    for name in ("monitoring", "gateway"):
        deployed.kubectl("create", "namespace", name)
        elsewhere = Deployed(name)
        elsewhere.kubectl("apply", "-f", "-", stdin=LOAD_POD.replace('{fasttree.io/client: "true"}', "{}"))
        elsewhere.kubectl("wait", "--for=condition=Ready", "pod/load", "--timeout=4m")
    yield deployed
    deployed.kubectl("delete", "-k", _OBSERVED)
    deployed.kubectl("delete", "namespace", "monitoring", "gateway")


def _python(pod: Deployed, program: str, *arguments: str) -> str:
    return pod.kubectl("exec", "load", "--", "python3", "-P", "-c", program, *arguments, check=False).strip()


@pytest.mark.parametrize("part", _METRICS)
def test_prometheus_reads_every_parts_metrics_and_nobody_else(observed: Deployed, part: str) -> None:
    port, name = _METRICS[part]
    address = observed.pods(f"app.kubernetes.io/component={part}")[0]["status"]["podIP"]
    page = f"http://{address}:{port}/metrics"
    until(f"{part} is scraped", lambda: name in _python(Deployed("monitoring"), _GET, page))
    assert _python(Deployed("gateway"), _GET, page) == "denied"
    assert _python(observed, _GET, page) == "denied"


def test_a_gateways_pods_reach_the_vip_and_nothing_else(observed: Deployed) -> None:
    gateway = Deployed("gateway")
    until("the VIP is reached", lambda: _python(gateway, _CONNECT, "fasttree-vip.fasttree") == "allowed")
    assert _python(gateway, _CONNECT, "fasttree-ro.fasttree") == "denied"
    assert _python(Deployed("monitoring"), _CONNECT, "fasttree-vip.fasttree") == "denied"


def test_an_operator_outside_asks_by_a_context(whole: Deployed) -> None:
    context = whole.kubectl("config", "current-context").strip()
    for arguments, said in ((("status",), "primary fasttree-treenode-"), (("member", "10126"), "10126")):
        command = [sys.executable, "-P", "-m", "fasttree.command", "--context", context, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
        assert said in ran.stdout, ran.stderr
