"""Both servers, both clients and the HTTP port by certificates; and what listens without."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import grpc
import pytest

from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.security import own
from services.shared.security.own import begin
from services.shared.security.settings import CLEARTEXT, TlsSettings
from services.shared.serving.channels import open_channel
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings
from services.shared.serving.streams import StreamError, open_stream
from tests.shared.http2.certificates import Authority
from tests.shared.security.test_identity import lay_out

DEADLINE_S = 60.0
KEEP_ALIVE = "/fasttree.v1.CoordinatorService/KeepAlive"


class Coordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Tells each caller its own name."""

    async def GetCluster(self, request, context):
        uris = context.auth_context().get("peer_uri", ())
        return coordinator_pb2.GetClusterResponse(cluster=coordinator_pb2.Cluster(primary=b" ".join(uris).decode()))

    async def KeepAlive(self, request_iterator, context):
        async for request in request_iterator:
            yield coordinator_pb2.KeepAliveResponse(sequence=request.sequence)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE_S):
        yield


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    yield
    begin(TlsSettings())


@pytest.fixture(params=["nghttp2", "grpcio"])
async def server(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> AsyncIterator[GrpcServer]:
    begin(lay_out(tmp_path / "tls", authority, "n1"))
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    served = GrpcServer("127.0.0.1:0", [(add, Coordinator())], [], ServingSettings(server=request.param))
    await served.start()
    yield served
    await served.stop(0.0)


async def called(channel: grpc.aio.Channel) -> str:
    stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
    answer = await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=DEADLINE_S)
    return str(answer.cluster.primary)


async def test_each_knows_the_other_and_a_renewal_counts_at_once(
    server: GrpcServer, tmp_path: Path, authority: Authority
) -> None:
    address = f"localhost:{server.port}"
    tls = own.own_tls()
    assert tls is not None
    async with open_channel(address) as before:
        assert await called(before) == "spiffe://dot-test/node/n1"
        # Even another authority: connections that stand go on.
        later = Authority(tmp_path / "later")
        lay_out(tmp_path / "tls", later, "n2")
        assert tls.look()
        assert await called(before) == "spiffe://dot-test/node/n1"
        async with open_channel(address) as after:
            assert await called(after) == "spiffe://dot-test/node/n2"


async def test_a_stream_goes_by_tls(server: GrpcServer) -> None:
    stream = await open_stream(f"127.0.0.1:{server.port}", KEEP_ALIVE)
    for number in (1, 2):
        await stream.write(coordinator_pb2.KeepAliveRequest(sequence=number).SerializeToString())
        answer = await anext(aiter(stream.read()))
        assert coordinator_pb2.KeepAliveResponse.FromString(answer).sequence == number
    await stream.close()


async def test_a_stream_to_somebody_else_is_refused(server: GrpcServer, tmp_path: Path, authority: Authority) -> None:
    begin(lay_out(tmp_path / "others", Authority(tmp_path / "another"), "n1"))
    with pytest.raises(StreamError, match="certificate"):
        stream = await open_stream(f"127.0.0.1:{server.port}", KEEP_ALIVE)
        await stream.write(b"")
        await anext(aiter(stream.read()))


