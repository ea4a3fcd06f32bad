"""Certificates that count no more: on new connections, old ones and streams under way, by both servers and by a client;
and which lists are believed."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.policy import calls
from fasttree.command.certs.roles import Holder
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.security.following import Tls
from services.shared.security.own import begin, own_tls
from services.shared.security.settings import TlsError, TlsSettings
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings
from services.shared.serving.streams import StreamError, open_stream
from tests.shared.security.test_policy import SERVICES

CLUSTER = "dot-test"
TABLE = Path(__file__).with_name("strangers.txt")
DAY = datetime.timedelta(days=1)
DEADLINE_S = 60.0
OPERATOR = Holder("operator", "anna")


class Coordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    async def GetCluster(self, request: Any, context: Any) -> Any:
        return coordinator_pb2.GetClusterResponse()

    async def WatchCluster(self, request: Any, context: Any) -> Any:
        while True:
            yield coordinator_pb2.WatchClusterResponse()
            await asyncio.sleep(0.01)

    async def KeepAlive(self, requests: Any, context: Any) -> Any:
        async for request in requests:
            yield coordinator_pb2.KeepAliveResponse(sequence=request.sequence)


@pytest.fixture
def certs(tmp_path: Path) -> Iterator[CertificateFolder]:
    folder = CertificateFolder(tmp_path / "certs")
    folder.init(CLUSTER, DAY)
    folder.issue(folder.authority(), Holder("node", "n1"), ["localhost"], DAY)
    begin(settings(folder))
    yield folder
    begin(TlsSettings())


def settings(certs: CertificateFolder) -> TlsSettings:
    return TlsSettings(mode="mutual", folder=str(certs.path / "node/n1"), revoked_file=str(certs.revoked))


def revoke(certs: CertificateFolder, holder: Holder) -> None:
    """As `fasttree certs revoke`, and as if the files had been looked at."""
    path = certs.files(holder).certificate
    certs.revoke(certs.authority(), [each.serial for each in certs.issued() if each.path == path])
    tls = own_tls()
    assert tls is not None
    assert tls.look_at_revoked()


def channel_of(certs: CertificateFolder, holder: Holder, port: int) -> grpc.aio.Channel:
    files = certs.files(holder)
    if not files.certificate.exists():
        certs.issue(certs.authority(), holder, [], DAY)
    pair = (files.key.read_bytes(), files.certificate.read_bytes())
    return grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(certs.ca.read_bytes(), *pair))


@pytest.fixture(params=["nghttp2", "grpcio"])
async def port(request: pytest.FixtureRequest, certs: CertificateFolder) -> AsyncIterator[int]:
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, Coordinator())], [], ServingSettings(server=request.param))
    yield await server.start()
    await server.stop(0.0)


async def get_cluster(channel: grpc.aio.Channel) -> grpc.StatusCode:
    stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
    try:
        await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=DEADLINE_S)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


#: As a call finds it, and as a connection that is broken off does.
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE)


async def test_who_is_revoked_is_refused_on_the_connection_that_stands_and_on_a_new_one(
    certs: CertificateFolder, port: int
) -> None:
    other = Holder("operator", "bert")
    async with channel_of(certs, OPERATOR, port) as channel, channel_of(certs, other, port) as others:
        assert await get_cluster(channel) is grpc.StatusCode.OK
        assert await get_cluster(others) is grpc.StatusCode.OK
        revoke(certs, OPERATOR)
        assert await get_cluster(channel) in REFUSED
        async with channel_of(certs, OPERATOR, port) as again:
            assert await get_cluster(again) in REFUSED
        assert await get_cluster(others) is grpc.StatusCode.OK
    # Whoever has a new certificate is heard.
    certs.issue(certs.authority(), OPERATOR, [], DAY)
    async with channel_of(certs, OPERATOR, port) as renewed:
        assert await get_cluster(renewed) is grpc.StatusCode.OK


async def test_a_stream_under_way_ends(certs: CertificateFolder, port: int) -> None:
    async with channel_of(certs, OPERATOR, port) as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        stream = stub.WatchCluster(coordinator_pb2.WatchClusterRequest(), timeout=DEADLINE_S)
        await anext(aiter(stream))
        revoke(certs, OPERATOR)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async for _ in stream:
                pass
        assert raised.value.code() in REFUSED


@pytest.mark.parametrize("served_by", ["nghttp2", "grpcio"])
async def test_strangers_come_out_as_the_table_says(certs: CertificateFolder, tmp_path: Path, served_by: str) -> None:
    """Every call by everybody who shows no certificate that is good: nothing comes through."""
    authority = certs.authority()
    another = CertificateFolder(tmp_path / "another")
    another.init(CLUSTER, DAY)
    shown = {
        "another authority's": another.issue(another.authority(), OPERATOR, [], DAY),
        "expired": certs.issue(authority, Holder("operator", "old"), [], -datetime.timedelta(minutes=1)),
        "revoked": certs.issue(authority, OPERATOR, [], DAY),
    }
    revoke(certs, OPERATOR)
    server = GrpcServer("127.0.0.1:0", SERVICES, [], ServingSettings(server=served_by))
    port, lines = await server.start(), []
    for who, pair in shown.items():
        credentials = grpc.ssl_channel_credentials(
            certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
        )
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            codes = {(await _code(channel, path)).name for path in calls()}
        lines.append(f"{served_by}: a certificate that is {who}: every call {' '.join(sorted(codes))}\n")
    await server.stop(0.0)
    rows = [row for row in TABLE.read_text().splitlines(keepends=True) if row.startswith(f"{served_by}:")]
    if os.environ.get("REWRITE"):
        others = [row for row in TABLE.read_text().splitlines(keepends=True) if row not in rows]
        TABLE.write_text("".join(sorted([*others, *lines])))
        rows = sorted(lines)
    assert sorted(lines) == rows, "REWRITE=1 writes the table anew: read the difference"


async def _code(channel: grpc.aio.Channel, path: str) -> grpc.StatusCode:
    call: Any = channel.unary_unary(path)
    with contextlib.suppress(TimeoutError):
        try:
            await call(b"", timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


async def test_a_server_that_is_revoked_is_not_believed(certs: CertificateFolder) -> None:
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, Coordinator())], [])
    address = f"localhost:{await server.start()}"
    keep_alive = "/fasttree.v1.CoordinatorService/KeepAlive"
    stream = await open_stream(address, keep_alive)
    await stream.close()
    # The server goes by another list than its client: it does not know yet.
    server._carrier.server.is_welcome = lambda peer: True  # type: ignore[attr-defined]
    revoke(certs, Holder("node", "n1"))
    with pytest.raises(StreamError, match="shows a certificate that is revoked"):
        stream = await open_stream(address, keep_alive)
        await stream.write(b"")
        await anext(aiter(stream.read()))
    await server.stop(0.0)


def test_a_list_that_can_not_be_used_is_told_and_changes_nothing(
    certs: CertificateFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    another = CertificateFolder(tmp_path / "another")
    another.init(CLUSTER, DAY)
    files = certs.issue(certs.authority(), OPERATOR, [], DAY)
    revoke(certs, OPERATOR)
    tls = own_tls()
    assert tls is not None
    peer = {"x509_pem_cert": [files.certificate.read_bytes()]}
    assert tls.guard.is_revoked(peer)
    good = certs.revoked.read_bytes()
    damaged = good.replace(b"\nM", b"\n!", 1)
    for content, said in (
        (b"", "there is no list in it"),
        (damaged, "can't be read"),
        (another.revoked.read_bytes(), "signed by no authority in ca.crt"),
        (None, "can't read what is revoked"),
    ):
        if content is None:
            certs.revoked.unlink()
        else:
            certs.revoked.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            assert not tls.look_at_revoked()
            assert not tls.look_at_revoked()
        assert [said in record.message for record in caplog.records] == [True]
        assert tls.guard.is_revoked(peer)
        assert [said in problem for problem in tls.problems] == [True]
        with pytest.raises(TlsError, match=str(certs.revoked)):
            Tls(settings(certs))
    certs.revoked.write_bytes(good)
    assert not tls.look_at_revoked()  # they are those of before
    assert tls.problems == []


def test_nobody_is_revoked_by_a_number_of_another_authority(certs: CertificateFolder, tmp_path: Path) -> None:
    another = CertificateFolder(tmp_path / "another")
    another.init("dot-other", DAY)
    files = another.issue(another.authority(), OPERATOR, [], DAY)
    serial = x509.load_pem_x509_certificate(files.certificate.read_bytes()).serial_number
    certs.revoke(certs.authority(), [serial])
    tls = Tls(settings(certs))
    assert not tls.guard.is_revoked({"x509_pem_cert": [files.certificate.read_bytes()]})
