"""Who pushes what decides for all is written down, with its position; where it can't be, nothing is decided and orders
go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fasttree.v1 import types_pb2
from services.shared.security.audit.files import OPERATIONS, file_of
from services.shared.security.audit.log import AuditLog, begin_audit, end_audit
from services.shared.security.audit.settings import AuditSettings
from tests.pusher.running_pusher import code_of, push, running_pusher, stub_of
from tests.pusher.updates import order


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    yield begin_audit(AuditSettings(), "pusher", tmp_path)
    end_audit()


def records(log: AuditLog) -> list[dict[str, Any]]:
    lines = map(json.loads, file_of(log.folder, OPERATIONS, 1).read_text().splitlines())
    found = [line["fasttree"] | {"path": line["grpc_audit_log"]["rpc_method"]} for line in lines]
    return [each for each in found if each["kind"] in ("begun", "ended")]


def opened(update_id: str, period: str) -> types_pb2.Update:
    return types_pb2.Update(update_id=update_id, period_opened=types_pb2.PeriodOpened(period=period))


async def test_a_period_is_opened_by_somebody_at_a_position(tmp_path: Path, log: AuditLog) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        updates = [order(1), opened("O1", "2031-05"), opened("O2", "2031-05"), order(2)]
        receipts = await push(stub, updates)
        begun = [each for each in records(log) if each["kind"] == "begun"]
        assert [each["details"] for each in begun] == [
            {"change": "period_opened", "update_id": update_id, "period": "2031-05"} for update_id in ("O1", "O2")
        ]
        first, second = [each for each in records(log) if each["kind"] == "ended"]
        assert (first["status"], first["details"]["position"]) == ("OK", receipts[1].position)
        assert (first["path"], first["call"]) == ("/fasttree.v1.PusherService/PushUpdates", begun[0]["call"])
        assert second["status"] == "FAILED_PRECONDITION"
        assert first["peer"].startswith("ipv4:127.0.0.1:")


async def test_what_can_not_be_written_down_is_not_decided_and_orders_go_on(tmp_path: Path, log: AuditLog) -> None:
    async with running_pusher(tmp_path) as pusher, stub_of(pusher) as stub:
        before = pusher.store.ends().last
        log.folder.rename(tmp_path / "aside")
        with pytest.raises(grpc.aio.AioRpcError, match="nothing was done") as raised:
            await push(stub, [opened("O1", "2031-05")])
        assert code_of(raised.value) is grpc.StatusCode.FAILED_PRECONDITION
        assert pusher.store.ends().last == before
        (receipt,) = await push(stub, [order(1)])
        assert receipt.position == before + 1
        (tmp_path / "aside").rename(log.folder)
        (receipt,) = await push(stub, [opened("O1", "2031-05")])
        assert receipt.position == before + 2
