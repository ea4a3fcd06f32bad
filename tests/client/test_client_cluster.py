"""The cluster, single nodes, and the endpoints file."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fasttree.client import Client, Endpoints, EndpointsError, NodeEndpoint, NotFoundError
from tests.fakes.cluster import fake_cluster
from tests.fakes.coordinator import FakeCoordinator


async def test_operators_wishes() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        assert (await client.get_cluster()).primary == "n1"
        answer = await client.switchover("n2")
        assert (answer.from_node, answer.to_node, answer.epoch) == ("n1", "n2", 5)
        with pytest.raises(NotFoundError, match="no node n7"):
            await client.switchover("n7")
        await client.pause()
        assert (await client.get_cluster()).paused
        await client.resume()
        assert not (await client.get_cluster()).paused


async def test_the_cluster_is_what_the_active_coordinator_says() -> None:
    """Whoever is asked first; without an active one, the newest of what those say that stand by."""
    older, newer = FakeCoordinator(), FakeCoordinator()
    for standby, said_at_s in ((older, 5), (newer, 7)):
        standby.cluster.standby = "this coordinator stands by"
        standby.cluster.coordinator = "127.0.0.1:1"
        standby.cluster.observed_at.seconds = said_at_s
        await standby.start()
    async with fake_cluster() as cluster:
        active = cluster.coordinator.address
        endpoints = replace(cluster.endpoints, coordinator=f"{older.address},{newer.address},{active}")
        async with Client(endpoints) as client:
            assert (await client.get_cluster()).primary == "n1"
            assert client._coordinator().address == active
        endpoints = replace(endpoints, coordinator=f"{older.address},{newer.address}")
        async with Client(endpoints) as client:
            view = await client.get_cluster()
            assert (view.standby, view.observed_at.seconds) == ("this coordinator stands by", 7)
    await older.stop()
    await newer.stop()


async def test_a_watcher_comes_back_after_a_reset() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.coordinator.break_watches_after = 2
        seen = 0
        async for view in client.watch_cluster():
            assert view.primary == "n1"
            seen += 1
            if seen == 5:
                break
        assert cluster.coordinator.watches == 3


async def test_one_node() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        instant = cluster.endpoints.nodes[0].instant
        assert (await client.get_node(instant)).members == 4
        assert (await client.get_digest(instant)).digest == 110
        legs = await client.list_leg_digests(instant, "m0")
        assert [(leg.member_id, leg.leg_digest) for leg in legs.legs] == [("m1", 55), ("m3", 44)]


async def test_the_log_is_read_in_order() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        from tests.client.test_client_push import order

        assert [one.position async for one in client.push([order(1), order(2)])] == [1, 2]
        assert [record.position async for record in client.read_log(2, 2)] == [2]


def test_an_endpoints_file_reads_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.json"
    node = NodeEndpoint(name="n1", report="h:1", instant="h:2", http="h:3", pid=4)
    endpoints = Endpoints(vip="h:5", pusher="h:6", coordinator="h:7", nodes=(node,), pids={"pusher": 8})
    endpoints.write(path)
    assert Endpoints.read(path) == endpoints
    assert [entry.name for entry in tmp_path.iterdir()] == ["endpoints.json"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON from line 1"),
        ("[]", "JSON object"),
        ('{"nodes": [{}]}', "each with a name"),
        ('{"nodes": 3}', "nodes must be a list"),
        ('{"nodes": [{"name": "n1", "pid": "7"}]}', "pid of a node must be a number"),
        ('{"vip": 7}', "vip must be a text"),
        ('{"pids": {"pusher": true}}', "pids must be an object of numbers"),
    ],
)
def test_a_bad_endpoints_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "endpoints.json"
    path.write_text(text)
    with pytest.raises(EndpointsError, match=says) as raised:
        Endpoints.read(path)
    assert str(path) in str(raised.value)


def test_an_endpoints_file_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (Path("/dev/zero"), tmp_path / "pipe.json", tmp_path):
        with pytest.raises(EndpointsError, match="it is no regular file"):
            Endpoints.read(path)
    marked = tmp_path / "marked.json"
    marked.write_text('\ufeff{"vip": "h:1"}', encoding="utf-8")
    assert Endpoints.read(marked).vip == "h:1"


def test_a_missing_endpoints_file_says_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(EndpointsError, match="fasttree up"):
        Endpoints.read(tmp_path / "endpoints.json")


async def test_a_part_that_the_file_does_not_name() -> None:
    async with Client(Endpoints()) as client:
        with pytest.raises(EndpointsError, match="names no vip"):
            await client.reports.get_member("1")
