"""Connections by TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import pytest

from fasttree.v1 import report_pb2, report_pb2_grpc
from services.shared.serving.connections import End
from tests.shared.http2.certificates import Authority, Certificate
from tests.shared.http2.served import Reports, Served
from tests.waiting import until

DEADLINE_S = 60.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.signed("a server")


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE_S):
        yield


async def asked(address: str, authority: Authority, certificate: Certificate | None = None) -> dict[str, object]:
    """Who the server says we are."""
    parts = (certificate.key.read_bytes(), certificate.chain.read_bytes()) if certificate else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.root.read_bytes(), *parts)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        stub: report_pb2_grpc.ReportServiceAsyncStub = report_pb2_grpc.ReportServiceStub(channel)
        answer = await stub.GetMember(report_pb2.GetMemberRequest(member_id="a"))
        found: dict[str, object] = json.loads(answer.member.member_id)
        return found


async def test_calls_and_long_streams_go_by_tls(authority: Authority, certificate: Certificate) -> None:
    async with Served(authority.server_context(certificate)) as served:
        credentials = grpc.ssl_channel_credentials(authority.root.read_bytes())
        async with grpc.aio.secure_channel(served.address, credentials) as channel:
            stub: report_pb2_grpc.ReportServiceAsyncStub = report_pb2_grpc.ReportServiceStub(channel)
            stream = stub.StreamDownline(report_pb2.StreamDownlineRequest(member_id="20000"))
            assert [answer.as_of.position async for answer in stream] == list(range(20_000))
            assert served.counts.open == 1


@asynccontextmanager
async def ours(authority: Authority, certificate: Certificate) -> AsyncIterator[str]:
    async with Served(authority.server_context(certificate, ssl.CERT_REQUIRED)) as served:
        yield served.address


@asynccontextmanager
async def grpcios(authority: Authority, certificate: Certificate) -> AsyncIterator[str]:
    server = grpc.aio.server()
    report_pb2_grpc.add_ReportServiceServicer_to_server(Reports(), server)
    pair = (certificate.key.read_bytes(), certificate.chain.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], authority.root.read_bytes(), require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield f"localhost:{port}"
    await server.stop(0)


Serve = Callable[[Authority, Certificate], AbstractAsyncContextManager[str]]


@pytest.mark.parametrize("serve", [ours, grpcios])
@pytest.mark.parametrize("names", ["DNS:n1.example.com,DNS:n1,URI:spiffe://example.com/n1", "URI:urn:n1"])
async def test_handlers_are_told_who_the_client_is(
    serve: Serve, names: str, authority: Authority, certificate: Certificate
) -> None:
    client = authority.signed(f"client of {serve.__name__} {len(names)}", names)
    async with serve(authority, certificate) as address:
        found = await asked(address, authority, client)
    values = [name.partition(":")[2] for name in names.split(",")]
    assert found == {
        "context": {
            "peer_dns": [name.removeprefix("DNS:") for name in names.split(",") if name.startswith("DNS:")],
            "peer_uri": [name.removeprefix("URI:") for name in names.split(",") if name.startswith("URI:")],
            "security_level": ["TSI_PRIVACY_AND_INTEGRITY"],
            "transport_security_type": ["ssl"],
            "x509_common_name": [client.chain.stem],
            "x509_pem_cert": [client.chain.read_text()],
            "x509_subject_alternative_name": values,
        },
        "identities": values,
        "key": "x509_subject_alternative_name",
        "peer": "ipv4",
    }


async def test_a_client_without_a_certificate_is_nobody(authority: Authority, certificate: Certificate) -> None:
    async with Served(authority.server_context(certificate)) as served:
        found = await asked(served.address, authority)
    assert found["identities"] == []
    assert found["key"] == ""


async def test_a_client_without_a_good_certificate_is_refused(
    authority: Authority, certificate: Certificate, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "another").signed("a stranger")
    async with Served(authority.server_context(certificate, ssl.CERT_REQUIRED)) as served:
        for wrong in (None, stranger):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await asked(served.address, authority, wrong)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert served.counts.ended[End.TLS] >= 2
        assert await asked(served.address, authority, authority.signed("a good one"))


@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("h2c",)])
async def test_a_client_that_does_not_say_http2_is_refused(
    protocols: tuple[str, ...], authority: Authority, certificate: Certificate
) -> None:
    async with Served(authority.server_context(certificate)) as served:
        with contextlib.suppress(ConnectionError):
            reader, writer = await served.raw(authority.client_context(*protocols))
            writer.write(PREFACE)
            assert await reader.read() == b""
        await until(lambda: not served.counts.open, "the connection's end")
        assert served.counts.ended[End.TLS] == 1
        reader, writer = await served.raw(authority.client_context("http/1.1", "h2"))
        writer.write(PREFACE)
        assert (await reader.readexactly(4))[3] == 4  # its settings
        assert served.counts.open == 1
        writer.close()
        await until(lambda: not served.counts.open, "the connection's end")
        assert {why: count for why, count in served.counts.ended.items() if count} == {End.TLS: 1, End.CLIENT: 1}


@pytest.mark.parametrize(
    "sent", [PREFACE, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 70_000]
)
async def test_a_peer_without_tls_is_refused(sent: bytes, authority: Authority, certificate: Certificate) -> None:
    async with Served(authority.server_context(certificate)) as served:
        with contextlib.suppress(ConnectionError):
            reader, writer = await served.raw()
            writer.write(sent)
            assert len(await reader.read()) < 100  # an alert at most
        await until(lambda: served.counts.ended[End.TLS] == 1, "the connection's end")
        assert await asked(served.address, authority)


async def test_peers_that_do_not_finish_their_handshake_are_bounded(
    authority: Authority, certificate: Certificate
) -> None:
    async with Served(authority.server_context(certificate), hello_s=1.0) as served:
        opened = [await served.raw() for _ in range(3)]
        opened[1][1].write(b"\x16\x03\x01\x02\x00\x01")
        await until(lambda: served.counts.open == 3, "the three connections")
        with contextlib.suppress(ConnectionError):
            reader, _ = await served.raw()
            assert await reader.read() == b""  # one more than there may be
        assert served.counts.ended[End.FULL] == 1
        for reader, _ in opened:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert served.counts.ended[End.TLS] == 3
        assert await asked(served.address, authority)


async def test_a_handshake_that_is_cut_off_leaves_nothing(authority: Authority, certificate: Certificate) -> None:
    hello = ssl.MemoryBIO()
    half = authority.client_context("h2").wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    sent = hello.read()
    async with Served(authority.server_context(certificate)) as served:
        for number, size in enumerate((0, 1, 5, len(sent) // 2, len(sent)), 1):
            one = socket.create_connection(("127.0.0.1", served.port))
            one.sendall(sent[:size])
            if number % 2:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            one.close()
            await until(lambda number=number: served.counts.ended[End.TLS] == number, "its end")  # type: ignore[misc]
        assert not served.counts.open
        assert await asked(served.address, authority)


async def test_a_new_certificate_is_for_later_connections(
    authority: Authority, certificate: Certificate, tmp_path: Path
) -> None:
    later = Authority(tmp_path / "later")
    async with Served(authority.server_context(certificate)) as served:
        credentials = grpc.ssl_channel_credentials(authority.root.read_bytes())
        async with grpc.aio.secure_channel(served.address, credentials) as channel:
            stub: report_pb2_grpc.ReportServiceAsyncStub = report_pb2_grpc.ReportServiceStub(channel)
            stream = aiter(stub.StreamDownline(report_pb2.StreamDownlineRequest(member_id="20000")))
            assert (await anext(stream)).as_of.position == 0
            served.context = later.server_context(later.signed("a later one"))
            assert await asked(served.address, later)
            with pytest.raises(grpc.aio.AioRpcError):
                await asked(served.address, authority)
            assert len([answer async for answer in stream]) == 19_999


async def test_a_stop_ends_handshakes(authority: Authority, certificate: Certificate) -> None:
    async with Served(authority.server_context(certificate)) as served:
        reader, _ = await served.raw()
        await until(lambda: served.counts.open == 1, "the connection")
        await served.server.stop(DEADLINE_S)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
