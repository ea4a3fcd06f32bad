"""Imports, held and rejected updates, periods: as the command has them, and changed as it changes them."""

from __future__ import annotations

from pathlib import Path

from fasttree.v1 import pusher_pb2, treenode_pb2, types_pb2
from services.console.api.imports import detailed_json
from tests.command.fasttree_command import FastTree
from tests.console.conftest import Asking
from tests.fakes.cluster import FakeCluster


async def test_imports_are_those_that_the_command_lists(cluster: FakeCluster, console: Asking, tmp_path: Path) -> None:
    status = pusher_pb2.ImportStatus(state=pusher_pb2.IMPORT_STATE_DONE)
    status.manifest.CopyFrom(cluster.pusher.add_import(1, b"member_id,sponsor_id\n1,\n", 0))
    status.nodes.add(node="n1").progress.phase = treenode_pb2.IMPORT_PHASE_DONE
    cluster.pusher.imports = [status]
    _, answer = await console.get("/api/imports")
    printed = (await FastTree(tmp_path, cluster.endpoints)("import", "list", "--json")).json
    assert [{name: one[name] for name in printed[0]} for one in answer["imports"]] == [
        {**one, "nodes": [{**node, "reconciliation": None} for node in one["nodes"]]} for one in printed
    ]


async def test_refused_rows_are_a_file_that_no_spreadsheet_runs(cluster: FakeCluster, console: Asking) -> None:
    status = pusher_pb2.ImportStatus(state=pusher_pb2.IMPORT_STATE_REFUSED)
    status.manifest.import_id = 1
    progress = status.nodes.add(node="n1").progress
    progress.phase, progress.rejected_count = treenode_pb2.IMPORT_PHASE_REFUSED, 2
    progress.rejected_rows.add(line=3, column="pv", reason="no number")
    progress.rejected_rows.add(line=4, column="=1+1", reason="no such column")
    assert detailed_json(status)["rejected_count"] == 2
    cluster.pusher.imports = [status]
    async with console.session.get("/api/imports/refused?id=1") as answer:
        assert (await answer.text()).splitlines() == [
            "line,column,reason",
            "3,pv,no number",
            "4,'=1+1,no such column",
        ]


async def test_held_updates_are_settled_with_a_reason(cluster: FakeCluster, console: Asking) -> None:
    status, answer = await console.post("/api/held", action="drop", position=3, reason="a mistake")
    assert status == 200, answer
    assert answer["position"] == cluster.pusher.log_end().position
    record = cluster.pusher.record(answer["position"])
    settled = types_pb2.Update.FromString(record.update).held_settled
    assert (settled.action, settled.position, settled.reason) == (types_pb2.HELD_ACTION_DROP, 3, "a mistake")
    for body in ({"action": "burn", "position": 1}, {"action": "drop"}, {"action": "drop", "position": -1}):
        assert (await console.post("/api/held", **body))[0] == 400
    assert (await console.get("/api/held"))[1]["updates"] is not None
    assert (await console.get("/api/rejected"))[1]["updates"] is not None


async def test_a_period_is_opened_by_a_record(cluster: FakeCluster, console: Asking) -> None:
    status, answer = await console.post("/api/periods", action="open", period="2026-12")
    assert status == 200, answer
    record = cluster.pusher.record(answer["position"])
    assert types_pb2.Update.FromString(record.update).period_opened.period == "2026-12"
    assert (await console.post("/api/periods", action="burn", period="2026-12"))[0] == 400
    assert (await console.get("/api/periods"))[0] == 200
