"""An OpenTelemetry collector, as spans and figures are sent to it: OTLP over gRPC, on one connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc

from services.shared.config.text_file import read_text_file
from services.shared.telemetry.figures.otlp import metrics_request
from services.shared.telemetry.figures.reading import Reading
from services.shared.telemetry.sending import SendError
from services.shared.telemetry.settings import TelemetrySettings
from services.shared.telemetry.sinks.headers import read_headers
from services.shared.telemetry.sinks.otlp import trace_request
from services.shared.telemetry.spans import Span, Value

_SPANS = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_FIGURES = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
#: Nothing more is tried at once: what waits for a collector is dropped in the end, and it may be away for days.
#: Of a file of authorities.
_CA_BYTES_MAX = 1 << 20
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # what one attempt has to end in
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class Collector:
    """A `Sink`, and a `FigureSink`."""

    def __init__(self, settings: TelemetrySettings, resource: Callable[[], Mapping[str, Value]]) -> None:
        """Raises OSError, TelemetryError: a file of the settings can't be read."""
        self._resource = resource
        self._timeout_s = settings.timeout_s
        self._metadata = tuple(read_headers(settings.headers_file).items())
        if settings.tls:
            own = read_text_file(Path(settings.ca), _CA_BYTES_MAX, or_latin_1=True) if settings.ca else ""
            credentials = grpc.ssl_channel_credentials(own.encode() or None)
            self._channel = grpc.secure_channel(settings.endpoint, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(settings.endpoint, options=_OPTIONS)
        self._spans: Callable[..., bytes] = self._channel.unary_unary(_SPANS)
        self._figures: Callable[..., bytes] = self._channel.unary_unary(_FIGURES)

    def send(self, spans: Sequence[Span]) -> None:
        """See `Sink`."""
        self._export(self._spans, trace_request(spans, self._resource()))

    def send_figures(self, reading: Reading) -> None:
        """See `FigureSink`."""
        self._export(self._figures, metrics_request(reading, self._resource()))

    def _export(self, export: Callable[..., bytes], request: bytes) -> None:
        """What the collector answers is of no use: what it did not take, it won't."""
        try:
            export(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            call = error if isinstance(error, grpc.Call) else None
            raise SendError("no answer" if call is None else f"{call.code().name}: {call.details()}") from None

    def close(self) -> None:
        """See `Sink`."""
        self._channel.close()
