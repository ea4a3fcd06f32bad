"""Calls and pages with tokens, by both servers, by TLS and in clear."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from services.shared.security.own import begin
from services.shared.security.settings import TlsSettings
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings
from tests.shared.security.test_policy import CLUSTER, DAY, SERVICES
from tests.shared.security.test_policy import settings as tls_settings
from tests.shared.security.tokens.issuer import Issuer, settings, write_keys

GET_MEMBER = "/fasttree.v1.ReportService/GetMember"
PUSH = "/fasttree.v1.PusherService/PushUpdates"
KEEP_ALIVE = "/fasttree.v1.CoordinatorService/KeepAlive"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
Code = grpc.StatusCode


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    yield
    begin(TlsSettings())


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    found = Issuer()
    write_keys(tmp_path / "keys.json", found)
    return found


@pytest.fixture
def certs(tmp_path: Path) -> CertificateFolder:
    folder = CertificateFolder(tmp_path / "certs")
    folder.init(CLUSTER, DAY)
    folder.issue(folder.authority(), Holder("node", "n1"), ["localhost"], DAY)
    return folder


async def call(channel: grpc.aio.Channel, path: str, *authorization: str) -> tuple[Code, str]:
    """The status of a call that no handler here answers well, and what is said with it."""
    made: Any = channel.unary_unary(path)
    try:
        await made(b"", metadata=[("authorization", each) for each in authorization], timeout=60.0)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return Code.OK, ""


@pytest.fixture(params=["nghttp2", "grpcio"])
async def in_clear(request: pytest.FixtureRequest, issuer: Issuer, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    begin(TlsSettings(), settings(tmp_path / "keys.json"))
    server = GrpcServer("127.0.0.1:0", SERVICES, [], ServingSettings(server=request.param))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
        yield channel
    await server.stop(0.0)


async def test_in_clear_a_token_gives_its_role_and_whoever_has_none_is_as_before(
    issuer: Issuer, in_clear: grpc.aio.Channel
) -> None:
    # Base classes of servicers do nothing, which is a fault to a server: the call came through.
    assert (await call(in_clear, PUSH))[0] is Code.INTERNAL
    reporter = issuer.bearer(role="reporter")
    assert (await call(in_clear, GET_MEMBER, reporter))[0] is Code.INTERNAL
    code, said = await call(in_clear, PUSH, reporter)
    assert code is Code.PERMISSION_DENIED
    assert said.startswith("token://reporter/alice may not call /fasttree.v1.PusherService/PushUpdates: no rule")
    assert (await call(in_clear, PUSH, issuer.bearer(role="push-program")))[0] is Code.INTERNAL
    assert (await call(in_clear, REFLECTION, reporter))[0] is Code.PERMISSION_DENIED


async def test_a_token_that_does_not_count_is_told_without_the_reason(
    issuer: Issuer, in_clear: grpc.aio.Channel
) -> None:
    good, other = issuer.bearer(), Issuer(kid="k9")
    mend = "the token is not one that counts here: log in again, or ask who runs this cluster, whose log says why"
    for sent in ((other.bearer(),), (issuer.bearer(iss="https://x"),), ("Basic YTpi",), ("",), (good, good),
                 (good + "x",), (issuer.bearer(role="node"),)):  # fmt: skip
        assert await call(in_clear, GET_MEMBER, *sent) == (Code.UNAUTHENTICATED, mend)
    assert await call(in_clear, GET_MEMBER, issuer.bearer(exp=1)) == (
        Code.UNAUTHENTICATED, "the token has expired: log in again",
    )  # fmt: skip


@pytest.mark.parametrize("server", ["nghttp2", "grpcio"])
async def test_by_tls_a_call_has_its_token_s_rights_and_no_others(
    server: str, issuer: Issuer, certs: CertificateFolder, tmp_path: Path
) -> None:
    begin(tls_settings(certs), settings(tmp_path / "keys.json"))
    serving = GrpcServer("127.0.0.1:0", SERVICES, [], ServingSettings(server=server))
    address = f"localhost:{await serving.start()}"
    for role in ("operator", "vip", "node"):
        pair = certs.issue(certs.authority(), Holder(role, "somebody"), [], DAY)
        credentials = grpc.ssl_channel_credentials(
            certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
        )
        async with grpc.aio.secure_channel(address, credentials) as channel:
            assert (await call(channel, GET_MEMBER, issuer.bearer()))[0] is Code.INTERNAL
            for path in (PUSH, KEEP_ALIVE, REFLECTION):
                assert (await call(channel, path, issuer.bearer()))[0] is Code.PERMISSION_DENIED
            assert (await call(channel, GET_MEMBER, issuer.bearer() + "x"))[0] is Code.UNAUTHENTICATED
    begin(tls_settings(certs))
    await serving.stop(0.0)


async def test_without_a_certificate_a_token_is_needed_for_everything(
    issuer: Issuer, certs: CertificateFolder, tmp_path: Path
) -> None:
    begin(tls_settings(certs), settings(tmp_path / "keys.json", without_certificate=True))
    serving = GrpcServer("127.0.0.1:0", SERVICES, [])
    credentials = grpc.ssl_channel_credentials(certs.ca.read_bytes())
    address = f"localhost:{await serving.start()}"
    async with grpc.aio.secure_channel(address, credentials) as channel:
        assert (await call(channel, GET_MEMBER, issuer.bearer()))[0] is Code.INTERNAL
        assert (await call(channel, PUSH, issuer.bearer()))[0] is Code.PERMISSION_DENIED
        for path in (GET_MEMBER, KEEP_ALIVE, REFLECTION, "/grpc.health.v1.Health/Check"):
            assert await call(channel, path) == (
                Code.UNAUTHENTICATED, "show a certificate of the cluster's authority, or send a token",
            )  # fmt: skip
    pair = certs.issue(certs.authority(), Holder("push-program", "p"), [], DAY)
    both = grpc.ssl_channel_credentials(certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes())
    async with grpc.aio.secure_channel(address, both) as channel:
        assert (await call(channel, PUSH))[0] is Code.INTERNAL
        assert (await call(channel, "/grpc.health.v1.Health/Check"))[0] is Code.OK
    await serving.stop(0.0)
    with pytest.raises(OSError, match="where grpcio serves, everybody needs a certificate"):
        GrpcServer("127.0.0.1:0", SERVICES, [], ServingSettings(server="grpcio"))


async def test_without_keys_a_token_is_refused_by_tls(issuer: Issuer, certs: CertificateFolder) -> None:
    begin(tls_settings(certs))
    serving = GrpcServer("127.0.0.1:0", SERVICES, [])
    pair = certs.issue(certs.authority(), Holder("operator", "o"), [], DAY)
    both = grpc.ssl_channel_credentials(certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{await serving.start()}", both) as channel:
        assert await call(channel, GET_MEMBER, issuer.bearer()) == (
            Code.UNAUTHENTICATED, "no tokens are taken here: tokens.keys says whose are",
        )  # fmt: skip
    await serving.stop(0.0)


@pytest.mark.parametrize("by_tls", [True, False])
async def test_pages_are_shown_by_role(by_tls: bool, issuer: Issuer, certs: CertificateFolder, tmp_path: Path) -> None:
    begin(tls_settings(certs) if by_tls else TlsSettings(), settings(tmp_path / "keys.json"))
    checks = {"/readyz": lambda: Verdict(True, "ready")}
    port = OpsPort("treenode.http_port", Metrics("test", "n1"), checks)
    number = await port.start("127.0.0.1", 0)
    context: Any = ssl.create_default_context(cafile=str(certs.ca)) if by_tls else None
    base = f"https://localhost:{number}" if by_tls else f"http://localhost:{number}"

    async def status(path: str, role: str | None) -> int:
        headers = {} if role is None else {"Authorization": issuer.bearer(role=role) if role else "Bearer x"}
        async with session.get(base + path, headers=headers, ssl=context or True) as answer:
            assert "eyJ" not in await answer.text()
            return answer.status

    async with aiohttp.ClientSession() as session:
        assert await status("/readyz", None) == 200
        assert await status("/metrics", "monitor") == 200
        assert await status("/metrics", "reporter") == 403
        assert await status("/metrics", "") == 401
        assert await status("/metrics", None) == (403 if by_tls else 200)
    await port.stop()
