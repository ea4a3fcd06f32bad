"""The context of a trace, as it travels: a traceparent in a call's metadata, 24 bytes beside a record."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

#: Of a context beside a record: only sampled ones are kept, so no byte need say so. With its field's tag and length:
#: 26.
CONTEXT_BYTES = 24
_TRACE_BYTES = 16
_FORM = re.compile(r"\A(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")
_SAMPLED = 1
TRACEPARENT = "traceparent"


class TraceContext(NamedTuple):
    """A span of a sampled trace. Neither number is 0."""

    trace_id: int
    span_id: int

    def child(self) -> TraceContext:
        """A further span of the trace."""
        return TraceContext(self.trace_id, new_span_id())

    def to_bytes(self) -> bytes:
        """As it stands beside a record."""
        return self.trace_id.to_bytes(_TRACE_BYTES, "big") + self.span_id.to_bytes(8, "big")

    def traceparent(self) -> str:
        """As it goes with a call."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


def new_span_id() -> int:
    """Of a span; never 0."""
    return random.getrandbits(64) or 1


def new_trace() -> TraceContext:
    """A trace's first span."""
    return TraceContext(random.getrandbits(128) or 1, new_span_id())


def of_bytes(context: bytes) -> TraceContext | None:
    """What stands beside a record or an update; None where it is no context: what a peer says of its traces is never an
    error."""
    if len(context) != CONTEXT_BYTES:
        return None
    found = TraceContext(int.from_bytes(context[:_TRACE_BYTES], "big"), int.from_bytes(context[_TRACE_BYTES:], "big"))
    return found if found.trace_id and found.span_id else None


class Parent(NamedTuple):
    """What a caller says of its trace."""

    context: TraceContext
    sampled: bool


def of_traceparent(value: str) -> Parent | None:
    """None where it is none, by the W3C's rules: later versions may have more behind, and 00 may not."""
    found = _FORM.match(value) if len(value) <= 512 else None
    if found is None or (value.startswith("00") and len(value) != 55):
        return None
    context = TraceContext(int(found[1], 16), int(found[2], 16))
    if not (context.trace_id and context.span_id):
        return None
    return Parent(context, bool(int(found[3], 16) & _SAMPLED))
