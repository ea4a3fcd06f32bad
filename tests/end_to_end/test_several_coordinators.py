"""Three coordinators on a real etcd of three members, or on PostgreSQL: the active one is killed, then etcd's leader,
under reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.cluster.cluster import RunningCluster, free_port, running_cluster, wait_for
from bench.cluster.read_load import ReadLoad
from bench.rivals.postgres_replicas import ReplicatedPostgres
from bench.servers.etcd_members import Etcd, running_etcd
from fasttree.client import Client, Endpoints
from fasttree.client.errors import FastTreeClientError
from fasttree.v1 import coordinator_pb2
from services.shared.python_process import python_command
from services.shared.serving.channels import open_channel
from tests.end_to_end.library_tree import LibraryTree
from tests.end_to_end.test_failover import load_library

WAIT_S = 60.0


@dataclass
class Coordinators:
    """Three processes, by their addresses."""

    folder: Path
    #: Settings, beside those that they need.
    more: dict[str, str]
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, address: str) -> None:
        port = address.rpartition(":")[2]
        settings = {
            "cluster.name": "dot-local",
            "coordinator.name": f"c-{port}",
            "coordinator.port": port,
            "coordinator.http_port": free_port(),
            "coordinator.state_folder": self.folder / port,
            **self.more,
        }
        arguments = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        with (self.folder / f"{port}.log").open("ab") as log:
            self.processes[address] = await asyncio.create_subprocess_exec(
                *python_command("services.coordinator", *arguments), stdout=log, stderr=log
            )

    async def kill(self, address: str) -> None:
        process = self.processes.pop(address)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def three_coordinators(folder: Path, more: dict[str, str]) -> AsyncIterator[tuple[Coordinators, str]]:
    coordinators = Coordinators(folder, more)
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    try:
        for address in addresses:
            await coordinators.start(address)
        yield coordinators, ",".join(addresses)
    finally:
        for address in list(coordinators.processes):
            await coordinators.kill(address)


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    (tmp_path / "etcd").mkdir()
    with running_etcd(tmp_path / "etcd", members=3) as etcd:
        yield etcd


def store_settings(request: pytest.FixtureRequest, store: str) -> dict[str, str]:
    """Where the record is kept."""
    if store == "etcd":
        etcd: Etcd = request.getfixturevalue("etcd")
        return {"coordinator.store": "etcd", "coordinator.etcd_endpoints": ",".join(etcd.endpoints)}
    server: ReplicatedPostgres = request.getfixturevalue("postgresql")
    return {
        "coordinator.store": "postgresql",
        "coordinator.postgresql_url": server.url(),
        "coordinator.postgresql_schema": "several_coordinators",
    }


async def acting(client: Client, *, other_than: str = "") -> coordinator_pb2.Cluster:
    """What an active coordinator says that is another one than that, and has a primary."""

    async def found() -> coordinator_pb2.Cluster | None:
        with contextlib.suppress(FastTreeClientError):
            cluster = await client.get_cluster()
            if not cluster.standby and cluster.coordinator != other_than and cluster.primary:
                return cluster
        return None

    cluster: coordinator_pb2.Cluster = await wait_for(found, WAIT_S, "an active coordinator, and a primary")
    return cluster


@pytest.mark.parametrize(
    ("victim", "store"), [("coordinator", "etcd"), ("coordinator", "postgresql"), ("etcd", "etcd")]
)
async def test_one_of_three_dies_under_reads(
    victim: str, store: str, library: LibraryTree, library_csv: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    more = store_settings(request, store)
    if victim == "coordinator":
        # A takeover that takes twice as long as a primary's lease: it goes on since the others vouch for it.
        more |= {"coordinator.lease_s": "3", "coordinator.active_lease_s": "6"}
    async with contextlib.AsyncExitStack() as stack:
        coordinators, addresses = await stack.enter_async_context(three_coordinators(tmp_path, more))
        arguments = ("--set", f"cluster.coordinator={addresses}")
        cluster: RunningCluster = await stack.enter_async_context(
            running_cluster(tmp_path / "cluster", arguments=arguments)
        )
        pusher, vip = cluster.endpoints["pusher"], cluster.endpoints["vip"]
        client = await stack.enter_async_context(Client(Endpoints(pusher=pusher, vip=vip, coordinator=addresses)))
        await load_library(client, library_csv)
        before = await acting(client)
        channel = await stack.enter_async_context(open_channel(vip))
        async with ReadLoad(channel, [library.member_ids[0]]) as load:
            begun_s = time.monotonic()
            if victim == "coordinator":
                await coordinators.kill(before.coordinator)
                after = await acting(client, other_than=before.coordinator)
            else:
                request.getfixturevalue("etcd").leader().kill()
                await wait_for(lambda: writes(client), WAIT_S, "a coordinator that can write")
                after = await acting(client)
            took_s = time.monotonic() - begun_s
            # Some more reads, of what is so from now on.
            reads = load.reads
            await wait_for(lambda: more_than(load, reads + 200), WAIT_S, "more reads")
        gap_ms = round(load.longest_gap_ms())
        print(json.dumps({"killed": victim, "took_s": round(took_s, 2), "reads": load.reads, "longest_gap_ms": gap_ms}))
        assert not load.failures
        # The primary was well all the time: it goes on, in its epoch, where there was somebody to vouch for it.
        assert after.primary == before.primary
        assert after.epoch >= before.epoch if victim == "etcd" else after.epoch == before.epoch


async def writes(client: Client) -> bool:
    """Whether there is a coordinator that can write."""
    with contextlib.suppress(FastTreeClientError):
        await client.pause()
        await client.resume()
        return True
    return False


async def more_than(load: ReadLoad, reads: int) -> bool:
    return load.reads > reads
