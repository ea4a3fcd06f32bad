"""What servers write down: operations with who and what came of them, refusals; and what a log that can't be written
stops, and what not."""

from __future__ import annotations

import asyncio
import datetime
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.shared.security.audit.files import CHAINS, file_of
from services.shared.security.audit.log import AuditLog, audit_problem, begin_audit, end_audit, own_audit
from services.shared.security.audit.records import Kind
from services.shared.security.audit.settings import AuditSettings
from services.shared.security.audit.verifying import verify
from services.shared.security.own import begin
from services.shared.security.settings import TlsSettings
from services.shared.serving.errors import NotFoundError
from services.shared.serving.metrics import Metrics
from services.shared.serving.ops_port import OpsPort, Verdict
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings

CLUSTER = "dot-test"
DAY = datetime.timedelta(days=1)
DEADLINE_S = 60.0
SWITCHOVER = "/fasttree.v1.CoordinatorService/Switchover"


class Coordinator(coordinator_pb2_grpc.CoordinatorServiceServicer):
    """Counts what was done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.waits = asyncio.Event()

    async def Switchover(self, request: Any, context: Any) -> Any:
        self.done.append(request.to_node)
        if request.to_node == "slow":
            self.waits.set()
            await asyncio.sleep(DEADLINE_S)
        if request.to_node == "broken":
            raise RuntimeError("a fault")
        if request.to_node != "n2":
            raise NotFoundError("no such node", value=request.to_node)
        return coordinator_pb2.SwitchoverResponse(from_node="n1", to_node="n2", epoch=7)

    async def GetCluster(self, request: Any, context: Any) -> Any:
        return coordinator_pb2.GetClusterResponse()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    certs = CertificateFolder(tmp_path / "certs")
    certs.init(CLUSTER, DAY)
    certs.issue(certs.authority(), Holder("node", "n1"), ["localhost"], DAY)
    begin(TlsSettings(mode="mutual", folder=str(certs.path / "node/n1")))
    yield begin_audit(AuditSettings(refusals_in_full=2), "coordinator", tmp_path)
    end_audit()
    begin(TlsSettings())


class Running:
    def __init__(self, servicer: Coordinator, port: int, certs: CertificateFolder) -> None:
        self.servicer, self._port, self._certs = servicer, port, certs

    def channel(self, role: str) -> grpc.aio.Channel:
        pair = self._certs.issue(self._certs.authority(), Holder(role, "anna"), [], DAY)
        credentials = grpc.ssl_channel_credentials(
            self._certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
        )
        return grpc.aio.secure_channel(f"localhost:{self._port}", credentials)

    async def call(self, role: str, to_node: str = "n2") -> grpc.StatusCode | str:
        """What came of a switchover: the status, with the reason where nothing was written down."""
        async with self.channel(role) as channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            try:
                await stub.Switchover(coordinator_pb2.SwitchoverRequest(to_node=to_node), timeout=DEADLINE_S)
            except grpc.aio.AioRpcError as error:
                return error.details() or "" if "written down" in (error.details() or "") else error.code()
            return grpc.StatusCode.OK

    async def read(self) -> grpc.StatusCode:
        async with self.channel("operator") as channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            await stub.GetCluster(coordinator_pb2.GetClusterRequest(), timeout=DEADLINE_S)
            return grpc.StatusCode.OK


@pytest.fixture(params=["nghttp2", "grpcio"])
async def running(request: pytest.FixtureRequest, log: AuditLog, tmp_path: Path) -> AsyncIterator[Running]:
    servicer = Coordinator()
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, servicer)], [], ServingSettings(server=request.param))
    yield Running(servicer, await server.start(), CertificateFolder(tmp_path / "certs"))
    await server.stop(0.0)


def records(folder: Path) -> list[dict[str, Any]]:
    found = []
    for chain in CHAINS:
        for line in file_of(folder, chain, 1).read_text().splitlines():
            record = json.loads(line)
            if record["fasttree"]["kind"] not in (Kind.FILE, Kind.OPENED, Kind.POLICY):
                found.append(record["fasttree"] | record["grpc_audit_log"])
    return found


async def test_an_operation_is_written_down_before_it_is_done_and_once_it_is_over(
    running: Running, log: AuditLog
) -> None:
    assert await running.call("operator") is grpc.StatusCode.OK
    begun, ended = records(log.folder)
    for each in (begun, ended):
        assert each["rpc_method"] == SWITCHOVER
        assert each["principal"] == f"spiffe://{CLUSTER}/operator/anna"
        assert (each["policy_name"], each["matched_rule"], each["authorized"]) == (
            f"the roles of {CLUSTER}", "operator", True,
        )  # fmt: skip
        assert each["peer"].startswith(("ipv4:127.0.0.1:", "ipv6:[::1]:", "ipv6:%5B::1%5D:"))
    assert (begun["kind"], begun["details"], begun["call"]) == (Kind.BEGUN, {"to_node": "n2"}, ended["call"])
    assert (ended["kind"], ended["status"]) == (Kind.ENDED, "OK")
    assert ended["details"] == {"to_node": "n2", "from_node": "n1", "epoch": 7}


@pytest.mark.parametrize(
    ("to_node", "status", "reason"), [("n9", "NOT_FOUND", "NOT_FOUND"), ("broken", "INTERNAL", "RuntimeError")]
)
async def test_what_failed_is_written_down_as_that(
    running: Running, log: AuditLog, to_node: str, status: str, reason: str
) -> None:
    assert await running.call("operator", to_node) is grpc.StatusCode[status]
    assert [(each["status"], each["reason"]) for each in records(log.folder)[1:]] == [(status, reason)]


async def test_a_caller_that_leaves_is_written_down(running: Running, log: AuditLog) -> None:
    call = asyncio.create_task(running.call("operator", "slow"))
    async with asyncio.timeout(DEADLINE_S):
        await running.servicer.waits.wait()
        call.cancel()
        while log.written < 3:  # noqa: ASYNC110 - a thread writes; of them, one says which policy is in force
            await asyncio.sleep(0.01)
    found = records(log.folder)
    assert found[1]["status"] == "CANCELLED"


async def test_refusals_are_written_down_and_above_a_number_counted(running: Running, log: AuditLog) -> None:
    for _ in range(5):
        assert await running.call("reporter") is grpc.StatusCode.PERMISSION_DENIED
    assert log.refusals == 5
    end_audit()
    first, second, more = records(log.folder)
    for each in (first, second, more):
        assert (each["rpc_method"], each["principal"]) == (SWITCHOVER, f"spiffe://{CLUSTER}/reporter/anna")
        assert (each["matched_rule"], each["authorized"], each["status"]) == ("", False, "PERMISSION_DENIED")
    assert (more["kind"], more["details"]["refusals"]) == (Kind.REFUSED_MORE, 3)
    assert not running.servicer.done


async def test_what_can_not_be_written_down_is_not_done_and_reads_go_on(
    running: Running, log: AuditLog, tmp_path: Path
) -> None:
    folder, aside = log.folder, tmp_path / "aside"
    folder.rename(aside)
    said = await running.call("operator")
    assert "nothing was done" in str(said)
    assert f"{folder}" in str(said)
    assert not running.servicer.done
    assert await running.read() is grpc.StatusCode.OK
    assert await running.call("reporter") is grpc.StatusCode.PERMISSION_DENIED
    assert str(folder) in log.problem
    assert audit_problem() == f"operators' calls to it are refused: {log.problem}"
    metrics = Metrics("coordinator", "fasttree_coordinator_")
    metrics.process(tmp_path)
    assert b"fasttree_coordinator_audit_not_written 1.0" in metrics.text()
    aside.rename(folder)
    assert await running.call("operator") is grpc.StatusCode.OK
    assert not log.problem
    assert audit_problem() == ""
    assert b"fasttree_coordinator_audit_not_written 0.0" in metrics.text()
    metrics.close()
    end_audit()
    assert not [each.problem for each in verify(folder) if each.problem]


async def test_a_full_disk_is_told_and_what_was_written_stays_whole(tmp_path: Path) -> None:
    import resource

    log = begin_audit(AuditSettings(), "coordinator", tmp_path)
    size = file_of(log.folder, CHAINS[0], 1).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        failed = log.write(log.entry(Kind.BEGUN, SWITCHOVER)).exception(DEADLINE_S)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(failed, OSError)
    assert log.problem
    assert log.write(log.entry(Kind.BEGUN, SWITCHOVER)).exception(DEADLINE_S) is None
    end_audit()
    assert not [each.problem for each in verify(log.folder) if each.problem]


async def test_a_stranger_s_handshake_and_a_page_without_a_certificate_are_written_down(
    log: AuditLog, tmp_path: Path
) -> None:
    import aiohttp

    other = CertificateFolder(tmp_path / "other")
    other.init(CLUSTER, DAY)
    pair = other.issue(other.authority(), Holder("operator", "operator"), [], DAY)
    server = GrpcServer("127.0.0.1:0", [], [])
    ca = (tmp_path / "certs/ca.crt").read_bytes()
    credentials = grpc.ssl_channel_credentials(ca, pair.key.read_bytes(), pair.certificate.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{await server.start()}", credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            call: Any = channel.unary_unary(SWITCHOVER)
            await call(b"", timeout=DEADLINE_S)
    await server.stop(0.0)
    metrics = Metrics("coordinator", "fasttree_coordinator_")
    port = OpsPort("coordinator.http_port", metrics, {"/readyz": lambda: Verdict(True, "ready")})
    import ssl

    context = ssl.create_default_context(cafile=str(tmp_path / "certs/ca.crt"))
    async with aiohttp.ClientSession() as session:
        url = f"https://localhost:{await port.start('127.0.0.1', 0)}/metrics"
        assert (await session.get(url, ssl=context)).status == 403
    await port.stop()
    metrics.close()
    end_audit()
    found = {(each["rpc_method"], each["status"], each["authorized"]) for each in records(log.folder)}
    assert found == {("", "UNAUTHENTICATED", False), ("/metrics", "UNAUTHENTICATED", False)}
    assert all(each["peer"] for each in records(log.folder))


def test_a_process_without_a_log_writes_nothing() -> None:
    assert own_audit() is None


def test_another_process_s_folder_is_told(log: AuditLog) -> None:
    other = AuditLog(AuditSettings(), log.folder, "pusher")
    assert "another process's" in other.problem
    assert "another process's" in str(other.write(other.entry(Kind.BEGUN)).exception(DEADLINE_S))
    other.close()
    assert not log.problem


def test_a_policy_in_force_is_written_down_by_its_digest(log: AuditLog) -> None:
    log.close()
    line = json.loads(file_of(log.folder, CHAINS[0], 1).read_text().splitlines()[-1])
    assert (line["fasttree"]["kind"], len(line["fasttree"]["details"]["sha256"])) == (Kind.POLICY, 64)
    assert line["grpc_audit_log"]["policy_name"] == f"the roles of {CLUSTER}"


def test_nothing_of_a_peer_s_reaches_a_line_raw(log: AuditLog, tmp_path: Path) -> None:
    nasty = "\x1b[2J\n" + "x" * 100_000 + "\u202e"
    log.write(log.entry(Kind.BEGUN, nasty, principal=nasty, peer=nasty, details={"reason": nasty})).result(DEADLINE_S)
    line = file_of(log.folder, CHAINS[0], 1).read_bytes().splitlines()[-1]
    assert len(line) < 4_000
    assert b"\x1b" not in line
    assert "\\u202e" not in json.loads(line)["grpc_audit_log"]["principal"]
    shutil.rmtree(tmp_path / "certs")


def test_several_processes_of_one_folder_have_a_chain_each(tmp_path: Path) -> None:
    """As pushers that take turns: neither keeps the other one from writing."""
    first = begin_audit(AuditSettings(), "pusher", tmp_path, "p1")
    other = AuditLog(AuditSettings(), tmp_path / "audit" / "p2", "pusher")
    try:
        assert (first.problem, other.problem) == ("", "")
        assert {path.parent.name for path in (tmp_path / "audit").rglob("*.head")} <= {"p1", "p2"}
    finally:
        other.close()
        end_audit()
