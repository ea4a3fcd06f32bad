"""Calls of gRPC as spans, by OpenTelemetry's conventions for RPC: whichever server has them, and only those that are
traced.

A call is traced where its traceparent says that its caller's trace is; one without, by `telemetry.sample_ratio`. What
runs in the call finds its context by `tracer.current`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from services.shared.telemetry.context import TRACEPARENT, Parent, TraceContext, new_trace, of_traceparent
from services.shared.telemetry.spans import Kind, Value
from services.shared.telemetry.tracer import Tracer, set_current

_HEADER = TRACEPARENT.encode()
#: Statuses that are a server's failure; the others are its caller's to judge.
_FAILURES = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class OpenSpan(NamedTuple):
    """A call that is traced."""

    context: TraceContext
    parent: TraceContext | None
    begun_s: float


class CallSpans:
    """Those of one server's calls."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, context: Any) -> OpenSpan | None:
        """A call begins. None: it is not traced."""
        parent = parent_of(context)
        if parent is None:
            chosen = any(True for _ in self._tracer.calls.chosen(1))
        else:
            set_current(parent)
            chosen = parent.sampled
        now_s = time.perf_counter()
        if not chosen or not self._tracer.calls.may(now_s):
            return None
        above = None if parent is None else parent.context
        own = new_trace() if above is None else above.child()
        set_current(Parent(own, sampled=True) if above is not None else None)
        return OpenSpan(own, above, now_s)

    def end(self, method: str, code: str, span: OpenSpan) -> None:
        """It has ended, with that status. `method`: its path."""
        attributes: dict[str, Value] = {
            "rpc.system.name": "grpc",
            "rpc.method": method[1:],
            "rpc.response.status_code": code,
        }
        failed = code in _FAILURES
        if failed:
            attributes["error.type"] = code
        self._tracer.tell(
            method[1:], Kind.SERVER, span.context, span.parent, span.begun_s, attributes, error=code if failed else ""
        )

    def is_asked_for(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a call's caller has it traced, by the call's headers."""
        for name, value in headers:
            if name == _HEADER:
                parent = of_traceparent(value.decode("ascii", "replace"))
                return parent is not None and parent.sampled
        return False


def parent_of(context: Any) -> Parent | None:
    """What a call's caller says of its trace, by the context that its handler is given."""
    header = getattr(context, "header", None)
    if header is not None:  # of the server of our own
        value = header(_HEADER)
        return of_traceparent(value.decode("ascii", "replace")) if value else None
    for name, text in context.invocation_metadata() or ():
        if name == TRACEPARENT:
            return of_traceparent(text if isinstance(text, str) else text.decode("ascii", "replace"))
    return None
