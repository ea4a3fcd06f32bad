"""The coordinator as a real process: started, killed, ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from bench.cluster.cluster import free_port
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.serving.channels import open_channel
from tests.fakes.heartbeats import Heartbeats
from tests.waiting import until

DEADLINE_S = 30.0
#: After a restart the recorded primary has this long to be heard, however busy the machine is.
PATIENT = ("--set", "coordinator.lease_s=10")


class CoordinatorProcess:
    """`python -m services.coordinator` on this machine, started again on the same ports and folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.http_port = free_port()
        self.config = folder / "fasttree.toml"
        self.config.write_text(
            f"""
            [cluster]
            name = "dot-test"
            [coordinator]
            listen_host = "127.0.0.1"
            port = {self.address.rpartition(":")[2]}
            http_port = {self.http_port}
            state_folder = "{folder / "state"}"
            """
        )
        self.process: asyncio.subprocess.Process

    async def start(self, *arguments: str) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.coordinator", "--config", str(self.config), *arguments),
            stderr=asyncio.subprocess.PIPE,
        )

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def ended(self) -> tuple[int, str]:
        """Waits for its end: exit code and what it wrote."""
        _, errors = await asyncio.wait_for(self.process.communicate(), DEADLINE_S)
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()


@pytest.fixture
async def coordinator(tmp_path: Path) -> AsyncIterator[CoordinatorProcess]:
    process = CoordinatorProcess(tmp_path)
    await process.start()
    yield process
    with contextlib.suppress(ProcessLookupError):
        await process.kill()


async def cluster_when(channel: grpc.aio.Channel, primary: str) -> coordinator_pb2.Cluster:
    """The cluster, once it has that primary."""
    stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = await stub.GetCluster(
                    coordinator_pb2.GetClusterRequest(), timeout=DEADLINE_S, wait_for_ready=True
                )
                assert isinstance(answer, coordinator_pb2.GetClusterResponse)
                if answer.cluster.primary == primary:
                    return answer.cluster
            await asyncio.sleep(0.02)


async def test_kill_and_restart_keep_epoch_and_primary(coordinator: CoordinatorProcess) -> None:
    await coordinator.kill()
    await coordinator.start(*PATIENT)  # no heartbeat of a busy machine comes too late
    channel = open_channel(coordinator.address)
    await asyncio.wait_for(channel.channel_ready(), DEADLINE_S)
    a, b = Heartbeats(channel, "a"), Heartbeats(channel, "b")
    a.position = 10
    a.live()
    b.live()
    assert (await cluster_when(channel, "a")).epoch == 1
    await until(lambda: a.primary_epoch == 1, "the word to the primary")  # else nobody acted in that epoch
    await coordinator.kill()
    await a.close()
    await b.close()
    await coordinator.start(*PATIENT)
    await asyncio.wait_for(channel.channel_ready(), DEADLINE_S)
    b.position = 99  # further than the primary, and still not elected in its place
    b.live()
    a.live()
    cluster = await cluster_when(channel, "a")
    assert cluster.epoch == 1
    assert a.primary_epoch == 1

    await coordinator.kill()
    await a.close()
    await b.close()
    a.primary_epoch = 0  # it stepped down while there was no coordinator
    await coordinator.start(*PATIENT)
    await asyncio.wait_for(channel.channel_ready(), DEADLINE_S)
    a.live()
    b.live()
    assert (await cluster_when(channel, "a")).epoch == 2
    await a.close()
    await b.close()
    await channel.close()


async def test_a_frozen_coordinator_wakes_and_leaves_the_primary_alone(coordinator: CoordinatorProcess) -> None:
    channel = open_channel(coordinator.address)
    await channel.channel_ready()
    a, b = Heartbeats(channel, "a"), Heartbeats(channel, "b")
    a.position = 10
    a.live()
    b.live()
    await cluster_when(channel, "a")
    b.position = 99  # an election among those who are heard first might take it
    coordinator.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(2.5)  # longer than any lease
    coordinator.process.send_signal(signal.SIGCONT)
    primaries = []
    stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
    async for answer in stub.WatchCluster(coordinator_pb2.WatchClusterRequest(), timeout=DEADLINE_S):
        primaries.append(answer.cluster.primary)
        if len(primaries) > 3 and primaries[-1]:
            break
    assert set(primaries) <= {"", "a"}
    await a.close()
    await b.close()
    await channel.close()


async def test_sigterm_ends_streams_and_exits_0(coordinator: CoordinatorProcess) -> None:
    channel = open_channel(coordinator.address)
    await channel.channel_ready()
    stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
    node = Heartbeats(channel, "a")
    await node.talk()
    watch = stub.WatchCluster(coordinator_pb2.WatchClusterRequest())
    assert (await watch.read()).cluster.name == "dot-test"
    coordinator.process.send_signal(signal.SIGTERM)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while True:
            await node.answer()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "the coordinator is ending" in (caught.value.details() or "")
    code, errors = await coordinator.ended()
    assert code == 0, errors
    assert "Traceback" not in errors
    await node.close()
    await channel.close()


async def test_one_process_a_folder(coordinator: CoordinatorProcess) -> None:
    channel = open_channel(coordinator.address)
    await channel.channel_ready()
    other = CoordinatorProcess(coordinator.folder)
    await other.start()
    code, errors = await other.ended()
    assert code == 1
    assert f"state folder {coordinator.folder / 'state'} is in use by process {coordinator.process.pid}" in errors
    assert "Traceback" not in errors
    await channel.close()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("coordinator.lease_s=0", "--set coordinator.lease_s=0: must be a number from 0.001 to 86,400"),
        ("coordinator.lease=1", "[coordinator] has no field lease; did you mean lease_s?"),
        ("cluster.hosts_file=/nowhere/hosts.50201", "/nowhere/hosts.50201: can't read the host file"),
        ("coordinator.state_folder=/proc/none", "can't use the state folder /proc/none"),
    ],
)
async def test_what_cannot_start_says_why_in_one_line(tmp_path: Path, argument: str, message: str) -> None:
    process = CoordinatorProcess(tmp_path)
    await process.start("--set", argument)
    code, errors = await process.ended()
    assert code == 1
    assert message in errors
    assert len(errors.strip().splitlines()) == 1, errors
