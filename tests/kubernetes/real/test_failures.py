"""What ends under load, and what of it a client notices: no read, and no order."""

from __future__ import annotations

import pytest

from tests.kubernetes.real.deployed import Deployed, check
from tests.kubernetes.real.waiting import until

pytestmark = pytest.mark.timeout(900)


def test_the_first_answer_after_apply_comes_soon(deployed: Deployed) -> None:
    print(f"first answer {deployed.first_answer_s:.1f} s after kubectl apply")
    assert deployed.first_answer_s < 120


def test_the_primarys_pod_is_deleted_without_grace(whole: Deployed) -> None:
    with whole.load() as figures:
        gone = whole.primary()
        whole.kubectl("delete", "pod", gone, "--grace-period=0", "--force")
        whole.wait_until_whole()
    check(figures)


@pytest.mark.own_cluster
def test_a_nodes_process_is_killed(whole: Deployed) -> None:
    with whole.load() as figures:
        killed = whole.primary()
        whole.kill(killed)
        until("another node is primary", lambda: whole.primary() != killed)
        whole.wait_until_whole()
    check(figures)


def test_the_primarys_machine_is_drained(whole: Deployed) -> None:
    with whole.load() as figures:
        machine = whole.machine_of(whole.primary())
        # The load's own pod is nobody's that would start it anew elsewhere: it stays.
        whole.kubectl("cordon", machine)
        whole.kubectl("drain", machine, "--delete-emptydir-data", "--pod-selector=app.kubernetes.io/name=fasttree")
        until("a node is primary elsewhere", lambda: whole.machine_of(whole.primary()) != machine)
        whole.kubectl("uncordon", machine)
        whole.wait_until_whole()
    check(figures)
    # What had gone has come back: the next machine that ends takes one of each, not both.
    for component in ("treenode", "coordinator", "vip"):
        assert len(whole.machines_of(component)) == 2, component


def test_all_nodes_are_restarted_one_by_one(whole: Deployed) -> None:
    with whole.load() as figures:
        whole.kubectl("rollout", "restart", "statefulset/fasttree-treenode")
        whole.kubectl("rollout", "status", "statefulset/fasttree-treenode", "--timeout=280s")
        whole.wait_until_whole()
    check(figures)
