"""What a server counts of its calls, as monitors read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.serving.calls import BOUNDS_S
from services.shared.serving.channels import open_channel
from services.shared.serving.errors import NotFoundError
from services.shared.serving.metrics import Metrics
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings
from tests.waiting import until


class Answering(coordinator_pb2_grpc.CoordinatorServiceServicer):
    async def Switchover(self, request, context):
        raise NotFoundError("no such node")

    async def Pause(self, request, context):
        raise KeyError("a fault")

    async def Resume(self, request, context):
        return coordinator_pb2.ResumeResponse()

    async def WatchCluster(self, request, context):
        yield coordinator_pb2.WatchClusterResponse()
        await asyncio.Event().wait()


@pytest.fixture
async def server() -> AsyncIterator[GrpcServer]:
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, Answering())], [], setting="coordinator.here_port")
    await server.start()
    yield server
    await server.stop(0)


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """By the figure's name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


async def test_calls_are_counted_by_name_and_status(server: GrpcServer, tmp_path: Path) -> None:
    metrics = Metrics("test", "fasttree_test_")
    metrics.calls([server.calls, GrpcServer("127.0.0.1:0", [], []).calls])
    metrics.process(tmp_path)
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        for _ in range(3):
            await stub.Resume(coordinator_pb2.ResumeRequest())
        for call in (stub.Switchover(coordinator_pb2.SwitchoverRequest()), stub.Pause(coordinator_pb2.PauseRequest())):
            with pytest.raises(grpc.aio.AioRpcError):
                await call
        watch = stub.WatchCluster(coordinator_pb2.WatchClusterRequest())
        await watch.read()
        assert samples(metrics)["fasttree_test_calls_open", "WatchCluster"] == 1
        watch.cancel()
        await until(lambda: server.calls.open["WatchCluster"] == 0, "the stream's end")
    found = samples(metrics)
    counts = {key[1:]: value for key, value in found.items() if key[0] == "fasttree_test_call_seconds_count"}
    assert counts == {
        ("Resume", "OK"): 3,
        ("Switchover", "NOT_FOUND"): 1,
        ("Pause", "INTERNAL"): 1,
        ("WatchCluster", "CANCELLED"): 1,
    }
    buckets = [value for key, value in found.items() if key[0].endswith("_bucket") and key[1:3] == ("Resume", "OK")]
    assert len(buckets) == len(BOUNDS_S) + 1
    assert buckets == sorted(buckets)
    assert buckets[-1] == 3
    assert found["fasttree_test_calls_open", "Resume"] == 0
    assert found["fasttree_test_memory_bytes",] > 1 << 20
    assert found["fasttree_test_disk_free_bytes",] > 0


async def test_connections_are_counted_by_port_and_reason(server: GrpcServer) -> None:
    metrics = Metrics("test", "fasttree_test_", labels={"node": "n1"})
    grpcio = GrpcServer("127.0.0.1:0", [], [], ServingSettings(server="grpcio"))
    metrics.connections([server.connections, grpcio.connections])
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        await stub.Resume(coordinator_pb2.ResumeRequest())
        assert samples(metrics)["fasttree_test_connections_open", "n1", "here"] == 1
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
    name = "fasttree_test_connections_ended_total"
    await until(lambda: samples(metrics)[name, "n1", "here", "protocol"] == 1, "the connection's end")
    assert samples(metrics)[name, "n1", "here", "full"] == 0
    writer.transport.abort()


def test_a_disk_that_is_gone_has_no_room(tmp_path: Path) -> None:
    metrics = Metrics("test", "fasttree_test_")
    metrics.process(tmp_path / "gone")
    assert samples(metrics)["fasttree_test_disk_free_bytes",] == 0
