"""Names of the API's enums, as people read them."""

from __future__ import annotations

from typing import Any

from fasttree.v1 import coordinator_pb2

_PREFIXES = ("NODE_STATE_", "ROLE_", "IMPORT_STATE_", "IMPORT_PHASE_", "PUSHER_STATE_")


def word(enum: Any, value: int) -> str:
    """NODE_STATE_CATCHING_UP as "catching up"; empty where it is unspecified."""
    name = str(enum.Name(value))
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return "" if name == "UNSPECIFIED" else name.lower().replace("_", " ")


def state_word(node: coordinator_pb2.ClusterNode) -> str:
    """What a node does; "silent" where its lease has run out."""
    return word(coordinator_pb2.NodeState, node.status.state) if node.alive else "silent"
