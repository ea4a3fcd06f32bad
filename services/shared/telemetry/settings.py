"""`[telemetry]`: where traces and figures go, and how many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from services.shared.config.bounds import (
    Bytes,
    Count,
    CountFrom0,
    Flag,
    OptionalAddress,
    OptionalFile,
    OptionalPath,
    Seconds,
)
from services.shared.config.sections import Problem, Settings

Ratio = Annotated[float, Meta(ge=0, le=1)]


class TelemetryError(Exception):
    """A file of `[telemetry]` that can't be used: one line that names it and the mend."""


class TelemetrySettings(Settings, frozen=True, kw_only=True):
    """Of every service. Off where neither `endpoint` nor `file` is set."""

    #: host:port of an OpenTelemetry collector that takes OTLP over gRPC; empty: none.
    endpoint: OptionalAddress = ""
    #: A file that spans are written to, as OTLP has them in JSON, a line a batch; several processes may share it.
    #: Empty: none.
    file: OptionalPath = ""
    #: The file is begun anew where it would become larger, in bytes; what it was before stays beside it, as `.1`.
    file_bytes_max: Bytes = 64 << 20
    #: Which share of updates and calls is traced that come without a traceparent: 0 none, 1 all.
    sample_ratio: Ratio = 0.01
    #: Updates and calls that are traced a second at most, whoever asks for it: no client can make tracing costly.
    traces_per_s_max: Count = 200
    #: Updates of one push that its traceparent counts for, the first ones; further ones are chosen by `sample_ratio`.
    call_updates_max: CountFrom0 = 100
    #: A file of headers for the collector, a line `name: value` each, such as an API key's; read at the start. Nobody
    #: but the service's user may read it. Empty: none.
    headers_file: OptionalFile = ""
    #: Whether the collector is spoken to by TLS.
    tls: Flag = False
    #: The authorities that its certificate may be of, as PEM; empty: the system's.
    ca: OptionalFile = ""
    #: Whether the collector gets figures too: those that `/metrics` shows. Where it takes spans alone: no.
    metrics: Flag = True
    #: Figures are read and sent so often, in seconds.
    metrics_interval_s: Seconds = 15.0
    #: What sending one batch has to end in, in seconds.
    timeout_s: Seconds = 10.0
    #: Spans are sent at least so often, in seconds.
    interval_s: Seconds = 2.0
    #: Spans in one batch at most; so many that wait are sent at once.
    batch_spans_max: Count = 512
    #: Spans that wait at most; what comes beyond is dropped, and counted.
    queue_spans_max: Count = 4_096

    @property
    def on(self) -> bool:
        """Whether anything is told."""
        return bool(self.endpoint or self.file)

    def problems(self) -> Iterator[Problem]:
        """A queue that never fills a batch."""
        if self.batch_spans_max > self.queue_spans_max:
            yield Problem("batch_spans_max", f"must be queue_spans_max at most, which is {self.queue_spans_max:,}")
