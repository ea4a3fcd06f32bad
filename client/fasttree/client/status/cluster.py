"""The whole of a cluster: nodes, pushers, log, imports, and where nodes differ."""

from __future__ import annotations

import time
from typing import TypedDict

from fasttree.client.status.imports import ImportJson, import_json
from fasttree.client.status.log import LogJson, log_json
from fasttree.client.status.nodes import NodeJson, node_json, streamed_json
from fasttree.client.status.pushers import PusherJson, pushers_json
from fasttree.client.status.snapshots import StoredSnapshotsJson, stored_json
from fasttree.v1 import coordinator_pb2, pusher_pb2


class AuditProblemJson(TypedDict):
    """A part that can't write its audit log."""

    part: str
    problem: str


class CertificateExpiryJson(TypedDict):
    """When a part's certificate is good no more."""

    part: str
    expires: str


class SealingProblemJson(TypedDict):
    """A part that can't use its file of sealing keys any more."""

    part: str
    problem: str


class SecurityProblemJson(TypedDict):
    """A part that goes by what it had before: a file of `[tls]` or `[tokens]`, or the address of token keys, can't be
    used as it is now."""

    part: str
    problem: str


class DifferenceJson(TypedDict):
    """Nodes that hold other things than others at the same place."""

    nodes: list[str]
    others: list[str]
    import_id: int
    position: int


class ClusterJson(TypedDict):
    """The whole of a cluster; null: who would say it does not answer."""

    cluster: str
    epoch: int | None
    primary: str | None
    paused: bool | None
    note: str
    coordinator: str
    #: How old it is what a coordinator that stands by was told last; null where an active one says how it is now.
    view_age_ms: int | None
    pushers: list[PusherJson]
    log: LogJson | None
    nodes: list[NodeJson]
    imports: list[ImportJson]
    stored_snapshots: StoredSnapshotsJson | None
    audit: list[AuditProblemJson]
    certificates: list[CertificateExpiryJson]
    sealing: list[SealingProblemJson]
    security: list[SecurityProblemJson]
    differences: list[DifferenceJson]


def status_json(view: coordinator_pb2.Cluster | None, pusher: pusher_pb2.GetPusherResponse | None) -> ClusterJson:
    """What both say, as one; None: that one did not answer."""
    # A pusher that can't open its log says that, and no log.
    end = pusher.log_end.position if pusher is not None and pusher.log_id else None
    progress = {node.node: node for node in pusher.nodes} if pusher is not None else {}
    nodes = [node_json(node, end) for node in view.nodes] if view is not None else []
    known = {node["node"] for node in nodes}
    nodes += [streamed_json(node) for name, node in progress.items() if name not in known]
    for node in nodes:
        streamed = progress.get(node["node"])
        node["connected"] = streamed.connected if streamed is not None else None
        node["import_unknown"] = streamed.import_unknown if streamed is not None else None
        node["note"] = streamed.note if streamed is not None else node.get("halt_reason", "")
        if streamed is not None and streamed.import_unknown:
            node["import_id"] = streamed.import_id  # the one that is meant
    return {
        "cluster": view.name if view is not None else pusher.cluster if pusher is not None else "",
        "epoch": view.epoch if view is not None else None,
        "primary": view.primary if view is not None else None,
        "paused": view.paused if view is not None else None,
        "note": "; ".join(filter(None, (view.note, view.standby))) if view is not None else "",
        "coordinator": view.coordinator if view is not None else "",
        "view_age_ms": _age_ms(view),
        "pushers": pushers_json(view, end),
        "log": None if pusher is None else log_json(pusher),
        "nodes": nodes,
        "imports": [import_json(one) for one in pusher.imports] if pusher is not None else [],
        "stored_snapshots": stored_json(view),
        "audit": _audit_json(view, pusher),
        "certificates": _certificates_json(view, pusher),
        "sealing": _sealing_json(view, pusher),
        "security": _security_json(view, pusher),
        "differences": [_difference_json(one) for one in pusher.differences] if pusher is not None else [],
    }


def _age_ms(view: coordinator_pb2.Cluster | None) -> int | None:
    if view is None or not view.standby or not view.HasField("observed_at"):
        return None
    return max(time.time_ns() // 1_000_000 - view.observed_at.ToMilliseconds(), 0)


def _audit_json(
    view: coordinator_pb2.Cluster | None, pusher: pusher_pb2.GetPusherResponse | None
) -> list[AuditProblemJson]:
    """The parts that can't write their audit logs, and why."""
    found = [("coordinator", view.audit_problem)] if view is not None else []
    found += [("pusher", pusher.audit_problem)] if pusher is not None else []
    # What a silent one said last is no news of it.
    found += [(node.address.name, node.status.audit_problem) for node in view.nodes if node.alive] if view else []
    return [{"part": part, "problem": problem} for part, problem in found if problem]


def _sealing_json(
    view: coordinator_pb2.Cluster | None, pusher: pusher_pb2.GetPusherResponse | None
) -> list[SealingProblemJson]:
    """The parts that keep something sealed, and would not start anew."""
    found = [("pusher", pusher.sealing_problem)] if pusher is not None else []
    found += [(node.address.name, node.status.sealing_problem) for node in view.nodes if node.alive] if view else []
    return [{"part": part, "problem": problem} for part, problem in found if problem]


def _security_json(
    view: coordinator_pb2.Cluster | None, pusher: pusher_pb2.GetPusherResponse | None
) -> list[SecurityProblemJson]:
    return [
        {"part": part, "problem": said.security_problem} for part, said in _said(view, pusher) if said.security_problem
    ]


def _certificates_json(
    view: coordinator_pb2.Cluster | None, pusher: pusher_pb2.GetPusherResponse | None
) -> list[CertificateExpiryJson]:
    return [
        {"part": part, "expires": said.certificate_expires.ToJsonString()}
        for part, said in _said(view, pusher)
        if said.HasField("certificate_expires")
    ]


def _said(
    view: coordinator_pb2.Cluster | None, pusher: pusher_pb2.GetPusherResponse | None
) -> list[tuple[str, coordinator_pb2.Cluster | coordinator_pb2.NodeStatus | pusher_pb2.GetPusherResponse]]:
    """What each part says of itself; what a silent node said last is no news of it."""
    found: list[tuple[str, coordinator_pb2.Cluster | coordinator_pb2.NodeStatus | pusher_pb2.GetPusherResponse]] = []
    found += [("coordinator", view)] if view is not None else []
    found += [("pusher", pusher)] if pusher is not None else []
    found += [(node.address.name, node.status) for node in view.nodes if node.alive] if view is not None else []
    return found


def _difference_json(difference: pusher_pb2.DigestDifference) -> DifferenceJson:
    return {
        "nodes": list(difference.nodes),
        "others": list(difference.others),
        "import_id": difference.import_id,
        "position": difference.position,
    }
