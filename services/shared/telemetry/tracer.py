"""What those who tell of themselves are given: which updates and calls to tell of, and where to."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar

from services.shared.telemetry.context import TRACEPARENT, Parent, TraceContext
from services.shared.telemetry.sampling import Sampler
from services.shared.telemetry.settings import TelemetrySettings
from services.shared.telemetry.spans import LINKS_MAX, Kind, Span, SpanQueue, Value

#: What the caller of the call at hand says of its trace, or the call's own span where it is traced; None: nothing.
_CURRENT: ContextVar[Parent | None] = ContextVar("fasttree-trace", default=None)


class Tracer:
    """One for the process. From any thread, but for `updates` and `calls`, which are the event loop's."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self.settings = settings
        self.queue = SpanQueue(settings.queue_spans_max, settings.batch_spans_max)
        #: Each chooses by itself; they share the bound.
        self.updates = Sampler(settings.sample_ratio, settings.traces_per_s_max)
        self.calls = Sampler(settings.sample_ratio, settings.traces_per_s_max)
        #: The process's own name among those of its kind; what sends looks at it last.
        self.instance = ""

    def tell(
        self,
        name: str,
        kind: Kind,
        context: TraceContext,
        parent: TraceContext | None,
        begun_s: float,
        attributes: Mapping[str, Value],
        *,
        ended_s: float | None = None,
        links: Sequence[TraceContext] = (),
        error: str = "",
    ) -> None:
        """A span has ended: now, or at `ended_s`. Times are readings of `time.perf_counter`."""
        now_s, now_ns = time.perf_counter(), time.time_ns()
        begun_ns = now_ns - int((now_s - begun_s) * 1e9)
        ended_ns = now_ns if ended_s is None else max(begun_ns, now_ns - int((now_s - ended_s) * 1e9))
        parent_id = 0 if parent is None else parent.span_id
        self.queue.add(
            Span(name, kind, context, parent_id, begun_ns, ended_ns, attributes, tuple(links[:LINKS_MAX]), error)
        )

    def counted(self) -> dict[str, float]:
        """Spans by what became of them; *limited*: traces that the bound has kept from being begun."""
        counts = self.queue.counts
        return {
            "sent": counts.sent,
            "dropped": counts.dropped,
            "lost": counts.lost,
            "limited": self.updates.limited + self.calls.limited,
        }


def current() -> Parent | None:
    """Of the call at hand."""
    return _CURRENT.get()


def call_metadata() -> tuple[tuple[str, str], ...] | None:
    """What goes with a call that is made in a traced one; None: nothing."""
    found = _CURRENT.get()
    return ((TRACEPARENT, found.context.traceparent()),) if found is not None and found.sampled else None


def set_current(parent: Parent | None) -> None:
    """For what runs in the same context from here on."""
    _CURRENT.set(parent)
