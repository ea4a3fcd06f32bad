"""What the coordinator counts, for Prometheus."""

from __future__ import annotations

from services.coordinator.election.runner import CoreRunner
from services.coordinator.service import CoordinatorServicer
from services.shared.serving.metrics import Metrics


def coordinator_metrics(runner: CoreRunner, servicer: CoordinatorServicer) -> Metrics:
    """Each figure and where it is read."""
    metrics = Metrics("coordinator", "fasttree_coordinator_")
    core, counts = runner.core, runner.counts
    metrics.gauge("active", "1 while this coordinator is the active one.", runner.may_act)
    metrics.gauge("epoch", "Number of the newest election.", lambda: core.recorded.epoch)
    metrics.gauge("paused", "1 while elections are paused.", lambda: core.recorded.paused)
    metrics.gauge("has_primary", "1 while there is a primary.", lambda: bool(core.seat.primary))
    metrics.counter("heartbeats", "Heartbeats received.", lambda: servicer.heartbeats_received)
    metrics.counter("elections", "Elections won.", lambda: counts["elections"])
    metrics.counter(
        "refusals",
        "Heartbeats of a second process of one name.",
        lambda: counts["refusals"] + servicer.pushers_refused,
    )
    metrics.counter("write_failures", "Writes to the store that failed.", lambda: counts["write_failures"])
    metrics.gauge_by(
        "node",
        "node_alive",
        "1 while the node's lease runs.",
        lambda: {lease.node: lease.is_alive(runner.now()) for lease in core.leases},
    )
    metrics.gauge_by(
        "node",
        "node_primary",
        "1 for the primary, 0 for the others.",
        lambda: {lease.node: core.seat.is_granted_to(lease) for lease in core.leases},
    )
    metrics.gauge_by(
        "node",
        "node_silent_seconds",
        "Since the node's last heartbeat.",
        lambda: {lease.node: max(0.0, runner.now() - lease.heard_at) for lease in core.leases},
    )
    return metrics
