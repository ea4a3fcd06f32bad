"""`fasttree verify`: equal nodes, and the exact members where they differ."""

from dataclasses import replace
from pathlib import Path

import pytest

from fasttree.command.cluster import verify
from fasttree.v1 import types_pb2
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster


async def test_equal_nodes(fasttree: FastTree) -> None:
    ran = await fasttree("verify")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "2 nodes hold the same at import 1, position 7"
    assert (await fasttree("verify", "--json")).json["equal"] is True


async def test_nodes_that_the_file_does_not_name_are_compared(cluster: FakeCluster, tmp_path: Path) -> None:
    """As after `kubectl scale`: who runs the command has the file of before."""
    for node, heard in zip(cluster.nodes, cluster.coordinator.cluster.nodes, strict=True):
        heard.address.report, heard.address.instant = cluster.endpoints.vip, node.address
    cluster.nodes[1].tree.members["m2"] = ("m1", 34)
    old = FastTree(tmp_path, replace(cluster.endpoints, nodes=cluster.endpoints.nodes[:1]))
    ran = await old("verify", "--json")
    assert ran.code == 1
    assert [node["node"] for node in ran.json["nodes"]] == ["n1", "n2"]
    assert [one["id"] for one in ran.json["differences"]] == ["m2"]


async def test_without_a_coordinator_the_file_says_which_nodes_there_are(cluster: FakeCluster, tmp_path: Path) -> None:
    unled = FastTree(tmp_path, replace(cluster.endpoints, coordinator=""))
    ran = await unled("verify")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == "2 nodes hold the same at import 1, position 7"
    await cluster.coordinator.stop()
    ran = await FastTree(tmp_path, cluster.endpoints)("verify", "--timeout", "1")
    assert ran.code == 0
    assert "only the nodes that the endpoints file names are compared: " in ran.err
    assert ran.out.splitlines()[-1] == "2 nodes hold the same at import 1, position 7"


async def test_a_member_that_differs_is_found(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.nodes[1].tree.members["m2"] = ("m1", 34)
    ran = await fasttree("verify", "--json")
    assert ran.code == 1
    assert ran.json["equal"] is False
    assert [(one["what"], one["id"]) for one in ran.json["differences"]] == [("member", "m2")]
    assert "the nodes do not hold the same (1 difference listed)" in ran.err


async def test_a_member_that_only_one_node_has(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.nodes[0].tree.members["m9"] = ("m3", 5)
    ran = await fasttree("verify")
    assert ran.code == 1
    there = {"n1": "n2", "n2": "n1"}
    assert any(f"member m9: below m3 on n1, not on {there['n1']}" in line for line in ran.out.splitlines())


@pytest.mark.parametrize("page_size", [1, 2, 3])
async def test_legs_are_compared_page_by_page(
    cluster: FakeCluster, fasttree: FastTree, monkeypatch: pytest.MonkeyPatch, page_size: int
) -> None:
    monkeypatch.setattr(verify, "_PAGE_SIZE", page_size)
    left, right = (node.tree.members for node in cluster.nodes)
    for number in range(20):
        left[f"leg{number}"] = right[f"leg{number}"] = ("m1", 40 + number)
    for lost in ("leg0", "leg13", "leg9"):
        del right[lost]
    del left["leg12"]
    right["leg18"] = ("m1", 7)
    ran = await fasttree("verify", "--json")
    found = {one["id"]: one["text"] for one in ran.json["differences"]}
    assert sorted(found) == ["leg0", "leg12", "leg13", "leg18", "leg9"]
    n1, n2 = found["leg0"], found["leg12"]
    assert n1 == found["leg13"] == found["leg9"] != n2


async def test_a_node_that_is_behind_is_named(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.nodes[1].position = 3
    ran = await fasttree("verify", "--position", "7", "--timeout", "1")
    assert ran.code == 1
    assert ran.err.startswith("error: n2: no answer from")


async def test_another_log_is_no_measure_of_the_nodes(cluster: FakeCluster, fasttree: FastTree) -> None:
    """It ends at 1, a position that nodes have passed long ago, in their own log."""
    cluster.pusher.updates.append(types_pb2.Update(update_id="o-1"))
    for node in cluster.nodes:
        node._digests[1] = 1
    cluster.pusher.contested_by = "log-0"
    ran = await fasttree("verify", "--json")
    assert ran.json["closed"] == "nodes have the state of log log-0"
    assert (ran.code, ran.json["equal"], [node["position"] for node in ran.json["nodes"]]) == (1, True, [7, 7])
    assert ran.err == (
        "error: 2 nodes hold the same at import 1, position 7, "
        "but no pushes are taken: nodes have the state of log log-0\n"
    )
    cluster.nodes[1].position = 3
    ran = await fasttree("verify")
    assert ran.code == 1
    assert ran.err.startswith(
        "error: no pushes are taken: nodes have the state of log log-0; the nodes do not hold the same"
    )
    assert not [line for line in ran.out.splitlines() if line.startswith("member ")]
