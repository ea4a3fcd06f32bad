"""What `fasttree up` starts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fasttree.command.local.cluster_folder import ClusterFolder
from fasttree.command.local.parts import VIP, ClusterPlan


@pytest.mark.parametrize("threads", [1, 3])
def test_the_vip_has_as_many_threads_as_it_is_given(tmp_path: Path, threads: int) -> None:
    folder = ClusterFolder(tmp_path)
    plan = ClusterPlan(folder, host="127.0.0.1", vip_port=1, nodes=["n1"], assignments=(), vip_threads=threads)
    (vip,) = [child for child in plan.children() if child.name == VIP]
    place = vip.command.index("--concurrency")
    assert vip.command[place + 1] == str(threads)


def test_no_part_is_given_the_port_of_the_vip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which nobody listens on yet."""
    monkeypatch.setattr("fasttree.command.local.parts.free_ports", lambda host, count: list(range(7000, 7000 + count)))
    for vip_port in range(7000, 7010):
        folder = ClusterFolder(tmp_path / str(vip_port))
        plan = ClusterPlan(folder, host="127.0.0.1", vip_port=vip_port, nodes=["n1"], assignments=(), vip_threads=1)
        there = plan.endpoints(lambda part: 1)
        nodes = [(node.report, node.instant, node.http) for node in there.nodes]
        addresses = [there.vip, there.pusher, there.coordinator, *there.http.values(), *itertools.chain(*nodes)]
        assert len(set(addresses)) == len(addresses) == 8
