"""An OpenTelemetry collector, as spans are sent to it: OTLP over gRPC, by OpenTelemetry's own exporter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from services.shared.telemetry.context import TraceContext
from services.shared.telemetry.headers import read_headers
from services.shared.telemetry.sending import SendError
from services.shared.telemetry.settings import TelemetrySettings
from services.shared.telemetry.spans import Kind, Span, Value

_SCOPE = InstrumentationScope("fasttree")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_KINDS = {
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.PRODUCER: SpanKind.PRODUCER,
    Kind.CONSUMER: SpanKind.CONSUMER,
}
# It tells of each try that fails; `sending.py` tells of the first.
logging.getLogger("opentelemetry.exporter.otlp.proto.grpc").setLevel(logging.CRITICAL)


def exporter_arguments(settings: TelemetrySettings) -> dict[str, Any]:
    """Of any of OpenTelemetry's exporters to this collector. Nothing is left for the environment to say.

    Raises:
        OSError, TelemetryError: A file can't be read.
    """
    authorities = Path(settings.ca).read_bytes() if settings.tls and settings.ca else None
    return {
        "endpoint": settings.endpoint,
        "insecure": not settings.tls,
        "credentials": grpc.ssl_channel_credentials(authorities) if settings.tls else None,
        "headers": read_headers(settings.headers_file) or {"fasttree-telemetry": "1"},
        "timeout": settings.timeout_s,
        "compression": grpc.Compression.Gzip,
    }


class SpanCollector:
    """A `Sink`."""

    def __init__(self, settings: TelemetrySettings, resource: Callable[[], Mapping[str, Value]]) -> None:
        """Raises as `exporter_arguments`."""
        self._exporter = OTLPSpanExporter(**exporter_arguments(settings))
        self._resource_of = resource
        self._resource: Resource | None = None

    def send(self, spans: Sequence[Span]) -> None:
        """See `Sink`."""
        if self._resource is None:
            self._resource = Resource(dict(self._resource_of()))
        result = self._exporter.export([_readable(span, self._resource) for span in spans])
        if result is not SpanExportResult.SUCCESS:
            raise SendError("no collector takes them there: is it up, and does it take OTLP over gRPC?")

    def close(self) -> None:
        """See `Sink`."""
        self._exporter.shutdown()


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    parent = TraceContext(span.context.trace_id, span.parent_id) if span.parent_id else None
    return ReadableSpan(
        name=span.name,
        context=_context(span.context),
        parent=None if parent is None else _context(parent),
        resource=resource,
        attributes=span.attributes,
        links=[Link(_context(link)) for link in span.links],
        kind=_KINDS[span.kind],
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
        start_time=span.begun_ns,
        end_time=span.ended_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(context: TraceContext) -> SpanContext:
    return SpanContext(context.trace_id, context.span_id, is_remote=False, trace_flags=_SAMPLED)
