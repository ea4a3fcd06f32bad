"""A coordinator that stands by, by certificates: who is refused there is written down, as at the active one."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc
from services.coordinator.election.events import Recorded
from services.coordinator.leadership.active_view import ActiveView
from services.coordinator.leadership.leadership import Leadership
from services.coordinator.leadership.standby import StandbyServicer
from services.coordinator.leadership.vouches import Vouches
from services.coordinator.settings import CoordinatorSettings
from services.shared.security.audit.files import CHAINS, file_of
from services.shared.security.audit.log import begin_audit, end_audit
from services.shared.security.audit.settings import AuditSettings
from services.shared.security.own import begin
from services.shared.security.settings import TlsSettings
from services.shared.serving.server import GrpcServer
from services.shared.serving.settings import ServingSettings

CLUSTER, DAY, DEADLINE_S = "dot-test", datetime.timedelta(days=1), 60.0
PREFIX = "/fasttree.v1.CoordinatorService/"
RECORDED = Recorded(epoch=3, primary="n1", primary_incarnation="n1-1")


class Record:
    """What the coordinators share, which nobody changes."""

    async def read_anew(self) -> Recorded:
        return RECORDED


class Standing:
    """A coordinator that stands by, its audit log, and callers."""

    def __init__(self, folder: Path, certs: CertificateFolder, port: int) -> None:
        self._folder, self._certs, self._port = folder, certs, port

    def channel(self, role: str, name: str) -> grpc.aio.Channel:
        pair = self._certs.issue(self._certs.authority(), Holder(role, name), [], DAY)
        credentials = grpc.ssl_channel_credentials(
            self._certs.ca.read_bytes(), pair.key.read_bytes(), pair.certificate.read_bytes()
        )
        return grpc.aio.secure_channel(f"localhost:{self._port}", credentials)

    def written(self) -> list[tuple[str, str, str, str, str]]:
        """Of each record its kind, call, who, status and reason."""
        end_audit()
        found = []
        for chain in CHAINS:
            for line in file_of(self._folder, chain, 1).read_text().splitlines():
                record = json.loads(line)
                told: dict[str, Any] = record["fasttree"] | record["grpc_audit_log"]
                if told["kind"] in ("begun", "ended", "refused"):
                    call, who = told["rpc_method"].removeprefix(PREFIX), told["principal"].rpartition("//")[2]
                    found.append((told["kind"], call, who, told.get("status", ""), told.get("reason", "")))
        return found


@pytest.fixture(params=["nghttp2", "grpcio"])
async def standing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Standing]:
    certs = CertificateFolder(tmp_path / "certs")
    certs.init(CLUSTER, DAY)
    certs.issue(certs.authority(), Holder("coordinator", "c1"), ["localhost"], DAY)
    begin(TlsSettings(mode="mutual", folder=str(certs.path / "coordinator/c1")))
    log = begin_audit(AuditSettings(), "coordinator", tmp_path)
    core = Leadership(CoordinatorSettings().leadership, "c1_x", 0.0)
    nobody: Any = None
    servicer = StandbyServicer(core, ActiveView(lambda: ""), nobody, Vouches(Record(), CLUSTER, 8))
    add = coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server
    server = GrpcServer("127.0.0.1:0", [(add, servicer)], [], ServingSettings(server=request.param))
    yield Standing(log.folder, certs, await server.start())
    await server.stop(0.0)
    end_audit()
    begin(TlsSettings())


async def code_of(call: Any) -> grpc.StatusCode:
    """What comes of a call, or of the first answer of one of many."""
    try:
        await (call if hasattr(call, "__await__") else anext(aiter(call)))
    except grpc.aio.AioRpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


async def asked(*questions: coordinator_pb2.VouchPrimaryRequest) -> AsyncIterator[coordinator_pb2.VouchPrimaryRequest]:
    for each in questions:
        yield each


async def test_who_is_refused_by_his_role_or_by_its_state_is_written_down(standing: Standing) -> None:
    switchover = coordinator_pb2.SwitchoverRequest(to_node="n2")
    for role, expected in (
        ("reporter", grpc.StatusCode.PERMISSION_DENIED),
        ("node", grpc.StatusCode.PERMISSION_DENIED),
        ("operator", grpc.StatusCode.UNAVAILABLE),
    ):
        async with standing.channel(role, "anna") as channel:
            stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            assert await code_of(stub.Switchover(switchover, timeout=DEADLINE_S)) is expected
    async with standing.channel("monitor", "m") as channel:
        stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        assert await code_of(stub.KeepAlive(asked(), timeout=DEADLINE_S)) is grpc.StatusCode.PERMISSION_DENIED
    found = standing.written()
    for kind, call, who, status in (
        ("refused", "Switchover", f"{CLUSTER}/reporter/anna", "PERMISSION_DENIED"),
        ("refused", "Switchover", f"{CLUSTER}/node/anna", "PERMISSION_DENIED"),
        ("begun", "Switchover", f"{CLUSTER}/operator/anna", ""),
        ("ended", "Switchover", f"{CLUSTER}/operator/anna", "UNAVAILABLE"),
        ("refused", "KeepAlive", f"{CLUSTER}/monitor/m", "PERMISSION_DENIED"),
    ):
        assert (kind, call, who, status) in [each[:4] for each in found], found


async def test_a_node_is_vouched_for_under_its_certificate_s_name_alone(standing: Standing) -> None:
    question = coordinator_pb2.VouchPrimaryRequest(cluster=CLUSTER, node="n1", incarnation="n1-1", epoch=3, sequence=1)
    for name, expected in (("n1", grpc.StatusCode.OK), ("n2", grpc.StatusCode.PERMISSION_DENIED)):
        async with standing.channel("node", name) as channel:
            stub: Any = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            assert await code_of(stub.VouchPrimary(asked(question), timeout=DEADLINE_S)) is expected
    refused = ("refused", "VouchPrimary", f"{CLUSTER}/node/n2", "PERMISSION_DENIED", "NAME_NOT_OWN")
    assert standing.written() == [refused]
