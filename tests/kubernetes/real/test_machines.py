"""A machine that dies, and a primary that nobody reaches any more: the pusher and half of all else may be lost with it.

Only in the project's own cluster: nobody cuts the cables of another one. The control plane is on the first machine, so
it is the second one that is lost.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.kubernetes.cluster.machines import cut_cable, end_node, mend_cable, on_node, start_node
from tests.kubernetes.real.deployed import EACH_VIP, Deployed, check
from tests.kubernetes.real.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.own_cluster]

LOST, KEPT = "node2", "node1"


@pytest.fixture
def primary(whole: Deployed) -> str:
    """Name of the primary, which is on the machine that will be lost; clients are on the other one."""
    if not whole.kubectl("get", "pod", "near", "--ignore-not-found"):
        whole.start_client("near", KEPT)
        whole.start_shell(KEPT)
    while whole.machine_of(name := whole.primary()) != LOST:
        whole.kubectl("delete", "pod", name)
        whole.wait_until_whole()
    return name


def _containers(whole: Deployed) -> set[str]:
    """All that run on the machine that will be lost."""
    pods = whole.pods("app.kubernetes.io/part-of=fasttree")
    here = [pod for pod in pods if pod["spec"].get("nodeName") == LOST]
    return {status["containerID"] for pod in here for status in pod["status"]["containerStatuses"]}


def _asked(whole: Deployed, address: str) -> str:
    """Who answers at an address; nobody: an empty text."""
    whole.put("near", "/tmp/one.json", json.dumps({"vip": address}))
    ask = ("exec", "near", "--", "fasttree", "--endpoints", "/tmp/one.json", "--timeout", "2", "--json", "member")
    said = whole.kubectl(*ask, "10000", check=False)
    return str(json.loads(said)["as_of"]["node"]) if said else ""


def _who_answer(whole: Deployed, address: str) -> set[str]:
    """All who answer at an address, of some calls; those that nobody answers are made again, as clients do."""
    until(f"{address} answers", lambda: _asked(whole, address))
    return {_asked(whole, address) for _ in range(5)} - {""}


def _page(whole: Deployed, pod: str, page: str) -> str:
    """What a node's page of health says on its own machine, which no policy and no cut keeps out: the status."""
    address = whole.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")
    ask = f"import urllib.request as r\ntry: print(r.urlopen('http://{address}:50200/{page}', timeout=5).status)\n"
    ask += "except r.HTTPError as error: print(error.code)"
    ran = subprocess.run(on_node(2, "python3", "-c", ask), capture_output=True, text=True, check=True, timeout=30)
    return ran.stdout.strip()


def test_a_machine_dies(whole: Deployed, primary: str) -> None:
    with whole.load(EACH_VIP, pod="near") as figures:
        before = _containers(whole)
        end_node(2)
        until("another node is primary", lambda: whole.primary() != primary)
        start_node(2, 2, [])
        # Until its kubelet says so, nobody knows that they have ended.
        until("all that was lost runs anew", lambda: not before & _containers(whole))
        whole.wait_until_whole()
    check(figures)
    whole.wait_until_alike()


def test_a_primary_whose_machine_is_cut_off_is_served_to_nobody(whole: Deployed, primary: str) -> None:
    with whole.load(EACH_VIP, pod="near") as figures:
        cut_cable(2)
        try:
            until("it gives its role up by itself", lambda: _page(whole, primary, "primary") == "503")
            until("another node is primary", lambda: whole.primary() != primary)
            # It is alive, and serves whoever is on its side; a restart would mend nothing.
            assert _page(whole, primary, "livez") == "200"
            for address in ("fasttree-vip:50100", "fasttree-rw:50100", "fasttree-ro:50100"):
                assert _who_answer(whole, address) == {whole.primary()}
        finally:
            mend_cable(2)
        whole.wait_until_whole()
    check(figures)
    whole.wait_until_alike()


@pytest.fixture
def cut_off(primary: str, whole: Deployed) -> Iterator[Callable[[dict[str, object]], None]]:
    """Takes all that the policies allow it away from the primary; what it is given instead is an argument."""
    before = json.loads(whole.kubectl("get", "networkpolicy", "fasttree-treenode", "-o", "json"))["spec"]

    def cut(spec: dict[str, object]) -> None:
        named = {"statefulset.kubernetes.io/pod-name": primary}
        others = [{"key": name, "operator": "NotIn", "values": [value]} for name, value in named.items()]
        selector = before["podSelector"] | {"matchExpressions": others}
        whole.kubectl(
            "patch", "networkpolicy", "fasttree-treenode", "--patch", json.dumps({"spec": {"podSelector": selector}})
        )
        own = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "cut-off"}}
        given = {"podSelector": {"matchLabels": named}, "policyTypes": ["Ingress", "Egress"], **spec}
        whole.kubectl("apply", "-f", "-", stdin=json.dumps(own | {"spec": given}))

        def role_is_gone() -> bool:
            # Policies are for new connections: those that stand are forgotten, and judged anew.
            for number in (1, 2):
                subprocess.run(on_node(number, "conntrack", "--flush"), check=True, capture_output=True)
            return _page(whole, primary, "primary") == "503"

        until("it gives its role up by itself", role_is_gone)

    yield cut
    whole.kubectl("delete", "networkpolicy", "cut-off", "--ignore-not-found")
    remove = [{"op": "remove", "path": "/spec/podSelector/matchExpressions"}]
    whole.kubectl("patch", "networkpolicy", "fasttree-treenode", "--type=json", "--patch", json.dumps(remove))


def test_a_primary_that_no_policy_lets_speak_is_served_to_nobody(
    whole: Deployed, primary: str, cut_off: Callable[[dict[str, object]], None]
) -> None:
    with whole.load(EACH_VIP, pod="near") as figures:
        cut_off({})
        until("another node is primary", lambda: whole.primary() != primary)
        for address in ("fasttree-vip:50100", "fasttree-rw:50100", "fasttree-ro:50100"):
            assert _who_answer(whole, address) == {whole.primary()}
        assert _page(whole, primary, "livez") == "200"
    check(figures)


def test_a_primary_that_clients_reach_and_nobody_else_is_not_served_as_one(
    whole: Deployed, primary: str, cut_off: Callable[[dict[str, object]], None]
) -> None:
    with whole.load(EACH_VIP, pod="near") as figures:
        cut_off({"ingress": [{"ports": [{"protocol": "TCP", "port": 50100}]}]})
        until("another node is primary", lambda: whole.primary() != primary)
        for address in ("fasttree-vip:50100", "fasttree-rw:50100"):
            assert _who_answer(whole, address) == {whole.primary()}
    check(figures)
