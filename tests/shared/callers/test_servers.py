"""Limits of callers by both servers, in clear and by TLS: who is held to them, who goes on, what a call's end gives."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.security.own import begin
from services.shared.security.settings import TlsSettings
from services.shared.serving.callers.settings import CallerSettings
from services.shared.serving.metrics import Metrics
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings

DAY = datetime.timedelta(days=1)
FEW = CallerSettings(caller_calls_max=3, caller_streams_max=2)
WATCH, GET = coordinator_pb2.WatchClusterRequest(), coordinator_pb2.GetClusterRequest()


class Coordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    async def GetCluster(self, request: Any, context: Any) -> Any:
        return coordinator_pb2.GetClusterResponse()

    async def WatchCluster(self, request: Any, context: Any) -> Any:
        yield coordinator_pb2.WatchClusterResponse()
        await asyncio.Event().wait()

    async def KeepAlive(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            yield coordinator_pb2.KeepAliveResponse(sequence=request.sequence)


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    yield
    begin(TlsSettings())


@pytest.fixture(params=["nghttp2", "grpcio"])
def serving(request: pytest.FixtureRequest) -> ServingSettings:
    return ServingSettings(server=request.param, callers=FEW)


@pytest.fixture
def certs(tmp_path: Path) -> CertificateFolder:
    folder = CertificateFolder(tmp_path)
    folder.init("dot-test", DAY)
    folder.issue(folder.authority(), Holder("node", "n1"), ["localhost"], DAY)
    return folder


async def started(serving: ServingSettings) -> GrpcServer:
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, Coordinator())], [], serving, "coordinator.port")
    await server.start()
    return server


def channel_of(certs: CertificateFolder, role: str, name: str, server: GrpcServer) -> grpc.aio.Channel:
    pair = certs.issue(certs.authority(), Holder(role, name), [], DAY)
    credentials = grpc.ssl_channel_credentials(
        certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
    )
    return grpc.aio.secure_channel(f"localhost:{server.port}", credentials)


async def watched(channel: grpc.aio.Channel) -> Any:
    """A stream that stands."""
    stream = coordinator_pb2_grpc.CoordinatorServiceStub(channel).WatchCluster(WATCH, timeout=60)
    await anext(aiter(stream))
    return stream


async def watched_in_the_end(channel: grpc.aio.Channel) -> Any:
    """The same once there is room for it: the end of another one is on the way."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                return await watched(channel)


async def never() -> AsyncIterator[coordinator_pb2.KeepAliveRequest]:
    await asyncio.Event().wait()
    yield coordinator_pb2.KeepAliveRequest()


async def refusal(channel: grpc.aio.Channel) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await watched(channel)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return raised.value.details() or ""


async def test_by_tls_one_caller_is_held_to_his_limits_and_nobody_else_is(
    serving: ServingSettings, certs: CertificateFolder
) -> None:
    begin(TlsSettings(mode="mutual", folder=str(certs.path / "node/n1")))
    server = await started(serving)
    async with (
        channel_of(certs, "operator", "anna", server) as anna,
        channel_of(certs, "operator", "anna", server) as elsewhere,
        channel_of(certs, "operator", "bert", server) as bert,
        channel_of(certs, "coordinator", "c1", server) as inside,
    ):
        streams = [await watched(anna), await watched(elsewhere)]
        said = "anna has 2 streams under way; coordinator.caller_streams_max sets how many may be"
        assert await refusal(anna) == f"spiffe://dot-test/operator/{said}"
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(anna)
        for _ in range(5):  # what is over is not counted
            await stub.GetCluster(GET, timeout=60)
        others = [await watched(bert), *[await watched(inside) for _ in range(5)]]
        health = health_pb2_grpc.HealthStub(anna)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1
        streams[0].cancel()
        streams[0] = await watched_in_the_end(elsewhere)
        figures = Metrics("test", "test_")
        figures.callers([server.callers])
        text = figures.text().decode()
        assert 'test_caller_refused_total{limit="streams",role="operator"}' in text
        assert "anna" not in text
        assert all(not each.done() for each in (*streams, *others))
    await server.stop(0)


async def test_in_clear_an_address_is_one_caller_and_the_cluster_s_own_calls_are_apart(
    serving: ServingSettings,
) -> None:
    server = await started(serving)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        held = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
        for each in held:
            await each.read()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await anext(aiter(health.Watch(health_pb2.HealthCheckRequest())))
        assert raised.value.details() == (
            "127.0.0.1 has 2 streams under way; coordinator.caller_streams_max sets how many may be"
        )
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)

        async def requests() -> AsyncIterator[coordinator_pb2.KeepAliveRequest]:
            for sequence in range(3):
                yield coordinator_pb2.KeepAliveRequest(sequence=sequence)

        assert [each.sequence async for each in stub.KeepAlive(requests(), timeout=60)] == [0, 1, 2]
    await server.stop(0)


async def test_however_its_call_ends_a_caller_has_its_place_again(serving: ServingSettings) -> None:
    server = await started(serving)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        for _ in range(3):
            streams = [await watched_in_the_end(channel) for _ in range(2)]
            streams[0].cancel()
            with pytest.raises(grpc.aio.AioRpcError):  # its caller's time is up
                await stub.KeepAlive(never(), timeout=0.05).read()
            streams[1].cancel()
    await server.stop(0)
