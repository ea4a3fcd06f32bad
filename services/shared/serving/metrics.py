"""Figures of one service, declared by name, once for all who ask: read when Prometheus does, in its text format,
and every so often for a collector, where there is one (`services/shared/telemetry/figures`)."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Metric as SdkMetric
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData, NumberDataPoint, Sum
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics
from prometheus_client.registry import Collector

from services.shared.files.sealed.own import sealing_problem
from services.shared.own_version import own_version
from services.shared.security.audit.log import own_audit
from services.shared.security.own import own_tls, security_problem
from services.shared.serving.callers.counting import Callers
from services.shared.serving.calls import Calls, ended, under_way
from services.shared.serving.connections import Connections, by_reason
from services.shared.telemetry.figures.reading import Figure, Kind, Point, Reading, unit_of
from services.shared.telemetry.figures.timer import ReadingTimer
from services.shared.telemetry.histograms import Histogram
from services.shared.telemetry.own import own_figures, own_tracer
from services.shared.telemetry.process_health import GARBAGE, LoopWatch

#: Of the format that `generate_latest` writes.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Of the one that has traces as examples.
OPEN_METRICS = CONTENT_TYPE_LATEST

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

ReadOne = Callable[[], float]
#: The label's value to the figure.
ReadEach = Callable[[], Mapping[str, float]]
#: Each histogram with its labels' values.
_ReadHistograms = Callable[[], Iterable[tuple[Sequence[str], Histogram]]]
#: OpenTelemetry's own name; Prometheus has it with its unit, and without dots.
_BY_CONVENTION, _FOR_PROMETHEUS = "rpc.server.call.duration", "rpc_server_call_duration_seconds"


class Declared(NamedTuple):
    """A figure as Prometheus has it."""

    name: str
    #: "gauge", "counter" or "histogram".
    kind: str
    #: Beside those that every figure of the process has.
    labels: tuple[str, ...]
    description: str


class Metrics:
    """A meter of its own, so that several services can run in one process. Nothing here is on a hot path: a figure is
    read when a monitor asks for it.

    Args:
        service: Such as "pusher".
        prefix: What every metric's name begins with, such as "fasttree_pusher_".
        labels: On every figure.
        origin: What the process is, for a further metric named target_info, and the meter's name as a label of every
            figure; None: neither.

    Attributes:
        tells: A collector is sent what is here. Of several parts that answer in turns at one process's ports, the one
            that does.
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
        self.tells = True
        #: What it shows, or would in another process: some figures are of settings that not everybody has.
        self.declared: list[Declared] = []
        self._loop_watch: LoopWatch | None = None
        self._labels = dict(labels or {})
        self._registry = CollectorRegistry()
        self._histograms: list[_Histograms] = []
        self._begun_ns = time.time_ns()
        readers: list[MetricReader] = [
            PrometheusMetricReader(
                disable_target_info=origin is None, scope_info_enabled=origin is not None, registry=self._registry
            )
        ]
        self._reader: _Reader | None = None
        self._timer: ReadingTimer | None = None
        if (newest := own_figures()) is not None:
            self._reader = _Reader()
            readers.append(self._reader)
            self._timer = ReadingTimer(self._read, newest)
        self._provider = MeterProvider(
            metric_readers=readers,
            resource=Resource.create({"service.name": f"fasttree-{service}", **(origin or {})}),
            shutdown_on_exit=False,
        )
        self._meter = self._provider.get_meter(f"fasttree.{service}")

    def gauge(self, name: str, description: str, read: ReadOne) -> None:
        """A figure that goes up and down."""
        self._declare(name, "gauge", description)
        self._meter.create_observable_gauge(self._prefix + name, [self._observe(read)], description=description)

    def counter(self, name: str, description: str, read: ReadOne) -> None:
        """A figure that only grows; "_total" is put to its name."""
        self._declare(name, "counter", description)
        self._meter.create_observable_counter(self._prefix + name, [self._observe(read)], description=description)

    def gauge_by(self, label: str, name: str, description: str, read: ReadEach) -> None:
        """A gauge for each value of a label."""
        self._declare(name, "gauge", description, label)
        callback = self._observe_each(label, read)
        self._meter.create_observable_gauge(self._prefix + name, [callback], description=description)

    def counter_by(self, label: str, name: str, description: str, read: ReadEach) -> None:
        """A counter for each value of a label."""
        self._declare(name, "counter", description, label)
        callback = self._observe_each(label, read)
        self._meter.create_observable_counter(self._prefix + name, [callback], description=description)

    def _declare(self, name: str, kind: str, description: str, *labels: str) -> None:
        total = "_total" if kind == "counter" else ""
        self.declared.append(Declared(f"{self._prefix}{name}{total}", kind, labels, description))

    def histogram(self, name: str, description: str, histogram: Histogram) -> None:
        """How often something was how large, as somebody else notes it."""
        self._add_histograms(self._prefix + name, description, (), lambda: [((), histogram)])

    def _add_histograms(self, name: str, description: str, labels: Sequence[str], read: _ReadHistograms) -> None:
        shown = _FOR_PROMETHEUS if name == _BY_CONVENTION else name
        self.declared.append(
            Declared(shown, "histogram", tuple(each.replace(".", "_") for each in labels), description)
        )
        found = _Histograms(name, description, self._labels, labels, read)
        self._histograms.append(found)
        self._registry.register(found)

    def calls(self, servers: Sequence[Calls]) -> None:
        """How often calls ended in which way, and how long they took; those under way."""
        what = "How long calls took, by their name and the status that they ended with."
        self._add_histograms(f"{self._prefix}call_seconds", what, ("call", "code"), lambda: ended(servers).items())
        what = "How long calls took, by OpenTelemetry's conventions for RPC."
        labels = ("rpc.system.name", "rpc.method", "rpc.response.status_code")
        self._add_histograms(_BY_CONVENTION, what, labels, lambda: _by_convention(servers))
        self.gauge_by("call", "calls_open", "Calls under way, streams among them.", lambda: under_way(servers))

    def connections(self, ports: Sequence[Connections | None]) -> None:
        """Connections that stand, and how the others ended or why they were not taken."""
        counted = [port for port in ports if port is not None]
        standing = "Connections that stand, by the port that they came to."
        self.gauge_by("port", "connections_open", standing, lambda: {port.port: port.open for port in counted})
        ended = "Connections that ended or were not taken, by their port and the reason."
        self._declare("connections_ended", "counter", ended, "port", "reason")
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
        refused = "Calls that were refused for what their caller may have, by his role and the limit."
        self._declare("caller_refused", "counter", refused, "role", "limit")
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
            description=refused,
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
        what = "Spans of traces, by what became of them; where there are traces."
        self.counter_by("result", "spans", what, lambda: {} if (tracer := own_tracer()) is None else tracer.counted())
        what = "Readings of all figures for the collector, by what became of them; where there is one."
        self.counter_by(
            "result", "metric_readings", what, lambda: {} if (newest := own_figures()) is None else newest.counted()
        )
        self.gauge(
            "audit_not_written",
            "1 while the audit log can't be written, so that operators' calls are refused: an alarm.",
            lambda: (log := own_audit()) is not None and bool(log.any_problem),
        )
        self.gauge(
            "sealing_keys_unusable",
            "1 while the file of sealing keys is gone or can't be used, so that it would not start anew: an alarm.",
            lambda: bool(sealing_problem()),
        )
        self.gauge(
            "security_files_unusable",
            "1 while a file of [tls] or [tokens], or the address of token keys, can't be used as it is, so that what "
            "was there before goes on: an alarm.",
            lambda: bool(security_problem()),
        )
        self.counter(
            "audit_records", "Records of the audit log.", lambda: 0 if (log := own_audit()) is None else log.written
        )
        self.counter(
            "refused",
            "Calls, pages and connections that were refused for who asked.",
            lambda: 0 if (log := own_audit()) is None else log.refusals,
        )
        what = "How long this process's certificate is good yet: an alarm below a day; where it has one."
        self._declare("certificate_expires_in_seconds", "gauge", what)
        self._meter.create_observable_gauge(
            self._prefix + "certificate_expires_in_seconds",
            [lambda _: [] if (tls := own_tls()) is None else [Observation(tls.expires_in_s, self._labels)]],
            description=what,
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
        if self._timer is not None:
            self._timer.close()
        self._provider.shutdown()

    def _read(self) -> Reading | None:
        """All figures now, for a collector; None where it is to have others."""
        assert self._reader is not None
        if not self.tells:
            return None
        figures = [*self._reader.figures(), *(each.figure() for each in self._histograms)]
        return Reading([figure for figure in figures if figure.points], self._begun_ns, time.time_ns())

    def _observe(self, read: ReadOne) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(float(read()), self._labels)]

    def _observe_each(self, label: str, read: ReadEach) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda _: [Observation(float(value), {**self._labels, label: of}) for of, value in read().items()]


