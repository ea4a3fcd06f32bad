"""The list of nodes by its three homes: a file, a Service's endpoints, a Service's name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.shared.config.load import SettingsError, load_settings
from services.shared.config.sections import ClusterSettings
from services.shared.domain.addresses import Host
from services.shared.kubernetes.access import ServiceAccount
from services.shared.kubernetes.api import KubernetesApi
from services.shared.membership.peers import listed_peers
from services.shared.membership.service_source import ServiceSource
from services.shared.membership.source import FileSource, HostSources, host_source
from tests.fakes.api_server import FakeApiServer, endpoint_slice, fake_api_server, service_account
from tests.waiting import until

SLICE = "/apis/discovery.k8s.io/v1/namespaces/fasttree/endpointslices/nodes-x1"


def names(hosts: tuple[Host, ...]) -> list[str]:
    return [host.host.partition(".")[0] for host in hosts]


@asynccontextmanager
async def followed(server: FakeApiServer, folder: Path, linger_s: float = 120.0) -> AsyncIterator[ServiceSource]:
    api = KubernetesApi(server.url, ServiceAccount(service_account(folder)), 5.0)
    source = ServiceSource(api, "nodes", linger_s)
    following = asyncio.create_task(source.follow(lambda hosts: None))
    yield source
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_service_is_followed_as_it_is_scaled(tmp_path: Path) -> None:
    async with fake_api_server() as server, followed(server, tmp_path, linger_s=0.2) as source:
        assert source.comes_later
        await until(lambda: "has no endpoints" in source.problem, "that there is none")
        assert source.comes_later
        server.put(SLICE, endpoint_slice("nodes", ["nodes-0", "nodes-1"]))
        await until(lambda: names(source.hosts) == ["nodes-0", "nodes-1"], "two")
        assert not source.comes_later
        assert not source.problem
        server.put(SLICE, endpoint_slice("nodes", [f"nodes-{number}" for number in range(5)]))
        await until(lambda: len(source.hosts) == 5, "five")
        server.put(SLICE, endpoint_slice("nodes", ["nodes-1", "nodes-0"]))
        await until(lambda: names(source.hosts) == ["nodes-0", "nodes-1"], "two again, with nobody's word but time's")


async def test_the_last_known_nodes_stay_while_the_api_server_is_away(tmp_path: Path) -> None:
    async with fake_api_server() as server, followed(server, tmp_path) as source:
        server.put(SLICE, endpoint_slice("nodes", ["nodes-0", "nodes-1"]))
        await until(lambda: len(source.hosts) == 2, "two")
        await server.stop()
        await until(lambda: source.problem, "the complaint")
        assert names(source.hosts) == ["nodes-0", "nodes-1"]
        server.put(SLICE, endpoint_slice("nodes", ["nodes-0", "nodes-1", "nodes-2"]))
        await server.start()
        await until(lambda: len(source.hosts) == 3, "the third, once it is back")
        await until(lambda: not source.problem, "no complaint any more")


async def test_a_service_that_nodes_can_not_be_read_from_changes_nothing(tmp_path: Path) -> None:
    async with fake_api_server() as server, followed(server, tmp_path) as source:
        server.put(SLICE, endpoint_slice("nodes", ["nodes-0"]))
        await until(lambda: len(source.hosts) == 1, "one")
        server.put(SLICE, endpoint_slice("nodes", ["nodes-0", "nodes-1"], {"report": 50100}))
        await until(lambda: "ports named report and instant" in source.problem, "the complaint")
        assert names(source.hosts) == ["nodes-0"]
        server.put(SLICE, endpoint_slice("nodes", ["nodes-0", "nodes-1"]))
        await until(lambda: len(source.hosts) == 2, "both")


def test_there_is_one_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    both = {"cluster.nodes_service": "nodes", "cluster.hosts_file": "hosts"}
    with pytest.raises(SettingsError, match="nodes_service=nodes: must be empty where hosts_file is set"):
        load_settings(ClusterSettings, "cluster", None, both)
    with pytest.raises(SettingsError, match="this is no pod"):
        host_source(ClusterSettings(nodes_service="nodes"), 1.0)
    assert host_source(ClusterSettings(), 1.0) is None
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert isinstance(host_source(ClusterSettings(nodes_service="nodes"), 1.0), ServiceSource)
    path = tmp_path / "hosts"
    path.write_text("a 1 2\n")
    assert isinstance(host_source(ClusterSettings(hosts_file=str(path)), 1.0), FileSource)


async def test_a_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("a 1 2\n")
    source, told = FileSource(path, 0.01), list[tuple[Host, ...]]()
    following = asyncio.create_task(source.follow(told.append))
    path.write_text("nonsense\n")
    await until(lambda: "nonsense" in source.problem, "the complaint")
    assert source.hosts == (Host("a", 1, 2),)
    path.write_text("a 1 2\nb 1 2\n")
    await until(lambda: told == [(Host("a", 1, 2), Host("b", 1, 2))], "the second")
    assert not source.problem
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_whoever_takes_over_goes_on_with_the_list_from_before(tmp_path: Path) -> None:
    """A line that was mistyped while one part served is no reason for the next one to end."""
    path = tmp_path / "hosts"
    path.write_text("nonsense\n")
    cluster = ClusterSettings(hosts_file=str(path))
    with pytest.raises(SettingsError, match="nonsense"):  # at the start, and not in the first turn
        HostSources(cluster)
    path.write_text("a 1 2\n")
    sources = HostSources(cluster, 0.01)
    following = asyncio.create_task(sources.follow())
    path.write_text("a 1 2\nb 1 2\n")
    kept = sources._read
    assert kept is not None
    await until(lambda: len(kept.hosts) == 2, "the second to be known")
    path.write_text("nonsense\n")
    source = sources.newest()
    assert source is not None
    assert source.hosts == (Host("a", 1, 2), Host("b", 1, 2))
    told = list[tuple[Host, ...]]()
    turn = asyncio.create_task(source.follow(told.append))
    path.write_text("c 1 2\n")
    await until(lambda: told == [(Host("c", 1, 2),)], "the mended one")
    for task in (following, turn):
        task.cancel()
    await asyncio.gather(following, turn, return_exceptions=True)


async def test_a_node_finds_the_others_by_the_services_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = {"nodes": ["10.0.0.3", "10.0.0.1", "fd00::2"], "nodes-0.nodes": ["10.0.0.1"]}

    async def getaddrinfo(host: str, port: object, **_: object) -> list[tuple[object, ...]]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    cluster = ClusterSettings(nodes_service="nodes")
    assert await listed_peers(cluster, "nodes-0.nodes:50201") == ["10.0.0.3:50201", "[fd00::2]:50201"]
    del known["nodes-0.nodes"]
    assert len(await listed_peers(cluster, "nodes-0.nodes:50201")) == 3
    assert await listed_peers(ClusterSettings(nodes_service="others"), "nodes-0.nodes:50201") == []
    assert await listed_peers(ClusterSettings(), "nodes-0.nodes:50201") == []
    path = tmp_path / "hosts"
    path.write_text("a 1 2\nb 3 4\n")
    assert await listed_peers(ClusterSettings(hosts_file=str(path)), "a:2") == ["b:4"]
