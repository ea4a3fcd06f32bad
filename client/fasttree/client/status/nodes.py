"""A node of a cluster, as those who know it tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from fasttree.client.endpoints import NodeEndpoint
from fasttree.client.status.words import state_word, word
from fasttree.v1 import coordinator_pb2, pusher_pb2

#: The state of a node that the endpoints file names, and the coordinator does not.
NOT_HEARD = "not heard"


class NodeJson(TypedDict):
    """A node; what nobody says of it is null, or left out."""

    node: str
    role: str
    state: str
    epoch: NotRequired[int]
    import_id: int | None
    position: int | None
    lag: int | None
    digest: NotRequired[str]
    alive: bool | None
    silent_ms: NotRequired[int]
    loading_import_id: NotRequired[int]
    loading_percent: NotRequired[int]
    halted_before: NotRequired[int]
    fault_position: NotRequired[int]
    halt_reason: NotRequired[str]
    report: NotRequired[str]
    instant: str
    http: NotRequired[str]
    #: What the pusher says of it.
    connected: NotRequired[bool | None]
    import_unknown: NotRequired[bool | None]
    note: NotRequired[str]


def node_json(node: coordinator_pb2.ClusterNode, end: int | None) -> NodeJson:
    """A node as the coordinator knows it; `end`: the log's end, where the pusher said it."""
    return {
        "node": node.address.name,
        "role": word(coordinator_pb2.Role, node.role),
        "state": state_word(node),
        "epoch": node.status.primary_epoch,
        "import_id": node.status.import_id,
        "position": node.status.position,
        "lag": max(end - node.status.position, 0) if end is not None else None,
        "digest": f"{node.status.digest:016x}",
        "alive": node.alive,
        "silent_ms": node.silent_ms,
        "loading_import_id": node.status.loading_import_id,
        "loading_percent": node.status.loading_percent,
        "halted_before": node.status.halted_before,
        "fault_position": node.status.fault_position,
        "halt_reason": node.status.halt_reason,
        "report": node.address.report,
        "instant": node.address.instant,
        "http": node.address.http,
    }


def streamed_json(node: pusher_pb2.NodeProgress) -> NodeJson:
    """A node that only the pusher knows."""
    return {
        "node": node.node,
        "role": "",
        "state": "unknown",
        "epoch": 0,
        "import_id": node.import_id,
        "position": node.applied_position,
        "lag": node.lag_updates,
        "halted_before": node.halted_before,
        "fault_position": node.fault_position,
        "alive": None,
        "instant": node.instant_address,
    }


def name_nodes(nodes: Sequence[NodeJson], listed: Sequence[NodeEndpoint]) -> None:
    """Whom a coordinator has not heard since its turn began, the pusher knows by its instant address: it gets the name
    that the endpoints file has for it, unless somebody else has that name."""
    names = {node.instant: node.name for node in listed if node.instant}
    taken = {node["node"] for node in nodes}
    for node in nodes:
        name = names.get(node["node"], "")
        if name and name not in taken:
            node["node"] = name


def unheard_nodes(nodes: Sequence[NodeJson], listed: Sequence[NodeEndpoint]) -> list[NodeJson]:
    """Those of an endpoints file of which neither coordinator nor pusher says anything, by name or by address: one that
    was dead as the coordinator began, say."""
    known = {word for node in nodes for word in (node["node"], node["instant"]) if word}
    return [named_json(node, NOT_HEARD) for node in listed if known.isdisjoint((node.name, node.instant))]


def named_json(node: NodeEndpoint, state: str = "unknown") -> NodeJson:
    """A node that nobody says anything of."""
    return {
        "node": node.name,
        "role": "",
        "state": state,
        "epoch": 0,
        "import_id": None,
        "position": None,
        "lag": None,
        "connected": None,
        "note": "",
        "alive": None,
        "instant": node.instant,
    }
