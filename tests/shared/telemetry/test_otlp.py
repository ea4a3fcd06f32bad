"""What is written by hand is what OpenTelemetry's own messages read, field by field."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from services.shared.telemetry.context import TraceContext
from services.shared.telemetry.sinks.otlp import trace_request
from services.shared.telemetry.spans import Kind, Span

contexts = st.builds(TraceContext, st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1))
texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = texts | st.integers(-(1 << 63), (1 << 63) - 1) | st.booleans() | st.floats(allow_nan=False)
attributes = st.dictionaries(texts.filter(bool), values, max_size=5)
times = st.integers(1, (1 << 64) - 1)
spans = st.builds(
    Span,
    texts.filter(bool),
    st.sampled_from(Kind),
    contexts,
    st.integers(0, (1 << 64) - 1),
    times,
    times,
    attributes,
    st.lists(contexts, max_size=3),
    texts,
)


def key_value(key: str, value: str | int | float | bool) -> KeyValue:
    kind = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}[type(value)]
    return KeyValue(key=key, value=AnyValue(**{kind: value}))  # type: ignore[arg-type]


@given(st.lists(spans, min_size=1, max_size=3), attributes)
def test_every_field_is_read_as_it_was_told(told: list[Span], resource: dict[str, str | int | float | bool]) -> None:
    request = ExportTraceServiceRequest.FromString(trace_request(told, resource))
    (of_resource,) = request.resource_spans
    assert list(of_resource.resource.attributes) == [key_value(*each) for each in resource.items()]
    (of_scope,) = of_resource.scope_spans
    assert of_scope.scope.name == "fasttree"
    assert len(of_scope.spans) == len(told)
    for span, read in zip(told, of_scope.spans, strict=True):
        assert (read.name, read.kind, read.flags) == (span.name, int(span.kind) + 0, 1)
        assert int.from_bytes(read.trace_id) == span.context.trace_id
        assert int.from_bytes(read.span_id) == span.context.span_id
        assert int.from_bytes(read.parent_span_id) == span.parent_id
        assert (read.start_time_unix_nano, read.end_time_unix_nano) == (span.begun_ns, span.ended_ns)
        assert list(read.attributes) == [key_value(*each) for each in span.attributes.items()]
        assert [(int.from_bytes(link.trace_id), int.from_bytes(link.span_id)) for link in read.links] == span.links
        assert (read.status.message, read.status.code) == ((span.error, 2) if span.error else ("", 0))
