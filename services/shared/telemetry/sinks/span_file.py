"""Spans in a file, as OTLP has them in JSON: a line a batch, which OpenTelemetry's collector reads."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.shared.telemetry.sending import SendError
from services.shared.telemetry.settings import TelemetrySettings
from services.shared.telemetry.spans import Span, Value

_ERROR = 2


class SpanFile:
    """A `Sink`. Several processes may write to one file: each line is one write, behind a lock of the file's."""

    def __init__(self, settings: TelemetrySettings, resource: Callable[[], Mapping[str, Value]]) -> None:
        """Raises OSError where it can't be written."""
        self._path = Path(settings.file).absolute()
        self._bytes_max = settings.file_bytes_max
        self._resource = resource
        with self._open() as _:
            pass

    def send(self, spans: Sequence[Span]) -> None:
        """See `Sink`."""
        line = json.dumps(in_json(spans, self._resource()), separators=(",", ":")).encode() + b"\n"
        try:
            with self._open() as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_size + len(line) > self._bytes_max and self._is_at_hand(descriptor):
                    self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                    with self._open() as fresh:
                        _write(fresh, line)
                else:
                    _write(descriptor, line)
        except OSError as error:
            raise SendError(f"{error.strerror or error}") from error

    def close(self) -> None:
        """See `Sink`: nothing is held open."""

    @contextlib.contextmanager
    def _open(self) -> Any:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _is_at_hand(self, descriptor: int) -> bool:
        """Whether it is still the file of that name: another process may have begun it anew."""
        with contextlib.suppress(FileNotFoundError):
            return os.fstat(descriptor).st_ino == self._path.stat().st_ino
        return False


def _write(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) != len(line):
        raise OSError("its disk is full")


def in_json(spans: Sequence[Span], resource: Mapping[str, Value]) -> dict[str, Any]:
    """TracesData of OTLP, in its JSON: ids in hexadecimal digits, times as texts."""
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [{"scope": {"name": "fasttree"}, "spans": [_span(span) for span in spans]}],
            }
        ]
    }


def _span(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": f"{span.context.trace_id:032x}",
        "spanId": f"{span.context.span_id:016x}",
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.begun_ns),
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id:
        found["parentSpanId"] = f"{span.parent_id:016x}"
    if span.links:
        found["links"] = [{"traceId": f"{link.trace_id:032x}", "spanId": f"{link.span_id:016x}"} for link in span.links]
    if span.error:
        found["status"] = {"code": _ERROR, "message": span.error}
    return found


def _attributes(values: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
