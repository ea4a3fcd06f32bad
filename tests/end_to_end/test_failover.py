"""Servers die while updates are pushed and reports are read: nothing is lost, nothing counts twice, no report fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from bench.cluster.cluster import RunningCluster, free_port, running_cluster, wait_for
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.cluster.read_load import ReadLoad
from bench.engine.update_mix import update_mix
from fasttree.client import Client
from fasttree.command.local.vip import render_haproxy
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc, pusher_pb2, report_pb2, report_pb2_grpc, types_pb2
from services.shared.serving.channels import open_channel
from tests.end_to_end.library_tree import LibraryTree

UPDATES = 10_000
SETTLE_S = 1.0


class Pushing:
    """Pushes a mix of updates at a steady pace, and keeps the receipts."""

    def __init__(self, client: Client, member_ids: list[str], *, count: int = UPDATES, seed: int = 11) -> None:
        self._client = client
        self._member_ids = member_ids
        self._count = count
        self._seed = seed
        self._go_on = asyncio.Event()
        self._go_on.set()
        self.stop_early = False
        self.receipts: list[pusher_pb2.Receipt] = []

    async def _updates(self) -> AsyncIterator[types_pb2.Update]:
        # Spread over the faults, so that every fault meets updates under way.
        for number, update in enumerate(update_mix(self._seed, self._member_ids, self._count)):
            if number % 20 == 0:
                await asyncio.sleep(0.01)
            yield update

    async def run(self) -> None:
        async for receipt in self._client.push(self._updates()):
            self.receipts.append(receipt)

    async def wait_for_share(self, share: float) -> None:
        async def reached() -> bool:
            return len(self.receipts) >= share * self._count

        await wait_for(reached, 60, f"{share:.0%} of the updates to be acknowledged")


@contextlib.asynccontextmanager
async def haproxy(cluster: RunningCluster, folder: Path) -> AsyncIterator[str]:
    """A real HAProxy before the cluster's nodes; yields its address."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program, "haproxy is missing: apt-get install haproxy"
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(render_haproxy([(node["report"], node["http"]) for node in cluster.endpoints["nodes"]], port))
    process = await asyncio.create_subprocess_exec(program, "-db", "-f", str(config))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def load_library(client: Client, library_csv: Path) -> None:
    manifest = await client.upload_import(library_csv)
    states = [status.state async for status in client.watch_import(manifest.import_id)]
    assert states[-1] == pusher_pb2.IMPORT_STATE_DONE


async def wait_vip(address: str, member_id: str) -> None:
    async with open_channel(address) as channel:
        stub = report_pb2_grpc.ReportServiceStub(channel)
        request = report_pb2.GetMemberRequest(member_id=member_id)

        async def answered() -> bool:
            return (await stub.GetMember(request, timeout=2)).member.member_id == member_id

        await wait_for(answered, 30, f"the VIP {address} to answer")


async def kill_and_come_back(cluster: RunningCluster, part: str) -> None:
    """Kills a process and waits until the cluster is whole again."""
    old_pid = cluster.kill(part)

    async def restarted() -> bool:
        return cluster.pid_of(part) != old_pid

    await wait_for(restarted, 60, f"{part} to be started again")
    await cluster.wait_ready()


@pytest.mark.parametrize("vip", ["envoy", "haproxy"])
async def test_both_nodes_die_in_turn(vip: str, library: LibraryTree, library_csv: Path, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path / "cluster"))
        client = await stack.enter_async_context(Client.from_endpoints_file(cluster.folder / "endpoints.json"))
        await load_library(client, library_csv)
        await cluster.wait_ready()
        address = cluster.endpoints["vip"]
        if vip == "haproxy":
            address = await stack.enter_async_context(haproxy(cluster, tmp_path))
        # The root is never removed by the mix, so that a read can't fail for the member's sake.
        root = library.member_ids[0]
        await wait_vip(address, root)
        channel = await stack.enter_async_context(read_channel(address, vip))
        pushing = Pushing(client, library.member_ids[1:])
        async with ReadLoad(channel, [root]) as load:
            push = asyncio.create_task(pushing.run())
            await pushing.wait_for_share(0.2)
            first = await cluster.wait_primary()
            await kill_and_come_back(cluster, first)
            await pushing.wait_for_share(0.6)
            await kill_and_come_back(cluster, await cluster.wait_primary())
            await push
            await asyncio.sleep(SETTLE_S)
        print(json.dumps({"vip": vip, "reads": load.reads, "longest_gap_ms": round(load.longest_gap_ms())}))
        assert not load.failures
        assert len(pushing.receipts) == UPDATES
        await judge(cluster, client, library_csv, pushing)


