"""The server, as stock clients and hostile ones meet it, beside grpcio's: what one gives the other gives too."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fasttree.v1 import report_pb2, report_pb2_grpc, types_pb2
from services.shared.security.own import begin
from services.shared.security.settings import CLEARTEXT, TlsSettings
from services.shared.serving.channels import open_channel
from services.shared.serving.connections import End
from services.shared.serving.errors import NotFoundError
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings

if TYPE_CHECKING:
    from fasttree.v1.report_pb2_grpc import ReportServiceAsyncStub as Stub

DEADLINE_S = 60.0
LARGE = 3_000_000


def stub_of(channel: grpc.aio.Channel) -> Stub:
    return report_pb2_grpc.ReportServiceStub(channel)


class Reports(report_pb2_grpc.ReportServiceServicer):
    """Answers with what it was asked, in the ways that there are."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.told = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def GetMember(self, request, context):
        match request.member_id:
            case "metadata":
                found = sorted((key, value) for key, value in context.invocation_metadata() if key.startswith("x-"))
                await context.send_initial_metadata((("x-first", "1"), ("x-raw-bin", b"\0\xff")))
                context.set_trailing_metadata((("x-last", repr(found)),))
            case "code":
                context.set_code(grpc.StatusCode.DATA_LOSS)
                context.set_details("über 100 %\n")
            case "abort":
                await context.abort(grpc.StatusCode.ABORTED, "enough", (("x-why", "so"),))
            case "wait":
                self.begun.set()
                context.add_done_callback(lambda _: self.told.set())
                try:
                    await asyncio.sleep(DEADLINE_S)
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "remaining":
                return report_pb2.GetMemberResponse(member=types_pb2.Member(level=round(context.time_remaining())))
            case "none":
                await asyncio.sleep(0)
                raise NotFoundError("no such member", field="member_id", value="none")
        return report_pb2.GetMemberResponse(member=types_pb2.Member(member_id=request.member_id))

    async def StreamDownline(self, request, context):
        for number in range(int(request.member_id)):
            yield report_pb2.StreamDownlineResponse(as_of=types_pb2.AsOf(position=number))

    async def BatchGetMembers(self, request, context):
        await asyncio.sleep(0)
        return report_pb2.BatchGetMembersResponse(members=[types_pb2.Member(member_id="x" * LARGE)])


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture(params=["nghttp2", "grpcio"])
async def server(request: pytest.FixtureRequest, reports: Reports) -> AsyncIterator[GrpcServer]:
    add = report_pb2_grpc.add_ReportServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, reports)], [], ServingSettings(server=request.param))
    await server.start()
    async with asyncio.timeout(DEADLINE_S):
        yield server
    await server.stop(0)


@pytest.fixture
async def stub(server: GrpcServer) -> AsyncIterator[Stub]:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        yield stub_of(channel)


def member(member_id: str) -> report_pb2.GetMemberRequest:
    return report_pb2.GetMemberRequest(member_id=member_id)


async def test_metadata_goes_both_ways(stub: Stub) -> None:
    call = stub.GetMember(member("metadata"), metadata=(("x-text", "a b"), ("x-raw-bin", b"\0\1,\2"), ("x-text", "c")))
    await call
    assert dict(await call.initial_metadata())["x-raw-bin"] == b"\0\xff"
    expected = [("x-raw-bin", b"\0\1,\2"), ("x-text", "a b"), ("x-text", "c")]
    assert dict(await call.trailing_metadata())["x-last"] == repr(expected)


