"""Figures for a collector: what it reads is what Prometheus has; one that is away costs a line and a count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from prometheus_client.parser import text_string_to_metric_families

from bench.servers.collector import Collector, values
from services.shared.serving.calls import BOUNDS_S, Calls
from services.shared.serving.metrics import Metrics
from services.shared.telemetry import own
from services.shared.telemetry.figures.otlp import metrics_request
from services.shared.telemetry.figures.reading import Figure, Kind, NewestReading, Point, Reading
from services.shared.telemetry.figures.timer import ReadingTimer
from services.shared.telemetry.histograms import Histogram
from services.shared.telemetry.settings import TelemetrySettings
from tests.waiting import until

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
attributes = st.dictionaries(texts, texts, max_size=3)
numbers = st.floats(allow_nan=False)
times = st.integers(1, (1 << 63) - 1)


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    found = Histogram((0.1, 1.0, 5.0))
    for value in draw(st.lists(st.floats(0, 10), max_size=5)):
        found.note(value, draw(st.integers(0, (1 << 128) - 1)))
    return found


def figures(kind: Kind, value: st.SearchStrategy[Any]) -> st.SearchStrategy[Figure]:
    points = st.lists(st.builds(Point, attributes, value), min_size=1, max_size=3)
    return st.builds(Figure, texts, st.text(st.characters(codec="utf-8")), st.just(kind), points, st.just("s"))


any_figure = figures(Kind.GAUGE, numbers) | figures(Kind.SUM, numbers) | figures(Kind.HISTOGRAM, histograms())


@given(st.lists(any_figure, min_size=1, max_size=3), times, times, attributes)
def test_every_field_is_read_as_it_was_told(
    told: list[Figure], begun_ns: int, read_ns: int, resource: dict[str, str]
) -> None:
    request = ExportMetricsServiceRequest.FromString(metrics_request(Reading(told, begun_ns, read_ns), resource))
    (of_resource,) = request.resource_metrics
    assert values(of_resource.resource.attributes) == resource
    (of_scope,) = of_resource.scope_metrics
    assert of_scope.scope.name == "fasttree"
    for figure, read in zip(told, of_scope.metrics, strict=True):
        assert (read.name, read.description, read.unit) == (figure.name, figure.description, "s")
        data = getattr(read, figure.kind.value)
        if figure.kind is not Kind.GAUGE:
            assert data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            assert {point.start_time_unix_nano for point in data.data_points} == {begun_ns}
        assert figure.kind is not Kind.SUM or data.is_monotonic
        for point, found in zip(figure.points, data.data_points, strict=True):
            assert found.time_unix_nano == read_ns
            assert values(found.attributes) == point.attributes
            check_value(point.value, found)


def check_value(value: float | Histogram, found: Any) -> None:
    if not isinstance(value, Histogram):
        assert found.as_double == value
        return
    assert (list(found.bucket_counts), list(found.explicit_bounds)) == (value.counts, list(value.bounds))
    assert (found.count, found.sum) == (sum(value.counts), value.sum)
    examples = [(int.from_bytes(each.trace_id), each.as_double) for each in found.exemplars]
    assert examples == [(trace_id, noted) for trace_id, noted, _ in value.examples.values()]


def reading(value: float) -> Reading:
    return Reading([Figure("x", "", Kind.GAUGE, [Point({}, value)])], 1, 2)


def test_one_waits_and_the_next_takes_its_place() -> None:
    newest = NewestReading(interval_s=1.0)
    for value in (1.0, 2.0, 3.0):
        newest.put(reading(value))
    assert newest.take() == reading(3.0)
    assert newest.take() is None
    assert newest.counted() == {"sent": 0, "lost": 0, "replaced": 2}


def test_a_copy_is_left_alone_by_what_is_noted_later() -> None:
    histogram = Histogram((1.0,))
    histogram.note(0.5, trace_id=7)
    copy = histogram.copy()
    histogram.note(0.7, trace_id=8)
    assert (copy.counts, copy.sum, copy.examples[0][0]) == ([1, 0], 0.5, 7)


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    own.end()


def begin(endpoint: str, **settings: Any) -> None:
    quick = {"interval_s": 0.01, "metrics_interval_s": 0.05, "timeout_s": 1.0}
    own.begin(TelemetrySettings(endpoint=endpoint, **{**quick, **settings}), "pusher", "dot-test")


def declared(folder: Path) -> Metrics:
    """Some of each kind."""
    metrics, calls = Metrics("pusher", "fasttree_pusher_", labels={"node": "n1"}), Calls()
    metrics.gauge("log_bytes", "Size of the log on disk", lambda: 4_096)
    metrics.counter_by("result", "updates", "Pushed updates by result", lambda: {"stored": 3, "refused": 1})
    name = calls.name_of("/fasttree.v1.PusherService/GetPusher")
    calls.end(name, "OK", calls.begin(name), trace_id=0xABC)
    metrics.calls([calls])
    metrics.process(folder)
    return metrics


def by_prometheus(metrics: Metrics) -> dict[str, int]:
    """Each figure that Prometheus gets, without dots, and how many label sets it has."""
    found: dict[str, int] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        ends = ("_bucket", "_created", "_sum")
        if samples := [each for each in family.samples if not each.name.endswith(ends)]:
            found[family.name] = len(samples)
    return found


def by_otlp(metrics: dict[str, Metric]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, metric in metrics.items():
        data = getattr(metric, metric.WhichOneof("data") or "gauge")
        name = f"{name.replace('.', '_')}_seconds" if "." in name else name
        found[name] = len(data.data_points)
    return found


async def test_a_collector_gets_what_prometheus_gets(tmp_path: Path) -> None:
    async with Collector() as collector:
        begin(collector.address)
        metrics = declared(tmp_path)
        await until(lambda: bool(collector.metrics), "the figures")
        (((service, _), told),) = collector.metrics.items()
        assert service == "fasttree-pusher"
        assert by_otlp(told) == by_prometheus(metrics)
        metrics.close()
        updates = told["fasttree_pusher_updates"]
        assert {values(each.attributes)["result"]: each.as_double for each in updates.sum.data_points} == {
            "stored": 3.0,
            "refused": 1.0,
        }
        size = told["fasttree_pusher_log_bytes"]
        assert (size.unit, size.gauge.data_points[0].as_double) == ("By", 4_096.0)
        took = told["rpc.server.call.duration"]
        (point,) = took.histogram.data_points
        assert took.unit == "s"
        assert values(point.attributes) == {
            "node": "n1",
            "rpc.system.name": "grpc",
            "rpc.method": "fasttree.v1.PusherService/GetPusher",
            "rpc.response.status_code": "OK",
        }
        assert (point.count, list(point.explicit_bounds)) == (1, list(BOUNDS_S))
        assert [int.from_bytes(each.trace_id) for each in point.exemplars] == [0xABC]


async def test_one_that_is_away_costs_a_line_and_a_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin("127.0.0.1:1", timeout_s=0.05)
    metrics, newest = declared(tmp_path), own.own_figures()
    assert newest is not None
    await until(lambda: newest.counts.lost >= 3, "readings that don't arrive")
    assert b'fasttree_pusher_metric_readings_total{node="n1",result="lost"}' in metrics.text()
    metrics.close()
    told = [record.getMessage() for record in caplog.records if "figures don't reach" in record.getMessage()]
    assert len(told) == 1
    assert "127.0.0.1:1" in told[0]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_collector_that_takes_spans_alone_gets_no_figures(tmp_path: Path) -> None:
    begin("127.0.0.1:1", metrics=False)
    assert own.own_figures() is None
    metrics = declared(tmp_path)
    assert "fasttree_pusher_metric_readings" not in metrics.text().decode()
    metrics.close()


def test_outside_of_a_loop_nothing_is_read(tmp_path: Path) -> None:
    begin("127.0.0.1:1")
    metrics = declared(tmp_path)
    metrics.close()
    assert own.own_figures() is not None


async def test_figures_are_read_until_they_are_closed() -> None:
    newest = NewestReading(interval_s=0.001)
    timer = ReadingTimer(lambda: reading(1.0), newest)
    await until(lambda: newest.counts.replaced >= 2, "readings")
    timer.close()
    newest.take()
    await asyncio.sleep(0.02)
    assert newest.take() is None
