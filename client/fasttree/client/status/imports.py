"""An import and its rollout."""

from __future__ import annotations

from typing import TypedDict

from fasttree.client.status.words import word
from fasttree.v1 import pusher_pb2, treenode_pb2


class ImportNodeJson(TypedDict):
    """How far a node is with an import."""

    node: str
    phase: str
    percent: int
    rows: int
    reason: str


class ImportJson(TypedDict):
    """An import."""

    import_id: int
    file_name: str
    size_bytes: int
    as_of_position: int
    remark: str
    uploaded_as: str
    state: str
    nodes: list[ImportNodeJson]


def import_json(status: pusher_pb2.ImportStatus) -> ImportJson:
    """An import and how far each node is with it."""
    return {
        "import_id": status.manifest.import_id,
        "file_name": status.manifest.file_name,
        "size_bytes": status.manifest.size_bytes,
        "as_of_position": status.manifest.as_of_position,
        "remark": status.manifest.remark,
        "uploaded_as": status.manifest.uploaded_as,
        "state": word(pusher_pb2.ImportState, status.state),
        "nodes": [
            {
                "node": node.node,
                "phase": word(treenode_pb2.ImportPhase, node.progress.phase),
                "percent": node.progress.percent,
                "rows": node.progress.rows,
                "reason": node.progress.reason,
            }
            for node in status.nodes
        ],
    }
