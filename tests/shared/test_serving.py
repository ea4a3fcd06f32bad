"""A server's health, reflection and errors, as a stock client sees them."""

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator

import grpc
import msgspec
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.serving.channels import open_channel, server_options
from services.shared.serving.errors import NotFoundError
from services.shared.serving.server import PRIMARY, READY, GrpcServer
from services.shared.serving.settings import ServingSettings
from tests.waiting import until

AGE_S = 0.2
ANY = health_pb2.HealthCheckRequest()
SERVICE = "fasttree.v1.CoordinatorService"


class Failing(coordinator_pb2_grpc.CoordinatorServiceServicer):
    async def Switchover(self, request, context):
        raise NotFoundError("no node n9; `fasttree status` lists them", field="to_node", value="n9")

    async def Pause(self, request, context):
        raise KeyError("a secret")

    async def WatchCluster(self, request, context):
        yield coordinator_pb2.WatchClusterResponse()
        raise NotFoundError("gone", reason="GONE")


@pytest.fixture(params=["nghttp2", "grpcio"])
def serving(request: pytest.FixtureRequest) -> ServingSettings:
    return ServingSettings(server=request.param)


@pytest.fixture
async def server(serving: ServingSettings) -> AsyncIterator[GrpcServer]:
    server = GrpcServer(
        "127.0.0.1:0",
        [(coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server, Failing())],
        [SERVICE],
        serving,
    )
    await server.start()
    yield server
    await server.stop(0)


async def test_health_by_name(server: GrpcServer) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        async def status(name: str) -> int:
            response = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            return int(response.status)

        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        assert await status("") == serving
        assert await status(READY) == not_serving
        await server.set_health(READY, True)
        assert await status(READY) == serving
        assert await status(PRIMARY) == not_serving


async def test_reflection_lists_the_service(server: GrpcServer) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
        assert SERVICE in [service.name for service in answers[0].list_services_response.service]


@pytest.mark.parametrize(
    ("symbol", "found"),
    [
        ("fasttree.v1.CoordinatorService", True),
        ("fasttree.v1.CoordinatorService.Switchover", True),
        ("fasttree.v1.SwitchoverRequest", True),
        ("fasttree.v1.SwitchoverRequest.to_node", True),
        ("fasttree.v1.NodeState.NODE_STATE_PRIMARY", True),
        ("fasttree.v1.CoordinatorService.NoSuchCall", False),
        ("fasttree.v1.NoSuchService.Switchover", False),
        ("Switchover", False),
    ],
)
async def test_reflection_describes_what_stock_tools_ask_for(server: GrpcServer, symbol: str, found: bool) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
        assert answer.HasField("file_descriptor_response") == found
        assert answer.error_response.error_code == (0 if found else grpc.StatusCode.NOT_FOUND.value[0])


async def test_thousands_of_calls_in_one_moment_are_all_answered(server: GrpcServer) -> None:
    """gRPC's own limit of calls that wait for a server is 1,000; it breaks off the others without a word."""
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        await channel.channel_ready()  # else it would have to be while all of them are made
        calls = [stub.Check(health_pb2.HealthCheckRequest()) for _ in range(2_000)]  # each may take as long as it does
        answers = await asyncio.gather(*calls)
        assert {answer.status for answer in answers} == {health_pb2.HealthCheckResponse.SERVING}


async def test_a_call_beyond_those_that_may_be_is_told_when_to_come_again(serving: ServingSettings) -> None:
    full = msgspec.structs.replace(serving, calls_max=2)
    server = GrpcServer("127.0.0.1:0", [], [], full, "treenode.report_port")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            watches = [stub.Watch(ANY) for _ in range(full.calls_max)]
            for watch in watches:
                await watch.read()
            # Who looks whether it is well has room of his own.
            assert (await stub.Check(ANY)).status is health_pb2.HealthCheckResponse.SERVING
            for _ in range(2):
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await anext(aiter(stub.Watch(ANY)))
                assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert raised.value.details() == "2 calls are under way; treenode.calls_max sets how many may be"
                status = rpc_status.from_call(raised.value)
                info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
                assert status.details[0].Unpack(info)
                assert status.details[1].Unpack(retry)
                assert (info.reason, retry.retry_delay.ToSeconds()) == ("TOO_MANY_CALLS", 1)
            watches[0].cancel()

            async def is_taken() -> bool:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return bool((await anext(aiter(stub.Watch(ANY)))).status)
                return False

            await until(is_taken, "room for another call")
    finally:
        await server.stop(0)


