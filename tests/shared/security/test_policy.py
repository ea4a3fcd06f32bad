"""Who may call what: a policy's form, the shipped roles call by call over real TLS, and a policy that is changed."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.policy import calls
from fasttree.command.certs.roles import ROLES, Holder
from fasttree.v1 import (
    coordinator_pb2_grpc,
    import_source_pb2_grpc,
    message_pb2_grpc,
    pusher_pb2_grpc,
    report_pb2_grpc,
    treenode_pb2_grpc,
)
from services.shared.security.caller import Caller
from services.shared.security.following import Tls
from services.shared.security.guard import Guard, Refusal
from services.shared.security.own import begin, own_tls
from services.shared.security.policy import read_policy
from services.shared.security.roles import CALLS, shipped_policy
from services.shared.security.settings import TlsError, TlsSettings
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings

DAY = datetime.timedelta(days=1)
CLUSTER = "dot-test"
TABLE = Path(__file__).with_name("roles.txt")
SERVICES: list[tuple[Any, Any]] = [
    (getattr(module, f"add_{name}Servicer_to_server"), getattr(module, f"{name}Servicer")())
    for module, name in (
        (coordinator_pb2_grpc, "CoordinatorService"),
        (import_source_pb2_grpc, "ImportSourceService"),
        (message_pb2_grpc, "MessageService"),
        (pusher_pb2_grpc, "PusherService"),
        (report_pb2_grpc, "ReportService"),
        (treenode_pb2_grpc, "TreeNodeService"),
    )
]


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    yield
    begin(TlsSettings())


@pytest.fixture
def certs(tmp_path: Path) -> CertificateFolder:
    folder = CertificateFolder(tmp_path / "certs")
    folder.init(CLUSTER, DAY)
    folder.issue(folder.authority(), Holder("node", "n1"), ["localhost"], DAY)
    return folder


def settings(certs: CertificateFolder, policy: Path | None = None) -> TlsSettings:
    return TlsSettings(mode="mutual", folder=str(certs.path / "node/n1"), policy=str(policy or ""))


def channel_of(certs: CertificateFolder, holder: Holder, port: int) -> grpc.aio.Channel:
    pair = certs.issue(certs.authority(), holder, [], DAY)
    credentials = grpc.ssl_channel_credentials(
        certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
    )
    return grpc.aio.secure_channel(f"localhost:{port}", credentials)


async def status_of(channel: grpc.aio.Channel, path: str, headers: tuple[tuple[str, str], ...] = ()) -> Any:
    """What comes of a call that the handlers here never answer."""
    call: Any = channel.unary_unary(path)
    try:
        await call(b"", metadata=headers, timeout=60.0)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.fixture(params=["nghttp2", "grpcio"])
async def port(request: pytest.FixtureRequest, certs: CertificateFolder) -> AsyncIterator[int]:
    begin(settings(certs))
    server = GrpcServer("127.0.0.1:0", SERVICES, [], ServingSettings(server=request.param))
    yield await server.start()
    await server.stop(0.0)


async def test_every_call_by_every_role_over_tls_comes_out_as_the_table_says(
    certs: CertificateFolder, port: int
) -> None:
    allowed: dict[str, list[str]] = {path: [] for path in calls()}
    for role in ROLES:
        async with channel_of(certs, Holder(role, "somebody"), port) as channel:
            paths = list(allowed)
            codes = await asyncio.gather(*(status_of(channel, path) for path in paths))
            # Base classes of servicers do nothing, which is a fault to a server: the call came through.
            assert set(codes) <= {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL}
            for path, code in zip(paths, codes, strict=True):
                if code is not grpc.StatusCode.PERMISSION_DENIED:
                    allowed[path].append(role)
            health = await status_of(channel, "/grpc.health.v1.Health/Check")
            assert health is grpc.StatusCode.OK
            reflection = await status_of(channel, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            assert (reflection is grpc.StatusCode.PERMISSION_DENIED) == (role != "operator")
    table = "".join(f"{path}: {' '.join(roles) or '(nobody)'}\n" for path, roles in allowed.items())
    if os.environ.get("REWRITE"):
        TABLE.write_text(table)
    assert table == TABLE.read_text(), "REWRITE=1 writes the table anew: read the difference"


async def test_another_cluster_s_certificate_of_the_same_authority_may_nothing(
    certs: CertificateFolder, port: int, tmp_path: Path
) -> None:
    other = CertificateFolder(tmp_path / "other")
    other.init("dot-other", DAY)
    pair = other.issue(other.authority(), Holder("operator", "operator"), [], DAY)
    both = TlsSettings(
        mode="mutual", certificate=str(certs.path / "node/n1/tls.crt"), key=str(certs.path / "node/n1/tls.key"),
        ca=str(tmp_path / "both.crt"),
    )  # fmt: skip
    (tmp_path / "both.crt").write_bytes(certs.ca.read_bytes() + other.ca.read_bytes())
    begin(both)
    server = GrpcServer("127.0.0.1:0", SERVICES, [])
    credentials = grpc.ssl_channel_credentials(
        certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
    )
    async with grpc.aio.secure_channel(f"localhost:{await server.start()}", credentials) as channel:
        codes = {await status_of(channel, path) for path in calls()}
        assert codes == {grpc.StatusCode.PERMISSION_DENIED}
    await server.stop(0.0)


async def test_a_vip_calls_in_the_name_that_it_tells_and_nobody_else_does(certs: CertificateFolder, port: int) -> None:
    get_member = "/fasttree.v1.ReportService/GetMember"
    told = (("x-forwarded-client-cert", f"Hash=ab;URI=spiffe://{CLUSTER}/reporter/r"),)
    denied = grpc.StatusCode.PERMISSION_DENIED
    async with channel_of(certs, Holder("vip", "vip"), port) as channel:
        assert await status_of(channel, get_member, told) is not denied
        assert await status_of(channel, get_member) is denied
        assert await status_of(channel, "/fasttree.v1.PusherService/PushUpdates", told) is denied
        assert await status_of(channel, get_member, (("x-forwarded-client-cert", "Hash=ab"),)) is denied
    async with channel_of(certs, Holder("auditor", "a"), port) as channel:
        assert await status_of(channel, get_member, told) is denied


def test_a_name_that_looks_like_a_vip_s_is_none() -> None:
    guard = Guard(lambda: shipped_policy(CLUSTER))
    header = f"URI=spiffe://{CLUSTER}/reporter/r"
    path = "/fasttree.v1.ReportService/GetMember"
    assert not isinstance(guard.judge(path, (f"spiffe://{CLUSTER}/vip/v",), header), Refusal)
    for name in (f"spiffe://{CLUSTER}/vip", f"spiffe://{CLUSTER}/node/vip/x", "x spiffe://a/vip/v", ""):
        assert isinstance(guard.judge(path, (name,), header), Refusal)
    refusal = guard.judge("/x\n\x1b[2J", ("spiffe://\x1b",))
    assert isinstance(refusal, Refusal)
    assert refusal.text.isprintable()


def test_each_shipped_path_is_a_call_or_a_page() -> None:
    known = [
        *calls(),
        "/metrics",
        "/status",
        "/audit",
        "/logs",
        "/personal-columns",
        "/debug.txt",
        "/grpc.reflection.v1alpha.ServerReflection/x",
    ]
    for role, paths in CALLS.items():
        assert role in ROLES
        for path in paths:
            assert any(each == path or (path[-1] == "*" and each.startswith(path[:-1])) for each in known), path


def write(path: Path, **content: Any) -> Path:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content))
    os.replace(new, path)
    return path


def test_rules_that_deny_go_first_and_what_none_allows_is_refused(tmp_path: Path) -> None:
    policy = read_policy(
        write(
            tmp_path / "policy.json",
            name="ours",
            deny_rules=[{"name": "not him", "source": {"principals": ["*/mallory"]}}],
            allow_rules=[
                {"name": "all reports", "source": {"principals": ["spiffe://a/*"]}, "request": {"paths": ["/r/*"]}},
                {"name": "whoever has a name", "source": {"principals": ["*"]}, "request": {"paths": ["*/open"]}},
                {"name": "just this", "request": {"paths": ["/x/exact"]}},
            ],
        )
    )
    for principal, path, allowed, rule in (
        ("spiffe://a/bob", "/r/GetMember", True, "all reports"),
        ("spiffe://a/mallory", "/r/GetMember", False, "not him"),
        ("spiffe://b/bob", "/r/GetMember", False, ""),
        ("spiffe://b/bob", "/y/open", True, "whoever has a name"),
        ("spiffe://b/bob", "/x/exact", True, "just this"),
        ("spiffe://b/bob", "/x/exactly", False, ""),
        ("", "/y/open", False, ""),
    ):
        assert policy.verdict((principal,), path) == (allowed, rule), (principal, path)
    assert policy.verdict((), "/x/exact").allowed
    assert not policy.verdict((), "/y/open").allowed


@pytest.mark.parametrize(
    "content",
    [
        "{", "[]", "{}", '{"name": "x"}', '{"name": "x", "allow_rules": []}',
        '{"name": 1, "allow_rules": [{"name": "a"}]}',
        '{"name": "x", "allow_rules": [{"name": "a", "request": {"headers": [{"key": "x", "values": ["*"]}]}}]}',
        '{"name": "x", "allow_rules": [{"name": "a", "source": {"principal": ["y"]}}]}',
        '{"name": "x", "allow_rules": [{"name": "a", "source": {"principals": [""]}}]}',
        '{"name": "x", "allow_rules": [{"name": "a"}], "audit_logging_options": {}}',
        "\x00", '{"name": "' + "x" * 2_000 + '", "allow_rules": [{"name": "a"}]}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_policy_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "policy.json").write_text(content)
    with pytest.raises(TlsError, match=r"policy\.json: is no policy: ") as raised:
        read_policy(tmp_path / "policy.json")
    assert "\n" not in str(raised.value)


def test_a_changed_policy_is_in_force_and_a_bad_one_changes_nothing(
    certs: CertificateFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rule = {"name": "all", "source": {"principals": ["*"]}}
    file = write(tmp_path / "policy.json", name="open", allow_rules=[rule])
    tls = Tls(settings(certs, file))
    who = (f"spiffe://{CLUSTER}/auditor/a",)
    caller = tls.guard.judge("/x", who)
    assert isinstance(caller, Caller)
    assert caller.principals == who
    write(file, name="closed", allow_rules=[rule], deny_rules=[rule])
    assert tls.look_at_policy()
    refusal = tls.guard.judge("/x", who)
    assert isinstance(refusal, Refusal)
    assert "denies it" in refusal.text
    with caplog.at_level(logging.ERROR):
        write(file, name="damaged")
        assert not tls.look_at_policy()
        assert not tls.look_at_policy()
    assert len(caplog.records) == 1
    assert tls.policy.content.name == "closed"
    assert [f"TLS: {problem}" for problem in tls.problems] == [caplog.messages[0]]
    file.unlink()
    assert not tls.look_at_policy()
    assert tls.policy.content.name == "closed"
    assert "can't read the policy" in tls.problems[0]
    write(file, name="closed", allow_rules=[rule], deny_rules=[rule])
    assert tls.look_at_policy()
    assert tls.problems == []


def test_a_certificate_without_a_role_needs_a_policy(certs: CertificateFolder, tmp_path: Path) -> None:
    from tests.shared.http2.certificates import Authority

    authority = Authority(tmp_path / "authority")
    made = authority.signed("n1", "DNS:localhost")
    named: dict[str, Any] = {"certificate": str(made.chain), "key": str(made.key), "ca": str(authority.root)}
    with pytest.raises(TlsError, match=r"name a policy of your own in tls\.policy"):
        begin(TlsSettings(mode="mutual", **named))
    assert own_tls() is None
    rule = {"name": "all", "source": {"principals": ["localhost"]}}
    file = write(tmp_path / "policy.json", name="by host", allow_rules=[rule])
    begin(TlsSettings(mode="mutual", policy=str(file), **named))
    assert own_tls() is not None
