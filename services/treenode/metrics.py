"""The node's figures for Prometheus, by OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from services.treenode.node.lifecycle import NodeState
from services.treenode.node.runner import NodeRunner
from services.treenode.replication.applying import Applier
from services.treenode.snapshots.saving import SnapshotWriter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class NodeMetrics:
    """One node's meters; several nodes in one process don't meet."""

    def __init__(self, node: NodeRunner, applier: Applier, writer: SnapshotWriter) -> None:
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=self._registry)
        resource = Resource.create({"service.name": "fasttree-treenode", "service.instance.id": node.settings.name})
        self._provider = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
        self._meter = self._provider.get_meter("fasttree.treenode")
        self._attributes = {"node": node.settings.name, "cluster": node.cluster.name}
        sequence, role = node.core.sequence, node.core.role

        self._gauge("position", "Last update in the tree.", lambda: sequence.position)
        self._gauge("import_id", "Import under the tree.", lambda: sequence.import_id)
        self._gauge("lag_updates", "Updates that the log has and the node lacks.", lambda: sequence.lag_updates)
        self._gauge(
            "fresh_timestamp_seconds",
            "When the node last lacked nothing (Unix time).",
            lambda: sequence.fresh_at_s or 0,
        )
        self._gauge("members", "Members in the tree.", lambda: node.held_tree.member_count)
        self._gauge("held_updates", "Updates that wait for a member.", lambda: node.held_tree.held_count)
        self._gauge("rejected_updates", "Updates rejected since the import.", lambda: node.held_tree.rejected_count)
        self._gauge("epoch", "Epoch of the cluster's primary, as last heard.", lambda: role.epoch)
        self._gauge("primary", "1 while the node is primary.", lambda: int(node.core.state is NodeState.PRIMARY))
        self._gauge("ready", "1 while the node is ready.", lambda: int(node.core.life.ready))
        self._gauge("state", "Life cycle state, as fasttree.v1.NodeState counts.", lambda: int(node.core.state))
        self._gauge("loading_percent", "Progress of the import being loaded.", lambda: node.loading[1])
        self._gauge("snapshot_fork_seconds", "How long the last snapshot held updates up.", lambda: writer.fork_s)
        self._gauge("snapshot_write_seconds", "How long the last snapshot took.", lambda: writer.took_s)
        self._counter("applied_updates", "Updates applied by this process.", lambda: applier.applied_count)
        self._counter("apply_busy_seconds", "Time spent inside the engine.", lambda: applier.busy_s)
        applier.on_batch = self._meter.create_histogram(
            "fasttree_node_apply_batch_seconds",
            unit="s",
            description="From a batch's arrival to its last update's being visible.",
            explicit_bucket_boundaries_advisory=[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5],
        ).record

    def page(self) -> bytes:
        """The figures now, in Prometheus' text format."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Ends the meters."""
        self._provider.shutdown()

    def _gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        self._meter.create_observable_gauge(
            f"fasttree_node_{name}", callbacks=[self._observing(value)], description=description
        )

    def _counter(self, name: str, description: str, value: Callable[[], float]) -> None:
        self._meter.create_observable_counter(
            f"fasttree_node_{name}", callbacks=[self._observing(value)], description=description
        )

    def _observing(self, value: Callable[[], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda options: [Observation(value(), self._attributes)]
