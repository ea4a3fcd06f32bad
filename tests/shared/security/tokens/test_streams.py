"""Streams end when what they were opened with does: a token that expires, is revoked, or whose key is taken away, and a
certificate; on both servers, whichever side streams, and whether anything is said on them or not."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc, pusher_pb2, pusher_pb2_grpc
from services.shared.security.own import _Process, begin
from services.shared.security.settings import TlsSettings
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings
from tests.shared.security.tokens.issuer import Issuer, settings, write_keys

DAY = datetime.timedelta(days=1)
DEADLINE_S = 60.0
ROLES = ["operator", "push-program", "importer"]
Opened = Any
Code = grpc.StatusCode


class Handlers(coordinator_pb2_grpc.CoordinatorServiceServicer, pusher_pb2_grpc.PusherServiceServicer):
    """Streams that never end by themselves."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    async def WatchCluster(self, request: Any, context: Any) -> Any:
        try:
            self.begun.put_nowait("WatchCluster")
            while True:
                yield coordinator_pb2.WatchClusterResponse()
                await asyncio.sleep(0.01 if ("kind", "busy") in context.invocation_metadata() else 3_600)
        finally:
            self.ended.put_nowait("WatchCluster")

    async def KeepAlive(self, requests: Any, context: Any) -> Any:
        self.begun.put_nowait("KeepAlive")
        async for request in requests:
            yield coordinator_pb2.KeepAliveResponse(sequence=request.sequence)

    async def PushUpdates(self, requests: Any, context: Any) -> Any:
        try:
            self.begun.put_nowait("PushUpdates")
            async for _ in requests:
                yield pusher_pb2.PushUpdatesResponse()
        finally:
            self.ended.put_nowait("PushUpdates")

    async def UploadImport(self, requests: Any, context: Any) -> Any:
        try:
            self.begun.put_nowait("UploadImport")
            async for _ in requests:
                pass
            return pusher_pb2.UploadImportResponse()
        finally:
            self.ended.put_nowait("UploadImport")


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    yield
    begin(TlsSettings())


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    found = Issuer()
    write_keys(tmp_path / "keys.json", found)
    (tmp_path / "revoked").write_text("")
    begin(TlsSettings(), settings(tmp_path / "keys.json", revoked=str(tmp_path / "revoked")))
    return found


Serve = Callable[[], Any]


@pytest.fixture(params=["nghttp2", "grpcio"])
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    """Serves by what the process goes by when it is called; gives the handlers and the port."""
    servers = []

    async def started() -> tuple[Handlers, int]:
        handlers = Handlers()
        services: Any = [
            (coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server, handlers),
            (pusher_pb2_grpc.add_PusherServiceServicer_to_server, handlers),
        ]
        servers.append(GrpcServer("127.0.0.1:0", services, [], ServingSettings(server=request.param)))
        return handlers, await servers[-1].start()

    yield started
    for server in servers:
        await server.stop(0.0)


async def never() -> AsyncIterator[Any]:
    await asyncio.Event().wait()
    yield None


def opened(channel: grpc.aio.Channel, kind: str, authorization: str | None) -> Any:
    """A stream that is asked for."""
    metadata = [("kind", kind), *([] if authorization is None else [("authorization", authorization)])]
    pusher: Any = pusher_pb2_grpc.PusherServiceStub(channel)
    coordinator: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
    if kind in ("quiet", "busy"):
        return coordinator.WatchCluster(coordinator_pb2.WatchClusterRequest(), metadata=metadata)
    call = {"push": pusher.PushUpdates, "upload": pusher.UploadImport, "lease": coordinator.KeepAlive}[kind]
    return call(never(), metadata=metadata)


async def how_it_ends(call: Any) -> tuple[Code, str]:
    async with asyncio.timeout(DEADLINE_S):
        if hasattr(call, "__aiter__"):
            with pytest.raises(grpc.aio.AioRpcError):
                async for _ in call:
                    pass
        return await call.code(), await call.details()


def later(seconds: float) -> None:
    """For tokens it is so much later."""
    tokens = _Process.tokens
    assert tokens is not None
    tokens._verifier._clock = lambda: time.time() + seconds


async def _expire(tmp_path: Path) -> str:
    later(2_000)
    return "the token that this stream was opened with has expired: log in again, then open it anew"


async def _revoke(tmp_path: Path) -> str:
    (tmp_path / "revoked").write_text("sub alice\n")
    await look()
    return "the token that this stream was opened with is revoked: log in again, then open it anew"


async def _take_the_key(tmp_path: Path) -> str:
    write_keys(tmp_path / "keys.json", Issuer(kid="k2"))
    await look()
    return "the token that this stream was opened with counts no more: log in again, then open it anew"


async def look() -> None:
    """As if the files had been looked at."""
    tokens = _Process.tokens
    assert tokens is not None
    assert await tokens.look()


@pytest.mark.parametrize("end", [_expire, _revoke, _take_the_key], ids=["expired", "revoked", "key"])
async def test_a_stream_ends_when_its_token_does(
    serve: Serve, issuer: Issuer, tmp_path: Path, end: Callable[[Path], Any]
) -> None:
    handlers, port = await serve()
    other = Issuer(kid="k2")
    write_keys(tmp_path / "keys.json", issuer, other)
    await look()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        kinds = ["quiet", "busy", "push", "upload"]
        streams = [opened(channel, kind, issuer.bearer(role=ROLES)) for kind in kinds]
        # One of somebody else, by a token that is good for longer, and one of nobody.
        bert = other.bearer(role=ROLES, sub="bert", exp=int(time.time()) + 3_000)
        others = [opened(channel, "quiet", bert), opened(channel, "quiet", None)]
        for _ in range(6):
            await handlers.begun.get()
        said = await end(tmp_path)
        for stream in streams:
            assert await how_it_ends(stream) == (Code.UNAUTHENTICATED, said)
        # What had begun for them is not gone on with.
        names = [await handlers.ended.get() for _ in kinds]
        assert sorted(names) == ["PushUpdates", "UploadImport", "WatchCluster", "WatchCluster"]
        assert [each.done() for each in others] == [False, False]
        for each in others:
            each.cancel()


async def test_a_stream_of_a_certificate_ends_with_that_and_a_cluster_s_own_goes_on(
    serve: Serve, tmp_path: Path
) -> None:
    certs = CertificateFolder(tmp_path)
    certs.init("dot-test", DAY)
    certs.issue(certs.authority(), Holder("node", "n1"), ["localhost"], DAY)
    begin(TlsSettings(mode="mutual", folder=str(certs.path / "node/n1")))
    handlers, port = await serve()

    def channel_of(role: str, life: datetime.timedelta) -> grpc.aio.Channel:
        pair = certs.issue(certs.authority(), Holder(role, "x"), [], life)
        contents = (certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes())
        return grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(*contents))

    async with (
        channel_of("operator", DAY / 2) as soon,
        channel_of("auditor", DAY) as not_yet,
        channel_of("node", DAY / 2) as own,
    ):
        ends = [opened(soon, "quiet", None), opened(soon, "upload", None)]
        goes_on = [opened(not_yet, "quiet", None), opened(own, "lease", None)]
        for _ in range(4):
            await handlers.begun.get()
        guard = _Process.guard
        assert guard is not None
        guard._expiries._clock = lambda: time.time() + 0.6 * DAY.total_seconds()
        said = "the certificate that this stream was opened with has expired: open it anew with one that is good"
        for stream in ends:
            assert await how_it_ends(stream) == (Code.UNAUTHENTICATED, said)
        assert [each.done() for each in goes_on] == [False, False]
        for each in goes_on:
            each.cancel()
