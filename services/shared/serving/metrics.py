"""Figures of one service, declared by name and read when they are asked for, in Prometheus's text format."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.registry import Collector

from services.shared.security.audit.log import own_audit
from services.shared.security.own import own_tls
from services.shared.serving.callers.counting import Callers
from services.shared.serving.calls import Calls, ended, under_way
from services.shared.serving.connections import Connections, by_reason
from services.shared.telemetry.histograms import Histogram
from services.shared.telemetry.own import own_tracer
from services.shared.telemetry.process_health import GARBAGE, LoopWatch
from services.shared.telemetry.sending import own_version

#: Of the format that `generate_latest` writes.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Of the one that has traces as examples.
OPEN_METRICS = CONTENT_TYPE_LATEST

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

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
        self._loop_watch: LoopWatch | None = None
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

    def histogram(self, name: str, description: str, histogram: Histogram) -> None:
        """How often something was how large, as somebody else notes it."""
        self._registry.register(_OneHistogram(self._prefix + name, description, self._labels, histogram))

    def calls(self, servers: Sequence[Calls]) -> None:
        """How often calls ended in which way, and how long they took; those under way."""
        self._registry.register(_CallTimes(f"{self._prefix}call_seconds", self._labels, servers))
        self.gauge_by("call", "calls_open", "Calls under way, streams among them.", lambda: under_way(servers))

    def connections(self, ports: Sequence[Connections | None]) -> None:
        """Connections that stand, and how the others ended or why they were not taken."""
        counted = [port for port in ports if port is not None]
        standing = "Connections that stand, by the port that they came to."
        self.gauge_by("port", "connections_open", standing, lambda: {port.port: port.open for port in counted})
        ended = "Connections that ended or were not taken, by their port and the reason."
        self._meter.create_observable_counter(
            self._prefix + "connections_ended",
            [
                lambda _: [
                    Observation(count, {**self._labels, "port": port, "reason": why.value})
                    for port, why, count in by_reason(counted)
                ]
            ],
            description=ended,
        )

    def callers(self, ports: Sequence[Callers]) -> None:
        """Whose limits are reached, by role and never by name, and how many callers are remembered."""
        what = "Callers that are remembered for their limits, of the port that has most."
        self.gauge("callers_remembered", what, lambda: max((port.remembered for port in ports), default=0))
        self._meter.create_observable_counter(
            self._prefix + "caller_refused",
            [
                lambda _: [
                    Observation(count, {**self._labels, "role": role, "limit": limit})
                    for (role, limit), count in sum(
                        (port.refused for port in ports), Counter[tuple[str, str]]()
                    ).items()
                ]
            ],
            description="Calls that were refused for what their caller may have, by his role and the limit.",
        )

    def process(self, folder: Path) -> None:
        """Memory of this process, the room on the disk of its state, and what holds it up."""
        self._loop_watch = LoopWatch()
        version = own_version()
        what = "1 for the version of the package that the process runs."
        self.gauge_by("version", "build", what, lambda: {version: 1})
        self.gauge("memory_bytes", "Memory that the process has, mapped files included.", _memory_bytes)
        self.counter("processor_seconds", "Time that all its threads had a processor.", time.process_time)
        self.gauge("disk_free_bytes", "Room on the disk of its state.", lambda: _free_bytes(folder))
        self.counter("gc_pause_seconds", "Time that garbage collection stopped the process.", lambda: GARBAGE.total_s)
        self.counter("gc_runs", "Garbage collections.", lambda: GARBAGE.runs)
        what = "Longest stop by garbage collection in the last minute."
        self.gauge("gc_pause_longest_seconds", what, lambda: GARBAGE.longest.value)
        watch = self._loop_watch
        what = "How long the event loop kept a timer waiting at most in the last minute."
        self.gauge("event_loop_delay_seconds", what, lambda: watch.longest.value)
        if (tracer := own_tracer()) is not None:
            self.counter_by("result", "spans", "Spans of traces, by what became of them.", tracer.counted)
        self.gauge(
            "audit_not_written",
            "1 while the audit log can't be written, so that operators' calls are refused: an alarm.",
            lambda: (log := own_audit()) is not None and bool(log.any_problem),
        )
        self.counter(
            "audit_records", "Records of the audit log.", lambda: 0 if (log := own_audit()) is None else log.written
        )
        self.counter(
            "refused",
            "Calls, pages and connections that were refused for who asked.",
            lambda: 0 if (log := own_audit()) is None else log.refusals,
        )
        if (tls := own_tls()) is not None:
            self.gauge(
                "certificate_expires_in_seconds",
                "How long this process's certificate is good yet: an alarm below a day.",
                lambda: tls.expires_in_s,
            )

    def text(self, *, examples: bool = False) -> bytes:
        """All figures now. `examples`: in the format of OpenMetrics, with traces of some of them."""
        if not examples:
            return generate_latest(self._registry)
        found: bytes = open_metrics(self._registry)  # type: ignore[no-untyped-call]
        return found

    def close(self) -> None:
        """Ends the instruments."""
        if self._loop_watch is not None:
            self._loop_watch.close()
        self._provider.shutdown()

    def _observe(self, read: ReadOne) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(float(read()), self._labels)]

    def _observe_each(self, label: str, read: ReadEach) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(float(value), {**self._labels, label: of}) for of, value in read().items()]


class _CallTimes(Collector):
    """Two histograms: by call and code, and the same by OpenTelemetry's conventions for RPC."""

    def __init__(self, name: str, labels: Mapping[str, str], servers: Sequence[Calls]) -> None:
        self._name = name
        self._labels = labels
        self._servers = servers

    def collect(self) -> Iterable[Metric]:
        """As Prometheus has them: each count with those below it."""
        what = "How long calls took, by their name and the status that they ended with."
        own = HistogramMetricFamily(self._name, what, labels=[*self._labels, "call", "code"])
        what = "How long calls took, by OpenTelemetry's conventions for RPC."
        labels = [*self._labels, "rpc_system_name", "rpc_method", "rpc_response_status_code"]
        by_convention = HistogramMetricFamily("rpc_server_call_duration_seconds", what, labels=labels)
        full_names = {call: full for calls in self._servers for call, full in calls.full_names.items()}
        for (call, code), times in ended(self._servers).items():
            own.add_metric([*self._labels.values(), call, code], times.buckets(), times.sum)
            values = [*self._labels.values(), "grpc", full_names.get(call, call), code]
            by_convention.add_metric(values, times.buckets(), times.sum)
        yield own
        yield by_convention


class _OneHistogram(Collector):
    def __init__(self, name: str, what: str, labels: Mapping[str, str], histogram: Histogram) -> None:
        self._name, self._what, self._labels, self._histogram = name, what, labels, histogram

    def collect(self) -> Iterable[Metric]:
        """As it is now."""
        family = HistogramMetricFamily(self._name, self._what, labels=[*self._labels])
        family.add_metric([*self._labels.values()], self._histogram.buckets(), self._histogram.sum)
        yield family


def _free_bytes(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # a disk that is gone has none
        return 0


def _memory_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
