"""An import and its rollout."""

from __future__ import annotations

from typing import Any

from fasttree.client.status.words import word
from fasttree.v1 import pusher_pb2, treenode_pb2


def import_json(status: pusher_pb2.ImportStatus) -> dict[str, Any]:
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