@pytest.mark.parametrize(
    ("member_id", "code", "details"),
    [
        ("code", grpc.StatusCode.DATA_LOSS, "über 100 %\n"),
        ("abort", grpc.StatusCode.ABORTED, "enough"),
        ("none", grpc.StatusCode.NOT_FOUND, "no such member"),
    ],
)
async def test_statuses(stub: Stub, member_id: str, code: grpc.StatusCode, details: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.GetMember(member(member_id))
    assert raised.value.code() is code
    assert raised.value.details() == details


@pytest.mark.parametrize(
    ("method", "request_bytes", "code"),
    [
        ("None", b"", grpc.StatusCode.UNIMPLEMENTED),
        ("GetMember", b"\xff\xff\xff", grpc.StatusCode.UNKNOWN),
    ],
    ids=["a method that is not there", "a request of another message"],
)
async def test_calls_that_are_of_another_api(
    server: GrpcServer, method: str, request_bytes: bytes, code: grpc.StatusCode
) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        call: Any = channel.unary_unary(f"/fasttree.v1.ReportService/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(request_bytes)
    assert raised.value.code() is code


async def test_a_method_that_the_servicer_does_not_have() -> None:
    """What generated base classes say reaches the client; grpcio's server says UNKNOWN."""
    server = GrpcServer("127.0.0.1:0", [], [])
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest())
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert raised.value.details() == "Method not implemented!"
    await server.stop(0)


async def test_a_deadline_is_told_and_kept(stub: Stub, reports: Reports) -> None:
    answer = await stub.GetMember(member("remaining"), timeout=50)
    assert answer.member.level == 50
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.GetMember(member("wait"), timeout=0.2)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await reports.told.wait()
    await reports.cancelled.wait()


async def test_a_call_that_is_taken_back_is_cancelled(stub: Stub, reports: Reports) -> None:
    call = stub.GetMember(member("wait"))
    await reports.begun.wait()
    call.cancel()
    await reports.told.wait()
    await reports.cancelled.wait()


async def test_large_answers_and_long_streams(stub: Stub) -> None:
    answer = await stub.BatchGetMembers(report_pb2.BatchGetMembersRequest())
    assert len(answer.members[0].member_id) == LARGE
    seen = [answer.as_of.position async for answer in stub.StreamDownline(_downline(20_000))]
    assert seen == list(range(20_000))


async def test_a_slow_reader_holds_its_own_stream_and_no_other(stub: Stub) -> None:
    slow = aiter(stub.StreamDownline(_downline(50_000)))
    assert (await anext(slow)).as_of.position == 0
    for _ in range(20):
        assert (await stub.GetMember(member("7"))).member.member_id == "7"
    assert [answer.as_of.position async for answer in slow] == list(range(1, 50_000))


async def test_compressed_requests_are_read(server: GrpcServer) -> None:
    address = f"127.0.0.1:{server.port}"
    async with grpc.aio.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        answer = await stub_of(channel).GetMember(member("y" * 100_000))
    assert answer.member.member_id == "y" * 100_000


async def test_a_request_that_is_too_large(reports: Reports) -> None:
    add = report_pb2_grpc.add_ReportServiceServicer_to_server
    for kind in ("nghttp2", "grpcio"):
        server = GrpcServer(
            "127.0.0.1:0", [(add, reports)], [], ServingSettings(server=kind), message_bytes_max=100_000
        )
        await server.start()
        async with open_channel(f"127.0.0.1:{server.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub_of(channel).GetMember(member("z" * 100_001))
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, kind
            assert "larger than max" in str(raised.value.details())
            assert (await stub_of(channel).GetMember(member("a"))).member.member_id == "a"
        await server.stop(0)


async def test_calls_beyond_the_limit_are_refused_with_the_setting_named(reports: Reports) -> None:
    add = report_pb2_grpc.add_ReportServiceServicer_to_server
    server = GrpcServer(
        "127.0.0.1:0", [(add, reports)], [], ServingSettings(calls_max=10), setting="treenode.report_port"
    )
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stub = stub_of(channel)
        waiting = [asyncio.create_task(_outcome(stub)) for _ in range(15)]
        done, left = await asyncio.wait(waiting, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 5:
            more, left = await asyncio.wait(left, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        errors = [task.result() for task in done]
        assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert "treenode.calls_max" in str(errors[0].details())
        assert "grpc-status-details-bin" in dict(errors[0].trailing_metadata())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        assert (await stub.GetMember(member("a"))).member.member_id == "a"
    await server.stop(0)


async def _outcome(stub: Stub) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.GetMember(member("wait"))
    return raised.value


async def test_connections_beyond_the_limit_are_closed(reports: Reports) -> None:
    add = report_pb2_grpc.add_ReportServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, reports)], [], ServingSettings(connections_max=20))
    port = await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        await stub_of(channel).GetMember(member("a"))
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        closed = 0
        for reader, _ in opened:
            with contextlib.suppress(ConnectionError):
                closed += not await reader.read(1)
        assert closed >= 21
        assert server.connections is not None
        assert server.connections.ended[End.FULL] == closed
        assert server.connections.open == 20
        assert (await stub_of(channel).GetMember(member("b"))).member.member_id == "b"
        for _, writer in opened:
            writer.transport.abort()
    await server.stop(0)


async def test_a_stop_lets_calls_finish(server: GrpcServer) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stream = aiter(stub_of(channel).StreamDownline(_downline(10_000)))
        assert (await anext(stream)).as_of.position == 0
        stopping = asyncio.create_task(server.stop(DEADLINE_S))
        assert len([answer async for answer in stream]) == 9_999
        await stopping


async def test_a_stop_ends_calls_that_do_not(server: GrpcServer, reports: Reports) -> None:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        waiting = asyncio.create_task(_outcome(stub_of(channel)))
        await reports.begun.wait()
        await server.stop(0.1)
        assert (await waiting).code() is grpc.StatusCode.UNAVAILABLE


async def test_it_listens_on_both_families_of_every_address(reports: Reports) -> None:
    add = report_pb2_grpc.add_ReportServiceServicer_to_server
    server = GrpcServer("[::]:0", [(add, reports)], [])
    begin(TlsSettings(mode=CLEARTEXT))
    port = await server.start()
    begin(TlsSettings())
    for address in (f"127.0.0.1:{port}", f"[::1]:{port}"):
        async with open_channel(address) as channel:
            assert (await stub_of(channel).GetMember(member("a"))).member.member_id == "a"
    await server.stop(0)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0)
