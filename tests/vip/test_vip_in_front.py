"""Envoy and HAProxy in front of real nodes: reads go to the primary, and failovers cost no read.

The gaps are printed, not judged: `make bench-failover` does that.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from bench.cluster.cluster import ClusterError, RunningCluster, running_cluster, wait_for
from bench.cluster.read_load import ReadLoad
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc, report_pb2, report_pb2_grpc
from tests.vip.fronts import front, read_channel

#: Real processes on a machine that may be busy.
pytestmark = pytest.mark.timeout(600)

#: Of the sample tree.
MEMBER = "10000"
KINDS = ("envoy", "haproxy")
#: Two answers and more from wherever they should come from.
ANSWERS = 50


class Stage:
    """A cluster of real processes, a VIP of one kind before it, and reads through that."""

    def __init__(self, kind: str, cluster: RunningCluster, load: ReadLoad) -> None:
        self.kind = kind
        self.cluster = cluster
        self.load = load

    async def answers_from(self, only: set[str], *, timeout_s: float = 60.0) -> None:
        """Waits for a stretch of answers that come from exactly these nodes."""

        before = Counter(self.load.answered_by)

        async def reached() -> bool:
            nonlocal before
            since = self.load.answered_by - before
            if since.total() < ANSWERS:
                return False
            before = Counter(self.load.answered_by)
            return set(since) == only

        await wait_for(reached, timeout_s, f"answers from {only} alone")

    async def settled(self, *, other_than: str = "") -> str:
        """Waits until every answer comes from the primary, and returns its name. It may change while processes start:
        a machine that compiles kernels for the first time is slow.
        """
        while True:
            primary = await self.cluster.wait_primary(other_than=other_than)
            with contextlib.suppress(ClusterError):
                await self.answers_from({primary}, timeout_s=5)
                return primary

    def report(self, what: str, since_s: float) -> None:
        gap_ms = self.load.longest_gap_ms(since_s)
        print(f"{self.kind}, {what}: {self.load.reads} reads, longest gap {gap_ms:.0f} ms")
        assert not self.load.failures


@pytest.fixture
def nodes() -> int:
    """How many nodes the cluster has."""
    return 2


@pytest.fixture(params=KINDS)
async def stage(request: pytest.FixtureRequest, nodes: int, tmp_path: Path) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        running = running_cluster(tmp_path / "cluster", nodes=nodes, arguments=("--sample", "--no-restart"))
        cluster = await stack.enter_async_context(running)
        await cluster.wait_ready()
        address = await stack.enter_async_context(front(request.param, cluster, tmp_path))
        channel = await stack.enter_async_context(read_channel(request.param, address))
        await wait_for(lambda: _answers(channel), 30, "the VIP to answer")
        load = await stack.enter_async_context(ReadLoad(channel, [MEMBER]))
        yield Stage(request.param, cluster, load)


async def _answers(channel: grpc.aio.Channel) -> bool:
    stub = report_pb2_grpc.ReportServiceStub(channel)
    answer = await stub.GetMember(report_pb2.GetMemberRequest(member_id=MEMBER), timeout=2)
    assert isinstance(answer, report_pb2.GetMemberResponse)
    return answer.member.member_id == MEMBER


async def _switch_over(cluster: RunningCluster) -> None:
    stub = coordinator_pb2_grpc.CoordinatorServiceStub(cluster.channel(cluster.endpoints["coordinator"]))
    await stub.Switchover(coordinator_pb2.SwitchoverRequest(), timeout=60)


async def test_switchover_and_no_coordinator(stage: Stage) -> None:
    primary = await stage.settled()
    began = time.monotonic()
    await _switch_over(stage.cluster)
    switched = await stage.settled(other_than=primary)
    stage.report("switchover", began)

    if stage.kind == "envoy":  # HAProxy does not notice that a connection leads to a frozen process
        await _freeze(stage, switched)

    began = time.monotonic()
    stage.cluster.kill("coordinator")
    await stage.answers_from(set(stage.cluster.node_names))
    stage.report("no coordinator: every ready node serves", began)


async def _freeze(stage: Stage, primary: str) -> None:
    began = time.monotonic()
    stage.cluster.kill(primary, signal.SIGSTOP)
    try:
        await stage.settled(other_than=primary)
    finally:
        stage.cluster.kill(primary, signal.SIGCONT)
    await wait_for(lambda: _is_passive(stage.cluster, primary), 60, f"{primary}, which was frozen, to step down")
    await stage.settled(other_than=primary)
    stage.report("frozen for a while", began)


async def _is_passive(cluster: RunningCluster, name: str) -> bool:
    return (await cluster.node_status(name)).status.state == coordinator_pb2.NODE_STATE_PASSIVE


@pytest.mark.parametrize("nodes", [3])
async def test_drain_and_kill(stage: Stage) -> None:
    primary = await stage.settled()
    began = time.monotonic()
    stage.cluster.kill(primary, signal.SIGTERM)
    successor = await stage.settled(other_than=primary)
    stage.report("drain", began)

    began = time.monotonic()
    stage.cluster.kill(successor)
    assert await stage.settled(other_than=successor) != primary
    stage.report("kill -9", began)