@pytest.mark.parametrize("shown", ["nothing", "another authority's"])
async def test_who_shows_no_good_certificate_is_refused(
    server: GrpcServer, tmp_path: Path, authority: Authority, shown: str
) -> None:
    stranger = Authority(tmp_path / "another").signed("n1", "DNS:localhost,URI:spiffe://dot-test/node/n1")
    pair = (stranger.key.read_bytes(), stranger.chain.read_bytes()) if shown != "nothing" else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.root.read_bytes(), *pair)
    async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await called(channel)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    async with grpc.aio.insecure_channel(f"localhost:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await called(channel)


async def test_a_server_name_stands_for_addresses(tmp_path: Path, authority: Authority) -> None:
    settings = lay_out(tmp_path / "tls", authority)
    made = authority.signed("named", "DNS:treenode.fasttree,URI:spiffe://dot-test/node/n3")
    named = TlsSettings(
        mode="mutual", certificate=str(made.chain), key=str(made.key), ca=settings.folder + "/ca.crt",
        server_name="treenode.fasttree",
    )  # fmt: skip
    begin(named)
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, Coordinator())], [])
    address = f"127.0.0.1:{await server.start()}"
    async with open_channel(address) as channel:
        assert await called(channel) == "spiffe://dot-test/node/n3"
    stream = await open_stream(address, KEEP_ALIVE)
    await stream.close()
    begin(settings)  # without it, the certificate must have the address
    with pytest.raises(StreamError):
        await open_stream(address, KEEP_ALIVE)
    await server.stop(0.0)


async def test_probes_need_no_certificate_and_pages_do(tmp_path: Path, authority: Authority) -> None:
    begin(lay_out(tmp_path / "tls", authority))
    metrics = Metrics("coordinator", "fasttree_coordinator_")
    metrics.process(tmp_path)
    port = OpsPort("coordinator.http_port", metrics, {"/readyz": lambda: Verdict(True, "ready")})
    url = f"https://localhost:{await port.start('127.0.0.1', 0)}"
    bare, shown = authority.client_context(), authority.client_context()
    made = authority.signed("a monitor", "URI:spiffe://dot-test/monitor/m")
    shown.load_cert_chain(made.chain, made.key)
    strange = ssl.create_default_context(cafile=str(authority.root))
    stranger = Authority(tmp_path / "another").signed("a monitor", "DNS:monitor")
    strange.load_cert_chain(stranger.chain, stranger.key)
    async with aiohttp.ClientSession() as session:

        async def status(path: str, context: ssl.SSLContext) -> int:
            async with session.get(url + path, ssl=context) as answer:
                return answer.status

        assert [await status(path, bare) for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 403]
        assert [await status(path, shown) for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
        async with session.get(url + "/metrics", ssl=shown) as answer:
            assert "fasttree_coordinator_certificate_expires_in_seconds" in await answer.text()
        reporter = authority.signed("a reporter", "URI:spiffe://dot-test/reporter/r")
        other = authority.client_context()
        other.load_cert_chain(reporter.chain, reporter.key)
        assert [await status(path, other) for path in ("/livez", "/metrics")] == [200, 403]
        with pytest.raises(aiohttp.ClientError):
            await status("/livez", strange)
        with pytest.raises(aiohttp.ClientError):
            await session.get(url.replace("https", "http") + "/livez")
    await port.stop()
    metrics.close()


async def test_a_port_that_listens_no_more_is_free_at_once(tmp_path: Path, authority: Authority) -> None:
    """A coordinator that stands by no more listens anew, on the same port, as the active one; and back."""
    begin(lay_out(tmp_path / "tls", authority))
    number = 0
    for _ in range(3):
        metrics = Metrics("coordinator", "fasttree_coordinator_")
        port = OpsPort("coordinator.http_port", metrics, {})
        number = await port.start("127.0.0.1", number)
        await port.stop()
        metrics.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
async def test_without_tls_nothing_listens_where_strangers_are(host: str) -> None:
    grpc_server = GrpcServer(f"{host}:0", [], [])
    metrics = Metrics("coordinator", "fasttree_coordinator_")
    http = OpsPort("coordinator.http_port", metrics, {})
    for start in (grpc_server.start, lambda: http.start(host, 0)):
        with pytest.raises(OSError, match="in clear") as raised:
            await start()
        assert CLEARTEXT in str(raised.value)
        assert "docs/security.md" in str(raised.value)
    begin(TlsSettings(mode=CLEARTEXT))
    assert await grpc_server.start() > 0
    assert await http.start(host, 0) > 0
    await http.stop()
    await grpc_server.stop(0.0)
    metrics.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_words(host: str) -> None:
    own.check_clear(host)