class _Reader(MetricReader):
    """What the meter's instruments have, for a collector: read when `figures` is called."""

    def __init__(self) -> None:
        super().__init__()
        self._data: MetricsData | None = None

    def figures(self) -> Iterable[Figure]:
        """All of them now."""
        self.collect()
        data, self._data = self._data, None
        for of_resource in () if data is None else data.resource_metrics:
            for of_scope in of_resource.scope_metrics:
                yield from map(_figure_of, of_scope.metrics)

    def _receive_metrics(self, metrics_data: MetricsData, *_: object, **__: object) -> None:
        self._data = metrics_data

    def shutdown(self, *_: object, **__: object) -> None:
        """There is nothing to end."""


def _figure_of(metric: SdkMetric) -> Figure:
    kind = Kind.SUM if isinstance(metric.data, Sum) else Kind.GAUGE
    points = [
        Point({key: str(value) for key, value in (point.attributes or {}).items()}, float(point.value))
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    ]
    return Figure(metric.name, metric.description or "", kind, points, unit_of(metric.name))


class _Histograms(Collector):
    """Histograms of one name that somebody else notes, by their labels."""

    def __init__(
        self, name: str, what: str, fixed: Mapping[str, str], labels: Sequence[str], read: _ReadHistograms
    ) -> None:
        self._name, self._what, self._fixed, self._labels, self._read = name, what, fixed, labels, read

    def collect(self) -> Iterable[Metric]:
        """As Prometheus has them: each count with those below it, and names without dots."""
        name = _FOR_PROMETHEUS if self._name == _BY_CONVENTION else self._name
        labels = [*self._fixed, *(label.replace(".", "_") for label in self._labels)]
        family = HistogramMetricFamily(name, self._what, labels=labels)
        for values, histogram in self._read():
            family.add_metric([*self._fixed.values(), *values], histogram.buckets(), histogram.sum)
        yield family

    def figure(self) -> Figure:
        """For a collector."""
        points = [
            Point({**self._fixed, **dict(zip(self._labels, values, strict=True))}, histogram.copy())
            for values, histogram in self._read()
        ]
        unit = "s" if self._name == _BY_CONVENTION else unit_of(self._name)
        return Figure(self._name, self._what, Kind.HISTOGRAM, points, unit)


def _by_convention(servers: Sequence[Calls]) -> Iterable[tuple[tuple[str, str, str], Histogram]]:
    full_names = {call: full for calls in servers for call, full in calls.full_names.items()}
    for (call, code), times in ended(servers).items():
        yield ("grpc", full_names.get(call, call), code), times


def _free_bytes(folder: Path) -> float:
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # a disk that is gone has none
        return 0


def _memory_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES
