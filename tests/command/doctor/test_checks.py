"""Each fault that the doctor looks for, made for real."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
from aiohttp import web

from fasttree.client import Client, Endpoints, Retries, TlsFiles
from fasttree.command.doctor import cluster as of_cluster
from fasttree.command.doctor import folder, machine, network
from fasttree.command.doctor.findings import Finding
from fasttree.command.session import Session
from fasttree.command.status.looking import Seen, look
from fasttree.v1 import coordinator_pb2
from tests.command.live.pages import Page
from tests.fakes.cluster import FakeCluster
from tests.shared.http2.certificates import Authority


async def found_by(check: AsyncIterator[Finding]) -> list[str]:
    """What it finds; each has a mend."""
    findings = [finding async for finding in check]
    assert all(finding.mend for finding in findings)
    return [finding.text for finding in findings]


@pytest.mark.parametrize(
    ("version", "bounds", "problem"),
    [
        ("1.85.1", ">=1.85.1", ""),
        ("1.100.0", ">=1.85.1", ""),
        ("0.66b2", ">=0.66b2", ""),
        ("0.3.9", ">=0.3,<0.4", ""),
        ("1.84.9", ">=1.85.1", "the package p is 1.84.9, and >=1.85.1 is needed"),
        ("0.4", ">=0.3,<0.4", "the package p is 0.4, and <0.4 is needed"),
        ("1.41.0", "==1.40.0", "the package p is 1.41.0, and ==1.40.0 is needed"),
        ("", ">=1", "the package p is missing"),
    ],
    ids=["same", "later", "beta", "between", "earlier", "too_late", "another", "missing"],
)
def test_a_version_is_held_against_its_bounds(version: str, bounds: str, problem: str) -> None:
    assert machine.version_problem("p", version, bounds) == problem


async def test_this_machine_has_what_the_package_needs() -> None:
    assert await found_by(machine.packages()) == []
    versions = machine.installed_versions()
    assert {"Python", "ha-fasttree", "grpcio", "numba"} <= versions.keys()
    assert "" not in versions.values()


async def test_kernels_that_are_not_kept_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    (told,) = await found_by(machine.kernels())
    assert told.startswith(f"the tree's kernels are not all in {tmp_path}")


async def test_faults_of_the_settings_are_told(tmp_path: Path) -> None:
    file = tmp_path / "cluster.toml"
    file.write_text('[pusher]\nport = "many"\n[treenod]\n')
    told = await found_by(folder.settings(file))
    assert len(told) == 2
    assert all(str(file) in each for each in told)


async def test_a_folder_that_others_may_enter_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert await found_by(folder.state_folder(tmp_path)) == []
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "state").chmod(0o755)
    (told,) = await found_by(folder.state_folder(tmp_path))
    assert told.startswith(f"{tmp_path}/state may be entered by others (drwxr-xr-x)")


async def test_a_disk_that_is_almost_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(folder, "DISK_FREE_BYTES", float("inf"))
    (told,) = await found_by(folder.state_folder(tmp_path))
    assert "GB are free on the disk" in told


async def test_a_name_that_leads_nowhere_is_told() -> None:
    endpoints = Endpoints(vip="127.0.0.1:1", pusher="no-such-host.invalid:1,localhost:2")
    (told,) = await found_by(network.names(endpoints))
    assert told.startswith("the name no-such-host.invalid leads nowhere: ")


async def test_a_port_that_nobody_listens_on_is_told() -> None:
    with socket.socket() as bound, socket.socket() as listening:
        for each in (bound, listening):
            each.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        endpoints = Endpoints(pusher=address, vip=f"127.0.0.1:{listening.getsockname()[1]}")
        (told,) = await found_by(network.ports(endpoints))
    assert told.startswith(f"nobody listens for pusher at {address}: ")


async def test_certificates_of_a_wrong_name_of_another_authority_and_soon_over_are_told(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    own = authority.signed("operator")
    tls = TlsFiles(certificate=str(own.chain), key=str(own.key), ca=str(authority.root))
    places = {}
    served = []
    for part, signed in (
        ("vip", authority.signed("good")),
        ("pusher", authority.signed("elsewhere", "DNS:elsewhere.example")),
        ("coordinator", other.signed("stranger")),
    ):
        context = authority.server_context(signed)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        places[part] = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        served.append(server)
    endpoints = Endpoints(vip=places["vip"], pusher=places["pusher"], coordinator=places["coordinator"], tls=tls)
    told = await found_by(network.ports(endpoints))
    for server in served:
        server.close()
    assert [text.partition(" is not believed")[0] for text in told] == [
        f"the certificate of coordinator at {places['coordinator']}",
        f"the certificate of pusher at {places['pusher']}",
    ]
    told = await found_by(network.own_certificate(Endpoints(tls=tls)))
    assert [" is good for 1 days more " in text for text in told] == [True, True]
    own.key.write_text("none")
    (text,) = await found_by(network.own_certificate(Endpoints(tls=tls)))
    assert "can't be used" in text


async def test_a_clock_that_is_wrong_is_told() -> None:
    async def answer(request: web.Request) -> web.Response:
        ahead_s = {"ahead": 3_600, "behind": -60, "right": 0}[places_of[request.url.port or 0]]
        return web.Response(headers={"Date": formatdate(time() + ahead_s, usegmt=True)})

    places_of: dict[int, str] = {}
    application = web.Application()
    application.router.add_get("/livez", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    for name in ("ahead", "behind", "right"):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        places_of[runner.addresses[-1][1]] = name
    async with Client(Endpoints()) as client:
        told = await found_by(network.clocks(client, {name: f"127.0.0.1:{port}" for port, name in places_of.items()}))
    await runner.cleanup()
    assert [re.sub(r"\d+", "N", text) for text in told] == [
        "the clock of ahead is N s before this machine's",
        "the clock of behind is N s behind this machine's",
    ]


@pytest.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[Client]:
    async with Client(cluster.endpoints, retries=Retries(timeout_s=0.5, patience_s=0.5)) as made:
        yield made


async def looked(client: Client, tmp_path: Path) -> Seen:
    """As the command looks."""
    client.endpoints.write(tmp_path / "endpoints.json")
    return await look(Session(endpoints_path=tmp_path / "endpoints.json"), client)


async def test_what_status_tells_is_told_with_its_mend(cluster: FakeCluster, client: Client, tmp_path: Path) -> None:
    assert await found_by(of_cluster.standing(await looked(client, tmp_path))) == []
    cluster.coordinator.cluster.primary = ""
    cluster.coordinator.cluster.nodes[1].status.state = coordinator_pb2.NODE_STATE_LOADING
    await cluster.pusher.stop()
    told = await found_by(of_cluster.standing(await looked(client, tmp_path)))
    assert [text.split(":")[0] for text in told] == [
        "pusher",
        "no node is primary; every ready node serves",
        "n2 is not ready",
        "n1 alone is ready",
    ]


async def test_a_place_of_snapshots_that_is_not_well_is_told_once_for_all_nodes(
    cluster: FakeCluster, client: Client, tmp_path: Path
) -> None:
    for node in cluster.coordinator.cluster.nodes:
        node.status.stored_snapshot.place = "s3://company/live"
        node.status.stored_snapshot.problem = "another cluster of this name stores there too"
    told = await found_by(of_cluster.standing(await looked(client, tmp_path)))
    assert told == ["stored snapshots (n1, n2): another cluster of this name stores there too"]


async def test_one_node_alone_is_worth_a_look(cluster: FakeCluster, tmp_path: Path) -> None:
    del cluster.coordinator.cluster.nodes[1]
    async with Client(replace(cluster.endpoints, nodes=cluster.endpoints.nodes[:1])) as client:
        seen = await looked(client, tmp_path)
    assert "there is one node alone: nothing stands in for it" in await found_by(of_cluster.standing(seen))


async def test_a_node_that_does_not_answer_from_here_is_told(
    cluster: FakeCluster, client: Client, tmp_path: Path
) -> None:
    seen = await looked(client, tmp_path)
    assert await found_by(of_cluster.nodes(client, seen)) == []
    await cluster.nodes[1].stop()
    (told,) = await found_by(of_cluster.nodes(client, seen))
    assert told.startswith(f"n2 at {cluster.nodes[1].address} does not answer from here: ")


async def test_a_vip_that_leads_nowhere_is_told(cluster: FakeCluster, client: Client) -> None:
    await cluster.reports.stop()
    (told,) = await found_by(of_cluster.vip(client))
    assert told.startswith(f"nothing comes through the VIP at {cluster.reports.address}: ")
    async with Client(replace(cluster.endpoints, vip="")) as without:
        assert await found_by(of_cluster.vip(without)) == [
            "the endpoints file names no VIP: reports can't be asked for"
        ]


async def test_figures_versions_and_pages_that_are_none_are_told(client: Client) -> None:
    full = Page('fasttree_node_disk_free_bytes{node="n1"} 1e9\nfasttree_node_build{version="0.0.1"} 1\n')
    async with full.served() as first, Page("<html>{}").served() as second, Page(None).served() as third:
        told = await found_by(of_cluster.figures(client, {"n1": first, "n2": second, "pusher": third}))
    assert told[0] == "n1: 1.0 GB are free on the disk of its state"
    assert told[1] == f"what {second} shows for n2 are no figures"
    assert told[2].startswith("pusher could not be looked at: ")
    assert told[3].startswith("versions differ: this command ")
    assert told[3].endswith(", n1 0.0.1")
