"""Imports: each node's steps, what an import changed, the rows that one was refused for, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from fasttree.client import Client, NotFoundError
from fasttree.client.forms.amounts import from_hundredths
from fasttree.client.status.imports import import_json
from fasttree.v1 import pusher_pb2, treenode_pb2
from services.console.exports.cells import csv_lines
from services.console.http.answers import AskError, json_answer
from services.console.http.guarding import SEE_CLUSTER, check_may, in_name


class ImportPages:
    """Of operators."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def routes(self) -> Iterator[web.RouteDef]:
        """Where they are."""
        yield web.get("/api/imports", self._list)
        yield web.get("/api/imports/refused", self._refused)
        yield web.post("/api/imports/rollback", self._rollback)

    async def _list(self, request: web.Request) -> web.Response:
        check_may(request, SEE_CLUSTER)
        pusher = await self._client.get_pusher()
        return json_answer(
            {"in_force": pusher.log_end.import_id, "imports": [detailed_json(one) for one in pusher.imports]}
        )

    async def _refused(self, request: web.Request) -> web.Response:
        """As a file that spreadsheets open."""
        check_may(request, SEE_CLUSTER)
        text = request.query.get("id", "")
        if not text.isdecimal() or len(text) > 18:
            raise AskError("id must be an import's number")
        found = [one for one in (await self._client.get_pusher()).imports if one.manifest.import_id == int(text)]
        if not found:
            raise NotFoundError(f"import {text} is none of the newest")
        refused = [row for node in _refusals(found[0])[:1] for row in node.rejected_rows]
        rows = [(row.line or "", row.column, row.reason) for row in refused]
        content = csv_lines([("line", "column", "reason"), *rows])
        return web.Response(body=content, content_type="text/csv", charset="utf-8")

    async def _rollback(self, request: web.Request) -> web.Response:
        manifest = await in_name(request, self._client).rollback_import()
        return json_answer({"import_id": manifest.import_id, "file_name": manifest.file_name})


def detailed_json(status: pusher_pb2.ImportStatus) -> dict[str, Any]:
    """As `fasttree import list --json` has it, with what only a page has room for."""
    content: dict[str, Any] = {**import_json(status)}
    for node, shown in zip(status.nodes, content["nodes"], strict=True):
        progress = node.progress
        shown["reconciliation"] = (
            _reconciliation_json(progress.reconciliation) if progress.HasField("reconciliation") else None
        )
    refusals = _refusals(status)
    content["rejected_count"] = max((progress.rejected_count for progress in refusals), default=0)
    content["rejected_rows"] = [
        {"line": row.line, "column": row.column, "reason": row.reason}
        for progress in refusals[:1]
        for row in progress.rejected_rows
    ]
    content["uploaded_at"] = status.manifest.uploaded_at.ToMilliseconds()
    return content


def _refusals(status: pusher_pb2.ImportStatus) -> list[treenode_pb2.LoadImportResponse]:
    return [node.progress for node in status.nodes if node.progress.phase == treenode_pb2.IMPORT_PHASE_REFUSED]


def _reconciliation_json(found: treenode_pb2.Reconciliation) -> dict[str, Any]:
    names = ("members_before", "members_after", "members_added", "members_removed", "members_moved", "volumes_changed")
    figures: dict[str, Any] = {name: getattr(found, name) for name in names}
    return figures | {"volume_difference": from_hundredths(found.volume_difference_hundredths)}
