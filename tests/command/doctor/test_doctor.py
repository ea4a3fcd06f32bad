"""`fasttree doctor` as somebody types it."""

from __future__ import annotations

from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster


async def test_a_good_cluster_has_no_fault(cluster: FakeCluster, fasttree: FastTree) -> None:
    ran = await fasttree("doctor", "--json")
    assert (ran.code, ran.err, ran.json["faults"]) == (0, "", 0)
    # The fakes have no health service, and no HTTP ports.
    assert {finding["check"] for finding in ran.json["findings"]} <= {"kernels", "vip"}


async def test_each_fault_is_a_line_with_its_mend(cluster: FakeCluster, fasttree: FastTree) -> None:
    await cluster.coordinator.stop()
    cluster.pusher.log_damage = "record 3 of the log is damaged"
    ran = await fasttree("doctor", "--timeout", "0.5")
    assert ran.code == 1
    assert ran.err.endswith("each with its mend above\n")
    lines = [line for line in ran.out.splitlines() if line.startswith("fault")]
    assert any(f"nobody listens for coordinator at {cluster.coordinator.address}" in line for line in lines)
    assert any("record 3 of the log is damaged [FastTreeLogDamaged]; mend: " in line for line in lines)
    assert all("; mend: " in line for line in lines)


async def test_without_a_cluster_the_machine_alone_is_looked_at(fasttree: FastTree) -> None:
    fasttree.endpoints_path.unlink()
    ran = await fasttree("doctor", "--json")
    assert ran.code == 1
    assert [finding["check"] for finding in ran.json["findings"] if finding["fault"]] == ["endpoints"]
