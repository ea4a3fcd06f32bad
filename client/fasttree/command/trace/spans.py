"""Spans of one update, out of the files that services write theirs to: OTLP as JSON, a line a batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

_ID, _NODE = "messaging.message.id", "messaging.consumer.group.name"
#: Attributes that the columns say already, or that all of these spans share.
_SHOWN_ELSEWHERE = ("messaging.", "service.", "server.")


class SpanJson(TypedDict):
    """One step of an update's way."""

    name: str
    service: str
    instance: str
    trace_id: str
    span_id: str
    begun_ns: int
    ended_ns: int
    took_ms: float
    attributes: dict[str, Any]
    error: str
    linked: bool


@dataclass(frozen=True, kw_only=True)
class FoundSpan:
    """One step of the way."""

    name: str
    #: The service, and which one of it.
    service: str
    instance: str
    trace_id: str
    span_id: str
    begun_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    error: str
    #: It is another trace's, which is linked to the update's: a batch of several.
    linked: bool

    @property
    def took_ms(self) -> float:
        """How long it took."""
        return (self.ended_ns - self.begun_ns) / 1e6

    @property
    def told(self) -> str:
        """What is special of it, in a few words."""
        kept = [
            f"{key.removeprefix('fasttree.')} {f'{value:.6f}' if isinstance(value, float) else value}"
            for key, value in self.attributes.items()
            if not key.startswith(_SHOWN_ELSEWHERE)
        ]
        if host := self.attributes.get("server.address"):
            kept.append(f"to {host}:{self.attributes.get('server.port', '')}")
        return ", ".join([*kept, *([f"failed: {self.error}"] if self.error else [])])

    @property
    def json(self) -> dict[str, Any]:
        """As `SpanJson` has it."""
        return {**asdict(self), "took_ms": self.took_ms}


def files_of(path: Path) -> list[Path]:
    """A file of spans, and what it was before it was begun anew."""
    return [each for each in (path.with_name(f"{path.name}.1"), path) if each.is_file()]


def find_spans(files: Iterable[Path], update_id: str) -> list[FoundSpan]:
    """All of that update's, by their beginning; none where it was not traced, or its spans are gone. Blocks."""
    files = list(files)
    wanted = json.dumps(update_id).encode()
    own = [span for span in _spans(files, [wanted]) if span.attributes.get(_ID) == update_id]
    traces = {span.trace_id for span in own}
    if not traces:
        return []
    # What others did in that trace, and the batches that are linked to it.
    found: dict[str, FoundSpan] = {}
    for span in _spans(files, [trace.encode() for trace in traces], linked_to={(s.trace_id, s.span_id) for s in own}):
        if span.linked or (span.trace_id in traces and span.attributes.get(_ID, update_id) == update_id):
            found[span.span_id] = span
    return sorted(found.values(), key=lambda span: span.begun_ns)


def _spans(
    files: Iterable[Path], any_of: list[bytes], linked_to: Iterable[tuple[str, str]] = ()
) -> Iterator[FoundSpan]:
    links = set(linked_to)
    for path in files:
        with path.open("rb") as file:
            for line in file:
                if any(wanted in line for wanted in any_of):
                    yield from _of_line(line, links)


def _of_line(line: bytes, links: set[tuple[str, str]]) -> Iterator[FoundSpan]:
    try:
        batches = json.loads(line)["resourceSpans"]
        for batch in batches:
            resource = _attributes(batch["resource"]["attributes"])
            for span in (each for scope in batch["scopeSpans"] for each in scope["spans"]):
                linked = any((link["traceId"], link["spanId"]) in links for link in span.get("links", ()))
                attributes = _attributes(span["attributes"])
                yield FoundSpan(
                    name=span["name"],
                    service=str(resource.get("service.name", "")).removeprefix("fasttree-"),
                    instance=str(attributes.get(_NODE) or resource.get("service.instance.id", "")),
                    trace_id=span["traceId"],
                    span_id=span["spanId"],
                    begun_ns=int(span["startTimeUnixNano"]),
                    ended_ns=int(span["endTimeUnixNano"]),
                    attributes=attributes,
                    error=span.get("status", {}).get("message", ""),
                    linked=linked,
                )
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # a line that a full disk cut off, or that somebody else wrote


def _attributes(found: list[dict[str, Any]]) -> dict[str, Any]:
    values = {}
    for each in found:
        ((kind, value),) = each["value"].items()
        values[each["key"]] = int(value) if kind == "intValue" else value
    return values
