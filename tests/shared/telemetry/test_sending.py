"""Spans on their way: in a file that several processes share, to a collector; headers; what is wrong is told once."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.servers.collector import Collector, values
from services.shared.telemetry import own
from services.shared.telemetry.context import new_trace
from services.shared.telemetry.settings import TelemetryError, TelemetrySettings
from services.shared.telemetry.sinks.headers import read_headers
from services.shared.telemetry.spans import LINKS_MAX, Kind
from services.shared.telemetry.tracer import Tracer
from tests.waiting import until


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    yield
    own.end()


def begun(**settings: Any) -> Tracer:
    own.begin(TelemetrySettings(**{"interval_s": 0.01, "timeout_s": 1.0, **settings}), "pusher", "dot-test")
    tracer = own.own_tracer()
    assert tracer is not None
    return tracer


def tell(tracer: Tracer, name: str = "append log", **more: Any) -> None:
    tracer.tell(name, Kind.PRODUCER, new_trace(), None, time.perf_counter(), {"n": 1, "b": True, "f": 0.5}, **more)


def spans_in(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        span
        for line in lines
        for of_resource in line["resourceSpans"]
        for of_scope in of_resource["scopeSpans"]
        for span in of_scope["spans"]
    ]


def test_off_nothing_is_there() -> None:
    own.begin(TelemetrySettings(), "pusher", "dot-test")
    assert own.own_tracer() is None


def test_a_file_has_a_line_a_batch_in_otlps_json(tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    tracer = begun(file=str(file))
    parent = new_trace()
    tracer.tell(
        "process log", Kind.CONSUMER, parent.child(), parent, time.perf_counter() - 1, {"fasttree.x": "y"},
        links=[parent] * (LINKS_MAX + 5), error="held",
    )  # fmt: skip
    own.end()
    (span,) = spans_in(file)
    assert (span["traceId"], span["parentSpanId"]) == (f"{parent.trace_id:032x}", f"{parent.span_id:016x}")
    assert int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) >= 1e9
    assert span["status"] == {"code": 2, "message": "held"}
    assert len(span["links"]) == LINKS_MAX
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_is_begun_anew_and_what_was_stays_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    tracer = begun(file=str(file), file_bytes_max=2_000, batch_spans_max=1, queue_spans_max=100)
    for number in range(40):
        tell(tracer, f"span {number}")
    own.end()
    kept = [span["name"] for name in ("spans.jsonl.1", "spans.jsonl") for span in spans_in(tmp_path / name)]
    assert kept == [f"span {number}" for number in range(40 - len(kept), 40)]
    assert file.stat().st_size <= 2_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spans.jsonl", "spans.jsonl.1"]


async def test_a_collector_gets_them_with_the_headers(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.write_text("# the key\nx-api-key: s3cret value\n")
    headers.chmod(0o600)
    async with Collector() as collector:
        tracer = begun(endpoint=collector.address, headers_file=str(headers))
        tell(tracer)
        await until(lambda: len(collector.spans) == 1, "the span")
        assert collector.headers["x-api-key"] == "s3cret value"
        ((resource, span),) = collector.spans
        assert (resource["service.name"], resource["service.namespace"]) == ("fasttree-pusher", "dot-test")
        assert values(span.attributes) == {"n": 1, "b": True, "f": 0.5}


def test_a_full_queue_drops_and_counts_and_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tracer = begun(endpoint="127.0.0.1:1", queue_spans_max=10, batch_spans_max=10, timeout_s=0.05)
    for _ in range(1_000):
        tell(tracer)
    counts = tracer.queue.counts
    assert counts.told == 1_000
    assert counts.dropped > 0
    own.end()
    assert counts.sent == 0
    told = [record.getMessage() for record in caplog.records if "spans don't reach" in record.getMessage()]
    assert len(told) == 1
    assert "127.0.0.1:1" in told[0]
    assert not [thread for thread in threading.enumerate() if thread.name == "telemetry"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x-key = 3", "line 1 is no header"),
        ("a: b\ngrpc-timeout: 1", "line 2 is no header"),
        ("X-Key: secret1", "line 1"),
    ],
)
def test_a_line_that_is_no_header_is_named_without_its_value(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "headers"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(TelemetryError, match=says) as raised:
        read_headers(str(path))
    assert "secret1" not in str(raised.value)


def test_headers_that_others_may_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("x-key: 3")
    path.chmod(0o640)
    with pytest.raises(TelemetryError, match="chmod 600"):
        read_headers(str(path))
