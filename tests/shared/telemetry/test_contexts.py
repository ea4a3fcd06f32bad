"""Contexts as they come from others: what is none is none, and harms nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.telemetry.context import CONTEXT_BYTES, TraceContext, new_trace, of_bytes, of_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_context_goes_both_ways_in_24_bytes() -> None:
    context = new_trace()
    assert len(context.to_bytes()) == CONTEXT_BYTES
    assert of_bytes(context.to_bytes()) == context
    parent = of_traceparent(context.traceparent())
    assert parent is not None
    assert (parent.context, parent.sampled) == (context, True)
    child = context.child()
    assert child.trace_id == context.trace_id
    assert child.span_id != context.span_id


def test_flags_say_whether_it_is_traced() -> None:
    sampled = {flags: of_traceparent(f"00-{TRACE}-{SPAN}-{flags}") for flags in ("00", "01", "02", "03")}
    assert {flags: parent is not None and parent.sampled for flags, parent in sampled.items()} == {
        "00": False,
        "01": True,
        "02": False,
        "03": True,
    }


def test_a_later_version_may_say_more() -> None:
    parent = of_traceparent(f"01-{TRACE}-{SPAN}-01-what comes then")
    assert parent is not None
    assert parent.context == TraceContext(int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-{'x' * 1000}",
    ],
)
def test_what_is_no_traceparent_is_none(value: str) -> None:
    assert of_traceparent(value) is None


@given(st.binary(max_size=40))
def test_bytes_that_are_no_context_are_none(context: bytes) -> None:
    found = of_bytes(context)
    whole = len(context) == CONTEXT_BYTES and any(context[:16]) and any(context[16:])
    assert (found is not None) == whole
    assert found is None or found.to_bytes() == context
