"""A service's log: lines that stay lines, for people and as JSON."""

from __future__ import annotations

import json
import logging
from typing import Any

import click
import pytest

from services.shared.log_lines import JsonFormatter, PlainFormatter, configure_logging
from services.shared.telemetry.context import Parent, new_trace
from services.shared.telemetry.tracer import set_current


def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
    told = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("services.pusher.app", logging.WARNING, __file__, 1, message, (), told)


def fields(message: str, error: BaseException | None = None) -> dict[str, Any]:
    line = JsonFormatter("pusher").format(record(message, error))
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_json_has_the_fields_of_the_page_and_no_others() -> None:
    found = fields("a line\nthat \x1b[31mis two")
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "WARNING",
        "service": "pusher",
        "logger": "services.pusher.app",
        "message": "a line\nthat \x1b[31mis two",
    }


def test_a_traceback_is_in_the_line() -> None:
    with pytest.raises(ValueError, match="why") as raised:
        raise ValueError("why")
    assert fields("failed", raised.value)["exception"].endswith("ValueError: why")


def test_a_traced_calls_lines_have_its_ids() -> None:
    context = new_trace()
    set_current(Parent(context, sampled=True))
    try:
        found = fields("in a call")
        assert (found["trace_id"], found["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
        set_current(Parent(context, sampled=False))
        assert "trace_id" not in fields("in a call that is not traced")
    finally:
        set_current(None)


def test_for_people_nothing_is_obeyed_by_a_terminal() -> None:
    line = PlainFormatter("%(message)s").format(record("a line\nthat \x1b[31mis two" + "x" * 9_000))
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 5_000


@pytest.mark.parametrize(("level", "form", "says"), [("LOUD", "text", "no log level"), ("INFO", "xml", "text or json")])
def test_what_there_is_not_is_refused(level: str, form: str, says: str) -> None:
    with pytest.raises(click.BadParameter, match=says):
        configure_logging("pusher", level, form)
