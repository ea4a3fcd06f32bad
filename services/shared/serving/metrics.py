"""Figures of one service, declared by name and read when they are asked for, in Prometheus's text format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest

#: Of the format that `generate_latest` writes.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

ReadOne = Callable[[], float]
#: The label's value to the figure.
ReadEach = Callable[[], Mapping[str, float]]


class Metrics:
    """A meter of its own, so that several services can run in one process. Nothing here is on a hot path: a figure is
    read when a monitor asks for it.

    Args:
        service: Such as "pusher".
        prefix: What every metric's name begins with, such as "fasttree_pusher_".
        labels: On every figure.
        origin: What the process is, for a further metric named target_info, and the meter's name as a label of every
            figure; None: neither.
    """

    def __init__(
        self,
        service: str,
        prefix: str,
        *,
        labels: Mapping[str, str] | None = None,
        origin: Mapping[str, str] | None = None,
    ) -> None:
        self._prefix = prefix
        self._labels = dict(labels or {})
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(
            disable_target_info=origin is None, scope_info_enabled=origin is not None, registry=self._registry
        )
        self._provider = MeterProvider(
            metric_readers=[reader],
            resource=Resource.create({"service.name": f"fasttree-{service}", **(origin or {})}),
            shutdown_on_exit=False,
        )
        self._meter = self._provider.get_meter(f"fasttree.{service}")

    def gauge(self, name: str, description: str, read: ReadOne) -> None:
        """A figure that goes up and down."""
        self._meter.create_observable_gauge(self._prefix + name, [self._observe(read)], description=description)

    def counter(self, name: str, description: str, read: ReadOne) -> None:
        """A figure that only grows; "_total" is put to its name."""
        self._meter.create_observable_counter(self._prefix + name, [self._observe(read)], description=description)

    def gauge_by(self, label: str, name: str, description: str, read: ReadEach) -> None:
        """A gauge for each value of a label."""
        callback = self._observe_each(label, read)
        self._meter.create_observable_gauge(self._prefix + name, [callback], description=description)

    def counter_by(self, label: str, name: str, description: str, read: ReadEach) -> None:
        """A counter for each value of a label."""
        callback = self._observe_each(label, read)
        self._meter.create_observable_counter(self._prefix + name, [callback], description=description)

    def histogram_s(self, name: str, description: str, bounds_s: Sequence[float]) -> Callable[[float], None]:
        """How often what took how long; returns what notes a time, in seconds. "_seconds" ends its name."""
        return self._meter.create_histogram(
            self._prefix + name, unit="s", description=description, explicit_bucket_boundaries_advisory=bounds_s
        ).record

    def text(self) -> bytes:
        """All figures now."""
        return generate_latest(self._registry)

    def close(self) -> None:
        """Ends the instruments."""
        self._provider.shutdown()

    def _observe(self, read: ReadOne) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(float(read()), self._labels)]

    def _observe_each(self, label: str, read: ReadEach) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(float(value), {**self._labels, label: of}) for of, value in read().items()]
