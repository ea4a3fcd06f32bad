"""What the pusher counts, for Prometheus."""

from __future__ import annotations

from services.pusher.admission.progress import PushCounts
from services.pusher.comparison.runner import ComparisonRunner
from services.pusher.fanout.runner import FanOut
from services.pusher.log.store import LogStore
from services.pusher.log.tail import LogTail
from services.pusher.log.writer import LogWriter
from services.shared.serving.metrics import Metrics


def pusher_metrics(
    cluster: str,
    store: LogStore,
    writer: LogWriter,
    tail: LogTail,
    counts: PushCounts,
    fan_out: FanOut,
    comparison: ComparisonRunner,
) -> Metrics:
    """Each figure and where it is read."""
    metrics = Metrics("pusher", "fasttree_pusher_", origin={"fasttree.cluster": cluster})
    metrics.counter_by(
        "result",
        "updates",
        "Pushed updates by result",
        lambda: {name: getattr(counts, name) for name in counts.__slots__},
    )
    metrics.counter("commits", "Commits of the log", lambda: writer.commits)
    metrics.histogram("commit_updates", "Updates in one commit of the log", writer.commit_updates)
    metrics.histogram("commit_seconds", "How long a commit of the log took", writer.commit_s)
    metrics.gauge("log_queue_writes", "Writes that wait for the log's thread", lambda: writer.queue_length)
    metrics.counter("tail_misses", "Reads that went to the disk", lambda: tail.disk_reads)
    metrics.gauge("log_position", "Newest durable position", lambda: store.ends().last)
    metrics.gauge("log_first_position", "Oldest kept position", lambda: store.ends().first)
    metrics.gauge("log_bytes", "Size of the log on disk", store.size_bytes)
    metrics.gauge(
        "log_damaged_records",
        "Records of the log that are known to be damaged: an alarm",
        lambda: store.damage.count(store.ends().first),
    )
    metrics.gauge("tail_bytes", "Records kept in memory", lambda: tail.size_bytes)
    metrics.gauge("import_id", "Import in force", lambda: fan_out.log_end().import_id)
    metrics.gauge_by(
        "node",
        "node_lag_updates",
        "Updates that a node lacks",
        lambda: {node.node: node.lag_updates for node in fan_out.progress()},
    )
    metrics.gauge_by(
        "node",
        "node_in_flight_updates",
        "Updates that were sent to a node and are not confirmed by it",
        lambda: {
            fan_out.names.get(node.node, node.node): max(0, node.sent_position - node.applied_position)
            for node in fan_out.core.nodes.values()
        },
    )
    metrics.gauge_by(
        "node",
        "node_connected",
        "Whether a node's stream stands",
        lambda: {node.node: node.connected for node in fan_out.progress()},
    )
    metrics.gauge_by(
        "node",
        "node_halted_before",
        "Update before which a node has halted; 0 while it goes on",
        lambda: {node.node: node.halted_before for node in fan_out.progress()},
    )
    metrics.gauge_by(
        "node",
        "node_differs",
        "1 while a node's digest is another one than that of most others",
        lambda: {fan_out.names.get(node, node): differs for node, differs in comparison.differing.items()},
    )
    return metrics