async def test_a_named_error_has_details(server: GrpcServer) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Switchover(coordinator_pb2.SwitchoverRequest(to_node="n9"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        status = rpc_status.from_call(raised.value)
        info, resource = error_details_pb2.ErrorInfo(), error_details_pb2.ResourceInfo()
        assert status.details[0].Unpack(info)
        assert status.details[1].Unpack(resource)
        assert dict(info.metadata) == {"field": "to_node", "value": "n9"}
        assert resource.resource_name == "n9"


async def test_a_stream_ends_with_the_error(server: GrpcServer) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        seen = 0
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in stub.WatchCluster(coordinator_pb2.WatchClusterRequest()):
                seen += 1
        assert seen == 1
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_fault_of_ours_tells_no_secret(server: GrpcServer, caplog: pytest.LogCaptureFixture) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Pause(coordinator_pb2.PauseRequest())
        assert raised.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(raised.value.details())
        assert "Pause failed" in caplog.text


async def test_a_taken_port_is_named(server: GrpcServer) -> None:
    second = GrpcServer(f"127.0.0.1:{server.port}", [], [])
    with pytest.raises(OSError, match=str(server.port)):
        await second.start()
    await second.stop(0)


async def test_stop_turns_health_off_for_watchers(server: GrpcServer) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        answers = aiter(watch)
        assert (await anext(answers)).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(server.stop(2))
        assert (await anext(answers)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await stopping


class Counting(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Answers, and notes who asked from which connection."""

    def __init__(self) -> None:
        self.peers: set[str] = set()

    async def Pause(self, request, context):
        self.peers.add(context.peer())
        return coordinator_pb2.PauseResponse()

    async def Switchover(self, request, context):
        self.peers.add(context.peer())
        return coordinator_pb2.SwitchoverResponse()

    async def WatchCluster(self, request, context):
        for _ in range(10):
            yield coordinator_pb2.WatchClusterResponse()
            await asyncio.sleep(AGE_S / 2)


async def test_an_aged_connection_ends_and_no_call_or_stream_with_it(serving: ServingSettings) -> None:
    counting = Counting()
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, counting)], [SERVICE], serving, age_s_max=AGE_S)
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)

            async def watched() -> int:
                return sum([1 async for _ in stub.WatchCluster(coordinator_pb2.WatchClusterRequest())])

            watching = asyncio.create_task(watched())
            async with asyncio.timeout(60):
                while len(counting.peers) < 3:
                    await stub.Pause(coordinator_pb2.PauseRequest())
                assert await watching == 10
    finally:
        await server.stop(0)


def test_an_age_of_0_is_no_age() -> None:
    assert not [name for name, _ in server_options(1, 0) if "_age_" in name]


async def test_what_can_be_answered_at_once_is_and_the_handler_has_the_rest(serving: ServingSettings) -> None:
    """By either server; only ours asks first."""
    counting, asked = Counting(), []
    known = coordinator_pb2.SwitchoverRequest(to_node="known").SerializeToString()

    def at_once(request: bytes) -> bytes | None:
        asked.append(request)
        if request == coordinator_pb2.SwitchoverRequest(to_node="a fault").SerializeToString():
            raise KeyError("a fault")
        return coordinator_pb2.SwitchoverResponse().SerializeToString() if request == known else None

    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    full = msgspec.structs.replace(serving, calls_max=1)
    server = GrpcServer("127.0.0.1:0", [(add, counting)], [], full, at_once={f"/{SERVICE}/Switchover": at_once})
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            answered = {}
            for to_node in ("known", "unknown", "a fault"):
                counting.peers.clear()
                request = coordinator_pb2.SwitchoverRequest(to_node=to_node)
                assert await stub.Switchover(request, timeout=60) == coordinator_pb2.SwitchoverResponse()
                assert await stub.Switchover(request, timeout=60, compression=grpc.Compression.Gzip) is not None
                answered[to_node] = not counting.peers
            ours = serving.server == "nghttp2"
            assert answered == {"known": ours, "unknown": False, "a fault": False}
            assert len(asked) == (6 if ours else 0)
            assert sum(server.calls.ended["Switchover", "OK"].counts) == 6
            assert server.calls.open["Switchover"] == 0
            watch = stub.WatchCluster(coordinator_pb2.WatchClusterRequest())
            await watch.read()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.Switchover(coordinator_pb2.SwitchoverRequest(to_node="known"))
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            watch.cancel()
    finally:
        await server.stop(0)


async def test_the_health_of_a_name_that_nobody_set_is_not_found(server: GrpcServer) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="n9"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


_WITHOUT_NGH2 = """
import asyncio, logging, sys
sys.modules["ngh2"] = None
logging.basicConfig()
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from services.shared.serving.server import GrpcServer

async def main():
    server = GrpcServer("127.0.0.1:0", [], [])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    await server.stop(0)
    print(answer.status)

asyncio.run(main())
"""


def test_where_ngh2_is_missing_grpcio_serves_and_says_so() -> None:
    ran = subprocess.run([sys.executable, "-c", _WITHOUT_NGH2], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.strip() == str(health_pb2.HealthCheckResponse.SERVING)
    assert "ngh2 is missing" in ran.stderr


def test_what_a_peer_sent_is_spelled_out_in_messages() -> None:
    assert NotFoundError("no node \x00\n\x1b[31mx").message == "no node \\x00\\x0a\\x1b[31mx"
