"""Host file and coordinator's view as one list of nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fasttree.v1 import coordinator_pb2
from services.pusher.fanout.members import Members
from services.pusher.fanout.membership import merge
from services.shared.config.load import SettingsError
from services.shared.config.sections import ClusterSettings
from services.shared.domain.addresses import Host
from services.shared.membership.source import host_source
from tests.fakes.coordinator import FakeCoordinator
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import running_pusher, write_hosts
from tests.waiting import until


def node(name: str, instant: str, *, report: str = "", alive: bool = True) -> coordinator_pb2.ClusterNode:
    address = coordinator_pb2.NodeAddress(name=name, instant=instant, report=report)
    return coordinator_pb2.ClusterNode(address=address, alive=alive)


def cluster(*nodes: coordinator_pb2.ClusterNode, primary: str = "") -> coordinator_pb2.Cluster:
    return coordinator_pb2.Cluster(name="test", nodes=nodes, primary=primary)


HOSTS = [Host("ftsp01", 50100, 50201), Host("ftsp02", 50100, 50201)]


def test_host_file_alone() -> None:
    assert merge(HOSTS, None) == Members(("ftsp01:50201", "ftsp02:50201"))


def test_the_coordinators_further_nodes_come_after_the_host_files() -> None:
    members = merge(HOSTS, cluster(node("extra", "10.0.0.9:50201"), node("one", "ftsp01:50201", alive=False)))
    assert members.addresses == ("ftsp01:50201", "ftsp02:50201", "10.0.0.9:50201")
    assert dict(members.names) == {"10.0.0.9:50201": "extra", "ftsp01:50201": "one"}
    assert members.alive == {"10.0.0.9:50201"}


@pytest.mark.parametrize(
    "seen",
    [
        node("one", "ftsp01:50201"),
        node("one", "10.0.0.1:50201", report="ftsp01:50100"),
        node("ftsp01", "10.0.0.1:50201"),
    ],
)
def test_one_node_under_two_addresses_is_fed_once(seen: coordinator_pb2.ClusterNode) -> None:
    members = merge(HOSTS, cluster(seen, primary=seen.address.name))
    assert members.addresses == ("ftsp01:50201", "ftsp02:50201")
    assert members.primary == "ftsp01:50201"


def test_two_nodes_on_one_host_are_two() -> None:
    members = merge([HOSTS[0]], cluster(node("ftsp01", "10.0.0.1:50202")))
    assert members.addresses == ("ftsp01:50201", "10.0.0.1:50202")


def test_a_host_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "hosts.50201"
    path.write_text("ftsp01 50100\n")
    with pytest.raises(SettingsError, match="line 1"):
        host_source(ClusterSettings(hosts_file=str(path)), 1.0)


def say(coordinator: FakeCoordinator, view: coordinator_pb2.Cluster) -> None:
    coordinator.cluster.CopyFrom(view)
    coordinator.tell_watchers()


async def test_nodes_come_from_the_coordinator_and_stay_while_it_is_away(tmp_path: Path) -> None:
    coordinator = await FakeCoordinator().start()
    one, two = await FakeNode("one").start(), await FakeNode("two").start()
    async with running_pusher(tmp_path, coordinator=coordinator.address) as pusher:
        nodes = pusher.fan_out.core.nodes
        say(coordinator, cluster(node("one", one.address)))
        await until(lambda: one.address in nodes and nodes[one.address].in_step, "the first node")
        await coordinator.stop()
        assert one.address in nodes
        await coordinator.start()
        say(coordinator, cluster(node("one", one.address), node("two", two.address), primary="two"))
        await until(lambda: two.address in nodes and nodes[two.address].in_step, "the second node")
        assert pusher.rollout.core.primary == two.address
        say(coordinator, cluster(node("two", two.address)))
        await until(lambda: one.address not in nodes, "the end of the first node")
    await coordinator.stop()
    await one.stop()
    await two.stop()


async def test_the_host_file_is_read_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    one, two = await FakeNode("one").start(), await FakeNode("two").start()
    async with running_pusher(tmp_path, [one]) as pusher:
        nodes = pusher.fan_out.core.nodes
        await until(lambda: one.address in nodes and nodes[one.address].in_step, "the first node")
        path = await asyncio.to_thread(write_hosts, tmp_path, [one, two])
        await until(lambda: two.address in nodes and nodes[two.address].in_step, "the second node")
        path.write_text("nonsense\n")
        await until(lambda: "nonsense" in pusher.membership.problem, "the complaint")
        assert set(nodes) == {one.address, two.address}
    await one.stop()
    await two.stop()
