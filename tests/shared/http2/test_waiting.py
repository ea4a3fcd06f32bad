"""Calls that waited too long for their turn are refused, and which ones never are."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from ngh2 import Connection, ResponseReceived, Role

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.security.caller import Caller
from services.shared.serving.connections import Connections
from services.shared.serving.http2 import protocol
from services.shared.serving.http2.events import Begun
from services.shared.serving.http2.limits import Limits
from services.shared.serving.http2.server import Http2Server
from services.shared.serving.server import GrpcServer
from tests.shared.http2.peer import framed, headers


class Coordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    async def Switchover(self, request: Any, context: Any) -> Any:
        return coordinator_pb2.SwitchoverResponse()

    async def GetCluster(self, request: Any, context: Any) -> Any:
        return coordinator_pb2.GetClusterResponse()

    async def KeepAlive(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            yield coordinator_pb2.KeepAliveResponse(sequence=request.sequence)


async def test_a_call_that_waited_too_long_is_refused_and_what_holds_the_cluster_together_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited_s = 0.0
    # When a call is begun, as against when it came.
    monkeypatch.setattr(protocol, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + waited_s))
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, Coordinator())], [], setting="coordinator.port")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
        stub, health = coordinator_pb2_grpc.CoordinatorServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        request = coordinator_pb2.SwitchoverRequest()

        async def code(timeout_s: float | None) -> grpc.StatusCode:
            try:
                await stub.Switchover(request, timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        refused = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [await code(None), await code(60)] == [grpc.StatusCode.OK] * 2
        waited_s = 60.0
        assert await code(70) is refused
        assert await code(None) is refused
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Switchover(request)
        assert "coordinator.queue_s_max" in (raised.value.details() or "")
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        status = rpc_status.from_call(raised.value)
        assert status.details[0].Unpack(info)
        assert status.details[1].Unpack(retry)
        assert (info.reason, retry.retry_delay.ToSeconds()) == ("WAITED_TOO_LONG", 1)
        assert server.callers.refused == {("nobody", "queue"): 3}
        # Health, what the cluster's parts ask each other, and streams of requests.
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1
        await stub.GetCluster(coordinator_pb2.GetClusterRequest())
        lease: Any = stub.KeepAlive()
        await lease.write(coordinator_pb2.KeepAliveRequest(sequence=7))
        assert (await lease.read()).sequence == 7
        lease.cancel()
        waited_s = 0.0
        assert await code(60) is grpc.StatusCode.OK
        assert server.callers.refused == {("nobody", "queue"): 3}
    await server.stop(0)


@pytest.mark.parametrize(
    ("waited_s", "timeout_s", "stale"),
    [(0.7, 1.0, False), (0.8, 1.0, True), (4.9, None, False), (5.1, None, True), (4.9, 60.0, False), (5.1, 60.0, True)],
)
def test_how_long_is_too_long(waited_s: float, timeout_s: float | None, stale: bool) -> None:
    server = Http2Server(Limits(), 1, 1, ("", ()), Connections("x"))
    begun = Begun()
    begun.path, begun.message, begun.timeout_s = b"/x", b"", timeout_s
    reporter, node = (Caller((f"spiffe://dot-live/{role}/x",)) for role in ("reporter", "node"))
    assert [server.is_stale(begun, who, waited_s) for who in (None, reporter, node)] == [stale, stale, False]


class _Socket:
    """What a connection writes to."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.write = self.written.append

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 40_000) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return False


class _Clock:
    """A loop's, and the machine's."""

    now_s = 100.0

    def time(self) -> float:
        return self.now_s

    monotonic = time


def test_what_came_in_one_moment_is_read_and_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, socket = _Clock(), _Socket()
    monkeypatch.setattr(protocol, "time", clock)
    server = Http2Server(Limits(), 10, 1, ("", ()), Connections("x"))
    coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server(Coordinator(), server)  # type: ignore[arg-type]
    connection = protocol.ServerProtocol(server, clock)  # type: ignore[arg-type]
    connection.connection_made(socket)  # type: ignore[arg-type]
    monkeypatch.setattr(server, "is_behind", lambda loop: True)
    monkeypatch.setattr(server, "wait_for_turn", lambda connection: None)
    client = Connection(Role.CLIENT)
    client.initiate_connection({})
    client.receive_data(b"".join(socket.written))
    path = b"/fasttree.v1.CoordinatorService/Switchover"

    def come(at_s: float) -> None:
        clock.now_s = 100.0 + at_s
        client.send_data(client.send_request(headers(path, {"grpc-timeout": b"1S"})), framed(b""), end_stream=True)
        connection.data_received(client.data_to_send())

    def turn() -> tuple[int, list[bytes]]:
        """Writes to the socket, and the statuses in them."""
        del socket.written[:]
        connection.take_turn()
        client.receive_data(b"".join(socket.written))
        answers = [event for event in client.events() if isinstance(event, ResponseReceived)]
        return len(socket.written), [dict(event.headers)[b"grpc-status"] for event in answers]

    for number in range(20):
        come(0.004 * number)
    come(0.5)
    clock.now_s = 100.9
    refused = b"%d" % grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert turn() == (1, [refused] * 20)
    # The last came later by more than a tenth of what the first had waited: its age is its own.
    assert len(connection._unread) == 1
    clock.now_s = 101.3
    assert turn() == (1, [refused])
