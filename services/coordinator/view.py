"""The cluster as the coordinator sees it, for those who ask and watch."""

from __future__ import annotations

import math
from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from fasttree.v1 import coordinator_pb2
from services.coordinator.election.candidates import host_rank, is_electable
from services.coordinator.election.election import ElectionCore
from services.coordinator.election.events import Role
from services.coordinator.election.leases import NodeLease
from services.coordinator.election.seat import SeatState
from services.shared.own_version import own_version
from services.shared.security.audit.log import audit_problem
from services.shared.security.own import certificate_expires, security_problem

#: In the note of a pusher, while another process says that it is that one.
SECOND_PROCESS = "another process asks for its name and is refused: end it, or set another pusher.name there"
#: For so long after it did so last, in seconds.
_SECOND_PROCESS_TOLD_S = 5.0


def cluster_message(
    core: ElectionCore,
    cluster: str,
    heartbeats: Mapping[str, coordinator_pb2.KeepAliveRequest],
    now_s: float,
    wall_time_s: float,
    own_address: str = "",
) -> coordinator_pb2.Cluster:
    """The whole view.

    Args:
        core: Who is alive and primary.
        cluster: The cluster's name.
        heartbeats: Each node's newest heartbeat, by name: what the core does not keep.
        now: The core's clock, in seconds.
        wall_time_s: Seconds since 1970.
        own_address: Of this coordinator, where it is one of several.
    """
    nodes = sorted(core.leases, key=lambda lease: (host_rank(lease, core.hosts_order), lease.node))
    observed_at = Timestamp()
    observed_at.FromMicroseconds(int(wall_time_s * 1e6))
    return coordinator_pb2.Cluster(
        name=cluster,
        epoch=core.recorded.epoch,
        primary=core.seat.primary,
        paused=core.recorded.paused,
        nodes=[_node(core, lease, heartbeats[lease.node], now_s) for lease in nodes if lease.node in heartbeats],
        observed_at=observed_at,
        note=note(core, now_s),
        hosts=core.hosts_order,
        coordinator=own_address,
        audit_problem=audit_problem(),
        software_version=own_version(),
        certificate_expires=certificate_expires(),
        security_problem=security_problem(),
    )


def tell_second_processes(view: coordinator_pb2.Cluster, refused_at: Mapping[str, float], now_s: float) -> None:
    """Puts into the notes of pushers that other processes ask for their names. `refused_at`: when the last one was
    refused, by the pusher's name; each tries again all the time."""
    for pusher in view.pushers:
        if now_s - refused_at.get(pusher.name, -math.inf) < _SECOND_PROCESS_TOLD_S:
            pusher.status.note = "; ".join(filter(None, (pusher.status.note, SECOND_PROCESS)))


def _node(
    core: ElectionCore, lease: NodeLease, heartbeat: coordinator_pb2.KeepAliveRequest, now_s: float
) -> coordinator_pb2.ClusterNode:
    role = Role.PRIMARY if core.seat.is_granted_to(lease) else Role.PASSIVE
    place = lease.place_in(core.hosts_order)
    return coordinator_pb2.ClusterNode(
        address=heartbeat.node,
        status=heartbeat.status,
        role=coordinator_pb2.Role.ValueType(role),
        alive=lease.is_alive(now_s),
        silent_ms=max(0, min(int((now_s - lease.heard_at) * 1000), 2**32 - 1)),
        host="" if place is None else core.hosts_order[place],
    )


def note(core: ElectionCore, now_s: float) -> str:
    """Why there is no primary, or what the coordinator waits for, in one line; empty where all is well."""
    parts = []
    if core.ledger.problem:
        parts.append(f"cannot write its state: {core.ledger.problem}")
    if core.recorded.paused:
        parts.append("elections are paused")
    if core.handover is not None:
        parts.append(core.handover.note())
    elif not core.seat.primary:
        parts.append(_why_vacant(core, now_s))
    alive = [lease for lease in core.leases if lease.is_alive(now_s)]
    unlisted = [lease.node for lease in alive if not is_electable(lease, core.hosts_order)]
    if unlisted:
        parts.append(f"not in the host file, so never primary: {', '.join(sorted(unlisted))}")
    return "; ".join(part for part in parts if part)


def _why_vacant(core: ElectionCore, now_s: float) -> str:
    if core.seat.holder is not None:
        return f"waits until {core.seat.holder.node} has stepped down or its lease has run out"
    if core.recorded.paused:
        return "the primary is gone and is not replaced until elections are resumed"
    if core.ledger.writing is not None and core.seat.state is SeatState.ELECTING:
        return f"elects {core.ledger.writing.primary}"
    if now_s < core.others_from:
        wait_s = core.others_from - now_s
        waits_for = f"{core.recorded.primary}'s" if core.recorded.primary else "an earlier"
        return f"started or woke just now: {waits_for} lease may run for another {wait_s:.1f} s"
    if any(lease.is_ready(now_s) and is_electable(lease, core.hosts_order) for lease in core.leases):
        return "an election is due"
    if any(lease.is_ready(now_s) for lease in core.leases):
        return "no node that the host file has is ready"
    return "no node is ready"
