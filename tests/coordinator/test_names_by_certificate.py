"""A node's name, held to its certificate."""

from __future__ import annotations

import datetime
from pathlib import Path

import grpc

from fasttree.command.certs.folder import CertificateFolder
from fasttree.command.certs.roles import Holder
from fasttree.v1 import coordinator_pb2
from services.shared.security.own import begin
from services.shared.security.settings import TlsSettings
from tests.coordinator.test_service import Stage, refused


async def test_a_node_has_no_other_name_than_its_certificate_s(tmp_path: Path) -> None:
    folder, day = CertificateFolder(tmp_path / "certs"), datetime.timedelta(days=1)
    folder.init("dot-test", day)
    folder.issue(folder.authority(), Holder("node", "n1"), ["127.0.0.1"], day)
    begin(TlsSettings(mode="mutual", folder=str(folder.path / "node/n1")))
    stage = Stage()
    try:
        await stage.start()
        error = await refused(stage.node("n2").talk())
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "this certificate is node n1's, and the name here is n2" in (error.details() or "")
        assert not (await stage.cluster()).nodes
        assert (await stage.node("n1").talk()).role == coordinator_pb2.ROLE_PASSIVE
        await stage.stop()
    finally:
        begin(TlsSettings())
