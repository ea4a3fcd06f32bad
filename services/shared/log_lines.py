"""A service's log, on standard error: a line a message, for people or as JSON.

As JSON, each line is an object with these fields, and no others: `time` (UTC, by RFC 3339), `level`, `service`,
`logger`, `message`; `exception`, the traceback, where there is one; `trace_id` and `span_id`, where the message is of a
call that is traced. A test holds it to that (`tests/shared/test_log_lines.py`).
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import click

from services.shared.debug.own_log import OWN_LINES
from services.shared.domain.sentences import plain
from services.shared.telemetry.tracer import current

#: Characters of a line in a log; far longer ones are not written by anybody who means well.
_LINE_LENGTH_MAX = 4_000
FORMATS = ("text", "json")


def _cut(text: str) -> str:
    return text if len(text) <= _LINE_LENGTH_MAX else text[:_LINE_LENGTH_MAX] + "…"


class PlainFormatter(logging.Formatter):
    """A message is one line, whatever names and errors of others are in it; nothing in it is obeyed by a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback."""
        record.message = plain(_cut(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """A traceback, whose lines stay lines."""
        return "\n".join(map(plain, super().formatException(ei).splitlines()))


class JsonFormatter(logging.Formatter):
    """The same as JSON; a traceback is in the line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        found = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        traced = current()
        if traced is not None and traced.sampled:
            found["trace_id"] = f"{traced.context.trace_id:032x}"
            found["span_id"] = f"{traced.context.span_id:016x}"
        return json.dumps(found)


def configure_logging(name: str, level: str, form: str = "text") -> None:
    """Lines on standard error. `form`: of `FORMATS`.

    Raises:
        click.BadParameter: No such level, or no such form.
    """
    if level.upper() not in logging.getLevelNamesMapping():
        raise click.BadParameter(f"{level!r} is no log level: use DEBUG, INFO, WARNING or ERROR")
    if form not in FORMATS:
        raise click.BadParameter(f"{form!r} is no form of a log: use {' or '.join(FORMATS)}")
    handler = logging.StreamHandler(sys.stderr)
    text = PlainFormatter(f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter(name) if form == "json" else text)
    OWN_LINES.setFormatter(handler.formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler, OWN_LINES], force=True)