async def judge(cluster: RunningCluster, client: Client, library_csv: Path, pushing: Pushing) -> None:
    """Every update acknowledged and in the log once; every node equal to a replay of the log."""
    assert len(pushing.receipts) == UPDATES
    assert [receipt.message for receipt in pushing.receipts if receipt.code] == []
    verdict = await judge_log(client, pushing.receipts)
    assert verdict.lost == []
    assert verdict.twice == []
    assert len(verdict.updates) == UPDATES + 1  # the rules, which the log begins with
    tree = replay(library_csv, verdict.updates)
    assert tree.held_count > 0
    assert tree.rejected_count > 0
    assert await differing_nodes(cluster, tree) == []


def read_channel(address: str, vip: str) -> grpc.aio.Channel:
    """A channel for reads; HAProxy can't retry on a gRPC status, so its clients do (docs/operations.md)."""
    if vip == "envoy":
        return open_channel(address)
    policy = {
        "methodConfig": [
            {
                "name": [{"service": "fasttree.v1.ReportService"}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "UNKNOWN"],
                },
            }
        ]
    }
    return grpc.aio.insecure_channel(address, options=[("grpc.service_config", json.dumps(policy))])


@pytest.mark.parametrize("part", ["pusher", "coordinator"])
async def test_the_other_servers_die(part: str, library: LibraryTree, library_csv: Path, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path / "cluster"))
        client = await stack.enter_async_context(Client.from_endpoints_file(cluster.folder / "endpoints.json"))
        await load_library(client, library_csv)
        await cluster.wait_ready()
        epoch = (await cluster.cluster()).epoch
        root = library.member_ids[0]
        pushing = Pushing(client, library.member_ids[1:])
        channel = await stack.enter_async_context(open_channel(cluster.endpoints["vip"]))
        async with ReadLoad(channel, [root]) as load:
            push = asyncio.create_task(pushing.run())
            for share in (0.2, 0.6):
                await pushing.wait_for_share(share)
                await kill_and_come_back(cluster, part)
            await push
        print(json.dumps({"killed": part, "reads": load.reads, "longest_gap_ms": round(load.longest_gap_ms())}))
        assert not load.failures
        assert (await cluster.cluster()).epoch >= epoch
        await judge(cluster, client, library_csv, pushing)


async def test_every_server_ends_with_0_on_term(tmp_path: Path) -> None:
    async with running_cluster(tmp_path / "cluster", arguments=("--no-restart",)) as cluster:
        # Open streams are theirs to end: the pusher's to each node, each node's to the coordinator, and a watcher's.
        watch = asyncio.create_task(watch_cluster(cluster))
        for part in [*cluster.node_names, "pusher", "coordinator"]:
            cluster.kill(part, signal.SIGTERM)

            async def ended(part: str = part) -> bool:
                return f"{part} ended (exit code 0)" in cluster.log.read_text()

            await wait_for(ended, 30, f"{part} to end with exit code 0; the log says {cluster.log.read_text()[-1000:]}")
        assert await asyncio.wait_for(watch, 30) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, None)


async def watch_cluster(cluster: RunningCluster) -> grpc.StatusCode | None:
    """Watches until the coordinator ends the stream; returns how it ended."""
    stub = coordinator_pb2_grpc.CoordinatorServiceStub(cluster.channel(cluster.endpoints["coordinator"]))
    try:
        async for _ in stub.WatchCluster(coordinator_pb2.WatchClusterRequest()):
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None