HOSTILE = {
    "settings": _frame(4, 0, 0) * 2_000,
    "pings": _frame(6, 0, 0, b"12345678") * 2_000,
    "nothing on a stream that was never opened": _frame(0, 0, 1) * 2_000,
    "a header block without an end": _frame(1, 0, 1, b"\x83\x86") + _frame(9, 0, 1, b"\x41\x01x" * 50) * 2_000,
    "windows of no size": _frame(8, 0, 0, b"\0\0\0\0") * 2_000,
    "frames that nobody knows": _frame(99, 0, 0, b"x" * 100) * 2_000,
    "not HTTP/2": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_floods_end_their_connection_and_hold_up_nobody(reports: Reports, name: str) -> None:
    add = report_pb2_grpc.add_ReportServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, reports)], [])
    port = await server.start()
    async with asyncio.timeout(DEADLINE_S), open_channel(f"127.0.0.1:{port}") as channel:
        await stub_of(channel).GetMember(member("a"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((b"" if name == "not HTTP/2" else _PREFACE) + HOSTILE[name])
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                writer.write(HOSTILE[name])
                await writer.drain()
                assert (await stub_of(channel).GetMember(member("a"))).member.member_id == "a"
                if reader.at_eof():
                    break
            if name != "frames that nobody knows":
                await reader.read()
        writer.transport.abort()
        assert (await stub_of(channel).GetMember(member("b"))).member.member_id == "b"
    await server.stop(0)


async def test_hundreds_of_idle_connections_hold_up_nobody(reports: Reports) -> None:
    add = report_pb2_grpc.add_ReportServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, reports)], [])
    port = await server.start()
    sockets = []
    try:
        for _ in range(400):
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(_PREFACE)
            sockets.append(one)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            assert (await stub_of(channel).GetMember(member("a"))).member.member_id == "a"
    finally:
        for one in sockets:
            one.close()
        await server.stop(0)


def _downline(count: int) -> report_pb2.StreamDownlineRequest:
    return report_pb2.StreamDownlineRequest(member_id=str(count))
