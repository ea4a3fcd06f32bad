"""Volumes that are full, and then larger, as a StorageClass with `allowVolumeExpansion` makes them while pods run.

Only in the project's own cluster, which has volumes of a few megabytes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.kubernetes.cluster import place
from tests.kubernetes.cluster.machines import on_node
from tests.kubernetes.real.deployed import ROOT, Deployed, check, delete, deploy
from tests.kubernetes.real.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.own_cluster]

_FILL = "dd if=/dev/zero of=/var/lib/fasttree/ballast bs=64k; test -s /var/lib/fasttree/ballast"
_PUSHER = "fasttree-pusher-0"


@pytest.fixture(scope="module")
def small() -> Iterator[Deployed]:
    """A cluster of its own on small volumes."""
    running = deploy(ROOT / "tests/kubernetes/real/overlays/small", "fasttree-small")
    running.start_shell()
    yield running
    delete(running)


def _fill(small: Deployed, pod: str) -> None:
    small.kubectl("exec", pod, "--", "sh", "-c", _FILL)


def _expand(small: Deployed, pod: str) -> None:
    """What a driver of volumes does when a claim asks for more: the file system grows under the pod."""
    volume = small.kubectl("get", "pvc", f"state-{pod}", "-o", "jsonpath={.spec.volumeName}")
    machine, number = volume.removeprefix("node").split("-small-")
    path = place.small_volume(int(machine), int(number))
    remount = ["mount", "-o", f"remount,size={4 * place.SMALL_MIB}m", str(path)]
    subprocess.run(on_node(int(machine), *remount), check=True)


def test_a_full_volume_of_the_pusher_refuses_loses_nothing_and_goes_on_once_it_is_larger(small: Deployed) -> None:
    small.wait_until_whole()
    with small.load() as figures:
        _fill(small, _PUSHER)
        until("the pusher is not ready", lambda: not small.ready("app.kubernetes.io/component=pusher"))
        order = '{"update_id": "full-1", "volume_posted": {"member_id": "10000", "amount": "1.00"}}'
        small.put("operator", "/work/order.jsonl", order)
        push = ("exec", "operator", "--", "sh", "-c", "fasttree --timeout 5 push /work/order.jsonl 2>&1; echo ended $?")
        said = small.kubectl(*push)
        print(said)
        assert "ended 1" in said
        assert "10000" in small.command("member", "10000")
        _expand(small, _PUSHER)
        until("the pusher is ready", lambda: small.ready("app.kubernetes.io/component=pusher"))
        small.operate("push", "/work/order.jsonl")
    check(figures, some_are_refused=True)
    small.wait_until_alike()


def test_a_full_volume_of_a_node_costs_no_answer_and_is_told(small: Deployed) -> None:
    small.wait_until_whole()
    node = small.primary()
    with small.load() as figures:
        _fill(small, node)
        members = small.kubectl("exec", "operator", "--", "python3.11", "-P", "-m", "fasttree.command.local.sample")
        small.put("operator", "/work/members.csv", members)
        imported = ("import", "/work/members.csv", "--as-of-position", "end")
        print(small.operate(*imported, check=False))
        until("the node says so", lambda: "No space left on device" in small.kubectl("logs", node))
        print(small.operate("status", check=False))
        _expand(small, node)
        until("every node has the import", lambda: "import 2 members.csv: done" in small.operate("status", check=False))
    check(figures)
    small.wait_until_alike()
