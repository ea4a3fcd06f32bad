"""`fasttree node`: the host file that coordinator and pusher follow gains and loses lines."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fasttree.command.nodes.host_file import add_host, remove_host
from fasttree.command.session import CommandError
from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster, fake_cluster

HOSTS = "# ours\nn1 50100 50201\n\nn2 50100 50201  \n"


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.50201"
    path.write_text(HOSTS)
    return path


@pytest.fixture
async def cluster(hosts: Path) -> AsyncIterator[FakeCluster]:
    async with fake_cluster() as started:
        started.coordinator.hosts_file = started.pusher.hosts_file = hosts
        yield started


async def test_a_node_is_added_and_removed(cluster: FakeCluster, fasttree: FastTree, hosts: Path) -> None:
    added = await fasttree("node", "add", "n3", "50100", "50201", "--hosts", str(hosts))
    assert added.code == 0, added.err
    assert hosts.read_text() == HOSTS.rstrip() + "  \nn3 50100 50201\n"
    first, *left = added.out.splitlines()
    assert first == f"n3:50100 is in {hosts}; coordinator and pusher go by it"
    assert [line.partition(":")[0] for line in left] == ["left to do"] * 3
    assert left[0].startswith("left to do: start the node on n3")

    listed = (await fasttree("node", "list", "--json")).json
    assert listed["hosts"] == ["n1:50100", "n2:50100", "n3:50100"]
    assert [(row["node"], row["state"], row["host"], row["may_be_primary"]) for row in listed["nodes"]] == [
        ("n1", "primary", "n1:50100", True),
        ("n2", "passive", "n2:50100", True),
        ("", "never heard", "n3:50100", True),
    ]

    removed = await fasttree("node", "remove", "n2", "--hosts", str(hosts))
    assert removed.code == 0, removed.err
    assert hosts.read_text() == "# ours\nn1 50100 50201\n\nn3 50100 50201\n"
    table = (await fasttree("node", "list")).out.splitlines()
    assert table[0].split() == ["node", "role", "state", "import", "position", "lag", "report", "instant", "host"]
    assert table[2].endswith("not in the file: never primary")


async def test_the_primary_is_refused(fasttree: FastTree, hosts: Path) -> None:
    ran = await fasttree("node", "remove", "n1", "--hosts", str(hosts))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: n1 is primary: `fasttree switchover` first; nothing was changed\n"
    assert hosts.read_text() == HOSTS


async def test_who_does_not_take_the_file_is_named(cluster: FakeCluster, fasttree: FastTree, hosts: Path) -> None:
    cluster.pusher.hosts_file = None
    ran = await fasttree("--timeout", "0.5", "node", "add", "n3", "50100", "50201", "--hosts", str(hosts))
    assert ran.code == 1
    assert ran.err.startswith(
        f"error: {hosts} is changed, and after 0.5 s not taken by the pusher: does it name this file"
    )


async def test_a_cluster_of_up_names_its_nodes_itself(cluster: FakeCluster, tmp_path: Path, hosts: Path) -> None:
    fasttree = FastTree(tmp_path, replace(cluster.endpoints, pids={"up": os.getpid()}))
    ran = await fasttree("node", "add", "n3", "50100", "50201", "--hosts", str(hosts))
    assert (ran.code, hosts.read_text()) == (2, HOSTS)
    assert "which gives its nodes their names and ports" in ran.err
    (tmp_path / "nodes").write_text("n1\nn2\n")
    primary = await fasttree("node", "remove", "n1")
    assert (primary.code, primary.err.startswith("error: n1 is primary: `fasttree switchover` first")) == (1, True)
    unknown = await fasttree("node", "remove", "n7")
    assert unknown.err == "error: no node n7; there are: n1, n2\n"
    (tmp_path / "nodes").write_text("n1\nn1\n")
    assert "must have names from n1 to n32, a line each, none twice" in (await fasttree("node", "add")).err


async def test_who_has_one_node_left_is_told(cluster: FakeCluster, tmp_path: Path) -> None:
    """In a cluster of `fasttree up`; the file that says where all is has the other one no more."""
    left = tuple(node for node in cluster.endpoints.nodes if node.name == "n1")
    fasttree = FastTree(tmp_path, replace(cluster.endpoints, nodes=left, pids={"up": os.getpid()}))
    (tmp_path / "nodes").write_text("n1\nn2\nn3\n")
    assert "one node now" not in (await fasttree("node", "remove", "n3")).out
    removed = await fasttree("node", "remove", "n2")
    assert (removed.code, (tmp_path / "nodes").read_text()) == (0, "n1\n")
    assert removed.out.endswith("left to do: there is one node now: nobody takes its place when it fails\n")


def test_rights_and_links_stay(hosts: Path, tmp_path: Path) -> None:
    hosts.chmod(0o644)
    link = tmp_path / "link"
    link.symlink_to(hosts)
    add_host(link, "fd00::1 50100 50201")
    assert link.is_symlink()
    assert stat.S_IMODE(hosts.stat().st_mode) == 0o644
    assert hosts.read_text().endswith("fd00::1 50100 50201\n")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("n2 50100 50202", "n2:50100 stands here twice"),
        ("n3 50100 50100", "n3:50100 stands here twice"),
        ("n 3 70000", "expected `host report-port instant-port`"),
        ("n3\nn4 50100 50201", "expected `host report-port instant-port`"),
        ("# n3 50100 50201", "is no line of a host file"),
    ],
)
def test_a_line_that_would_spoil_the_file_is_not_written(hosts: Path, line: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        add_host(hosts, line)
    assert hosts.read_text() == HOSTS


def test_a_bad_file_is_not_made_worse(hosts: Path) -> None:
    with pytest.raises(CommandError, match="no line has the report address n9:1; there are: n1:50100, n2:50100"):
        remove_host(hosts, "n9:1")
    remove_host(hosts, "n1:50100")
    with pytest.raises(CommandError, match="n2:50100 is the only node"):
        remove_host(hosts, "n2:50100")
    hosts.write_text("nonsense\n")
    with pytest.raises(CommandError, match=r"line 1: .*nothing was changed"):
        add_host(hosts, "n3 50100 50201")
    with pytest.raises(CommandError, match="can't read the host file"):
        add_host(hosts.with_name("nowhere"), "n3 50100 50201")
