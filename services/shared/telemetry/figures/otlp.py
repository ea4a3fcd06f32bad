"""Figures as OTLP's protobuf, written by hand as spans are (`sinks/otlp.py`), so that one package's messages are not
needed for either. A test holds them to OpenTelemetry's own messages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from services.shared.telemetry.figures.reading import Figure, Kind, Point, Reading
from services.shared.telemetry.histograms import Histogram
from services.shared.telemetry.sinks.otlp import attribute, request_of
from services.shared.telemetry.spans import Value
from services.shared.wire.fields import field

_FIXED64 = struct.Struct("<Q").pack
_DOUBLE = struct.Struct("<d").pack
#: Values count since the beginning, not since the reading before.
_CUMULATIVE = b"\x10\x02"
_GROWS = b"\x18\x01"


def metrics_request(reading: Reading, resource: Mapping[str, Value]) -> bytes:
    """An ExportMetricsServiceRequest."""
    return request_of(resource, b"".join(_metric(figure, reading) for figure in reading.figures))


def _metric(figure: Figure, reading: Reading) -> bytes:
    texts = ((1, figure.name), (2, figure.description), (3, figure.unit))
    head = b"".join(field(number, text.encode()) for number, text in texts if text)
    if figure.kind is Kind.HISTOGRAM:
        points = b"".join(field(1, _histogram(point, reading)) for point in figure.points)
        return field(2, head + field(9, points + _CUMULATIVE))
    points = b"".join(field(1, _number(figure, point, reading)) for point in figure.points)
    return field(2, head + (field(5, points) if figure.kind is Kind.GAUGE else field(7, points + _CUMULATIVE + _GROWS)))


def _number(figure: Figure, point: Point, reading: Reading) -> bytes:
    assert not isinstance(point.value, Histogram)
    begun = b"" if figure.kind is Kind.GAUGE else b"\x11" + _FIXED64(reading.begun_ns)
    attributes = b"".join(attribute(7, key, value) for key, value in point.attributes.items())
    return begun + b"\x19" + _FIXED64(reading.read_ns) + b"\x21" + _DOUBLE(point.value) + attributes


def _histogram(point: Point, reading: Reading) -> bytes:
    assert isinstance(point.value, Histogram)
    told = point.value
    return b"".join(
        (
            b"\x11" + _FIXED64(reading.begun_ns) + b"\x19" + _FIXED64(reading.read_ns),
            b"\x21" + _FIXED64(sum(told.counts)) + b"\x29" + _DOUBLE(told.sum),
            field(6, b"".join(map(_FIXED64, told.counts))),
            field(7, b"".join(map(_DOUBLE, told.bounds))),
            *_examples(told),
            *(attribute(9, key, value) for key, value in point.attributes.items()),
        )
    )


def _examples(told: Histogram) -> Iterator[bytes]:
    for trace_id, value, at_s in told.examples.values():
        when = b"\x11" + _FIXED64(int(at_s * 1e9)) + b"\x19" + _DOUBLE(value)
        yield field(8, when + b"\x2a\x10" + trace_id.to_bytes(16, "big"))
