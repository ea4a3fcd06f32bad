"""What a node counts, for Prometheus."""

from __future__ import annotations

import time
from typing import Any

from services.shared.serving.metrics import Metrics, ReadOne
from services.treenode.node.lifecycle import NodeState
from services.treenode.node.runner import NodeRunner
from services.treenode.periods.keeping import Kept
from services.treenode.periods.opened import Opened
from services.treenode.periods.runner import PeriodKeeper
from services.treenode.replication.applying import Applier
from services.treenode.reports import ReportServicer
from services.treenode.reports.copy.room import CopyRoom
from services.treenode.snapshots.saving import SnapshotWriter
from services.treenode.snapshots.stored.keeping import StoredKeeping


def node_metrics(name: str, cluster: str) -> Metrics:
    """One node's meter; several nodes in one process don't meet."""
    return Metrics("treenode", "fasttree_node_", labels={"node": name, "cluster": cluster})


def declare_figures(
    metrics: Metrics, node: NodeRunner, applier: Applier, writer: SnapshotWriter, room: CopyRoom
) -> None:
    """Each figure and where it is read."""
    metrics.histogram(
        "apply_batch_seconds", "From a batch's arrival to its last update's being visible.", applier.batch_s
    )
    core = node.core
    sequence, role = core.sequence, core.role
    metrics.gauge("position", "Last update in the tree.", lambda: sequence.position)
    metrics.gauge("import_id", "Import under the tree.", lambda: sequence.import_id)
    metrics.gauge("lag_updates", "Updates that the log has and the node lacks.", lambda: sequence.lag_updates)
    metrics.gauge(
        "fresh_timestamp_seconds",
        "When the node last lacked nothing (Unix time).",
        lambda: sequence.fresh_at_s or 0,
    )
    metrics.gauge(
        "data_age_seconds",
        "How old the node's data is: since it last lacked nothing; 0 before it ever did.",
        lambda: max(0.0, time.time() - sequence.fresh_at_s) if sequence.fresh_at_s else 0.0,
    )
    metrics.gauge(
        "lag_seconds",
        "The same while the node lacks updates; else 0.",
        lambda: max(0.0, time.time() - sequence.fresh_at_s) if sequence.lag_updates and sequence.fresh_at_s else 0.0,
    )
    metrics.gauge(
        "halted_before",
        "Update before which the node has halted; 0 while it goes on.",
        lambda: sequence.halt.before if sequence.halt is not None else 0,
    )
    metrics.gauge(
        "pusher_refused",
        "1 while the pusher's log is not the node's, which serves on: an alarm.",
        lambda: bool(sequence.refused_reason),
    )
    metrics.gauge(
        "old_tree_served",
        "1 while the node serves the tree of an earlier log.",
        lambda: bool(sequence.old_log_id),
    )
    metrics.gauge("members", "Members in the tree.", lambda: node.served.member_count)
    metrics.gauge("held_updates", "Updates that wait for a member.", lambda: node.served.held_count)
    metrics.gauge("rejected_updates", "Updates rejected since the import.", lambda: node.served.rejected_count)
    metrics.gauge("epoch", "Epoch of the cluster's primary, as last heard.", lambda: role.epoch)
    metrics.gauge("primary", "1 while the node is primary.", lambda: core.state is NodeState.PRIMARY)
    metrics.gauge("ready", "1 while the node is ready.", lambda: core.life.ready)
    metrics.gauge("state", "Life cycle state, as fasttree.v1.NodeState counts.", lambda: int(core.state))
    metrics.gauge("loading_percent", "Progress of the import being loaded.", lambda: node.loading[1])
    metrics.gauge_by(
        "part",
        "memory_part_bytes",
        "Memory by what it is for, as far as it is known: what is not written to takes none.",
        lambda: {"tree": _array_bytes(node.served.store), "report_copies": room.used_bytes},
    )
    metrics.gauge("report_copy_bytes", "Memory of the copies of large reports.", lambda: room.used_bytes)
    metrics.gauge("report_copies_waiting", "Large reports that wait for that memory.", lambda: room.waiting)
    metrics.gauge("position_waits", "Calls that wait for a position.", lambda: node.waiters.count)
    metrics.gauge("snapshot_fork_seconds", "How long the last snapshot held updates up.", lambda: writer.fork_s)
    metrics.gauge("snapshot_write_seconds", "How long the last snapshot took.", lambda: writer.took_s)
    metrics.counter("applied_updates", "Updates applied by this process.", lambda: applier.applied_count)
    metrics.counter("apply_busy_seconds", "Time spent inside the engine.", lambda: applier.busy_s)


def _array_bytes(part: Any) -> int:
    """Of all arrays in it."""
    if isinstance(part, tuple):
        return sum(map(_array_bytes, part))
    return int(getattr(part, "nbytes", 0))


def declare_lease_figures(metrics: Metrics, loop_delay_s: ReadOne, lease_left_s: ReadOne) -> None:
    """Those of the lease, and of what could cost it."""
    metrics.gauge(
        "loop_delay_seconds",
        "How long a heartbeat waited for the event loop at most in the last minute: an alarm from half a lease on.",
        loop_delay_s,
    )
    metrics.gauge(
        "lease_left_seconds",
        "What was left of the lease at least, in the last minute, when it was prolonged: below 0 it had run out.",
        lease_left_s,
    )


def declare_period_figures(metrics: Metrics, periods: PeriodKeeper, opened: Opened[Kept, ReportServicer]) -> None:
    """Those of the closed periods."""
    metrics.gauge("periods_kept", "Closed periods whose state is kept.", lambda: len(periods.core.held))
    metrics.gauge(
        "periods_missing",
        "Closed periods that should be kept and are not, nor are being written: an alarm.",
        lambda: len(periods.core.missing),
    )
    metrics.gauge("periods_open", "States of closed periods that are mapped.", lambda: opened.count)
    metrics.gauge("period_fork_seconds", "How long the last one held updates up.", lambda: periods.fork_s)


def declare_stored_figures(metrics: Metrics, keeping: StoredKeeping, node: NodeRunner) -> None:
    """Those of the place where snapshots outlive every node; there are none where none is set."""
    metrics.gauge(
        "stored_snapshot_position",
        "Position of the newest good snapshot that is stored; 0: there is none.",
        lambda: node.stored.position,
    )
    metrics.gauge("stored_snapshot_age_seconds", "How old it is; 0 where there is none.", lambda: keeping.age_s)
    metrics.gauge(
        "stored_snapshot_unfit",
        "1 while the place can't be used, or something in it is damaged.",
        lambda: bool(node.stored.problem),
    )
