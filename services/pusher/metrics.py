"""What the pusher counts, for Prometheus, through the OpenTelemetry SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

from services.pusher.admission.progress import PushCounts
from services.pusher.fanout.runner import FanOut
from services.pusher.log.store import LogStore
from services.pusher.log.tail import LogTail
from services.pusher.log.writer import LogWriter

_Read = Callable[[], Iterable[tuple[float, dict[str, str]]]]


class PusherMetrics:
    """Read when they are asked for: nothing on the path of an update."""

    def __init__(self, cluster: str) -> None:
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(registry=self._registry)
        resource = Resource.create({"service.name": "fasttree-pusher", "fasttree.cluster": cluster})
        self._provider = MeterProvider(metric_readers=[reader], resource=resource)
        self._meter = self._provider.get_meter("fasttree.pusher")

    def watch(self, store: LogStore, writer: LogWriter, tail: LogTail, counts: PushCounts, fan_out: FanOut) -> None:
        """Says where the figures are."""

        def updates() -> Iterable[tuple[float, dict[str, str]]]:
            for name in counts.__slots__:
                yield getattr(counts, name), {"result": name}

        def lag() -> Iterable[tuple[float, dict[str, str]]]:
            for node in fan_out.progress():
                yield node.lag_updates, {"node": node.node}

        def connected() -> Iterable[tuple[float, dict[str, str]]]:
            for node in fan_out.progress():
                yield float(node.connected), {"node": node.node}

        self._counter("fasttree_pusher_updates", "Pushed updates by result", updates)
        self._counter("fasttree_pusher_commits", "Commits of the log", lambda: [(writer.commits, {})])
        self._counter("fasttree_pusher_tail_misses", "Reads that went to the disk", lambda: [(tail.disk_reads, {})])
        self._gauge("fasttree_pusher_log_position", "Newest durable position", lambda: [(store.ends().last, {})])
        self._gauge("fasttree_pusher_log_first_position", "Oldest kept position", lambda: [(store.ends().first, {})])
        self._gauge("fasttree_pusher_log_bytes", "Size of the log on disk", lambda: [(store.size_bytes(), {})])
        self._gauge("fasttree_pusher_tail_bytes", "Records kept in memory", lambda: [(tail.size_bytes, {})])
        self._gauge("fasttree_pusher_import_id", "Import in force", lambda: [(fan_out.log_end().import_id, {})])
        self._gauge("fasttree_pusher_node_lag_updates", "Updates that a node lacks", lag)
        self._gauge("fasttree_pusher_node_connected", "Whether a node's stream stands", connected)

    def _counter(self, name: str, description: str, read: _Read) -> None:
        self._meter.create_observable_counter(name, [_observe(read)], description=description)

    def _gauge(self, name: str, description: str, read: _Read) -> None:
        self._meter.create_observable_gauge(name, [_observe(read)], description=description)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Ends it."""
        self._provider.shutdown()


def _observe(read: _Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda options: [Observation(value, labels) for value, labels in read()]
