"""The caller's trace, where the program has one: a span for each of its updates, and a traceparent for its imports.

By OpenTelemetry's API, as far as the program has loaded it: whoever has a span has done so. Nothing is loaded here, and
a program without one pays for a look into a dict.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fasttree.v1 import pusher_pb2, types_pb2

if TYPE_CHECKING:
    from opentelemetry.trace import Span

#: Updates of one push that have a span at a time; those beyond it have none.
_OPEN_MAX = 1_000
_ATTRIBUTES = {
    "messaging.system": "fasttree",
    "messaging.destination.name": "log",
    "messaging.operation.name": "push",
    "messaging.operation.type": "send",
}


def _caller() -> tuple[Any, Any] | None:
    """OpenTelemetry's API and the context of the caller's span; None where there is none that is sampled."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    context = api.get_current_span().get_span_context()
    return (api, context) if context.is_valid and context.trace_flags.sampled else None


def call_metadata() -> tuple[tuple[str, str], ...] | None:
    """What goes with a call whose caller is traced; None: nothing."""
    found = _caller()
    if found is None:
        return None
    context = found[1]
    return (("traceparent", f"00-{context.trace_id:032x}-{context.span_id:016x}-01"),)


class UpdateSpans:
    """*push*, of each update of one push: from when it is given to its receipt."""

    def __init__(self) -> None:
        #: By update_id.
        self._open: dict[str, Span] = {}

    def begin(self, updates: Sequence[types_pb2.Update]) -> None:
        """The caller gives these, in its context."""
        found = _caller()
        if found is None:
            return
        api = found[0]
        tracer = api.get_tracer("fasttree.client")
        for update in updates:
            if len(self._open) >= _OPEN_MAX or update.update_id in self._open:
                continue
            attributes = {**_ATTRIBUTES, "messaging.message.id": update.update_id}
            self._open[update.update_id] = tracer.start_span(
                "push log", kind=api.SpanKind.PRODUCER, attributes=attributes
            )

    def contexts(self, updates: Sequence[types_pb2.Update]) -> list[pusher_pb2.UpdateTrace] | None:
        """What goes with these updates; None where none of them has a span."""
        if not self._open:
            return None
        found = []
        for index, update in enumerate(updates):
            span = self._open.get(update.update_id)
            if span is not None and (context := span.get_span_context()).trace_flags.sampled:
                ids = context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")
                found.append(pusher_pb2.UpdateTrace(index=index, context=ids))
        return found

    def end(self, receipt: pusher_pb2.Receipt) -> None:
        """One has its receipt."""
        if not self._open:
            return
        span = self._open.pop(receipt.update_id, None)
        if span is None:
            return
        if receipt.position:
            span.set_attribute("fasttree.log.position", receipt.position)
        if receipt.code:
            from opentelemetry.trace import Status, StatusCode

            span.set_status(Status(StatusCode.ERROR, receipt.message))
        span.end()

    def close(self) -> None:
        """The push is over: what has no receipt has none for its span either."""
        for span in self._open.values():
            span.end()
        self._open.clear()
