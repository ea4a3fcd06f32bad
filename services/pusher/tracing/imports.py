"""One import is one trace: *import* from the file's being taken to its end on every node, and *load* for each node.

Imports are few, so each is traced where anything is. Where the upload's caller has a trace, it goes on. A pusher that
was started anew meanwhile tells of the loads that it asks for itself, in a trace of their own.
"""

from __future__ import annotations

import time

from services.pusher.imports.events import ImportPlace, Load
from services.shared.telemetry.context import TRACEPARENT, TraceContext, new_trace
from services.shared.telemetry.own import own_tracer
from services.shared.telemetry.spans import Kind, Value
from services.shared.telemetry.tracer import Tracer, current

_ENDS = (ImportPlace.DONE, ImportPlace.REFUSED, ImportPlace.SUPERSEDED)
#: Imports that are under way at most, so far as anybody remembers.
_OPEN_MAX = 64


class ImportTraces:
    """Everything on the event loop."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        #: By import: its span, the one above it, and when it began.
        self._open: dict[int, tuple[TraceContext, TraceContext | None, float]] = {}

    def added(self, import_id: int) -> None:
        """A file was taken, in the call at hand if it came by one."""
        parent = current()
        above = parent.context if parent is not None and parent.sampled else None
        self._begin(import_id, above)

    def _begin(self, import_id: int, above: TraceContext | None) -> TraceContext:
        context = new_trace() if above is None else above.child()
        self._open[import_id] = (context, above, time.perf_counter())
        while len(self._open) > _OPEN_MAX:
            del self._open[min(self._open)]
        return context

    def placed(self, import_id: int, place: ImportPlace, reason: str) -> None:
        """Its rollout stands there now."""
        if place not in _ENDS or import_id not in self._open:
            return
        context, above, begun_s = self._open.pop(import_id)
        attributes: dict[str, Value] = {"fasttree.import.id": import_id, "fasttree.import.state": str(place)}
        error = reason or str(place) if place is ImportPlace.REFUSED else ""
        self._tracer.tell("import", Kind.INTERNAL, context, above, begun_s, attributes, error=error)

    def loading(self, load: Load) -> LoadSpan:
        """A node is asked to take one."""
        found = self._open.get(load.import_id)
        return LoadSpan(self._tracer, self._begin(load.import_id, None) if found is None else found[0], load)


def import_traces() -> ImportTraces | None:
    """Of this process; None where nobody asked for any."""
    tracer = own_tracer()
    return None if tracer is None else ImportTraces(tracer)


class LoadSpan:
    """*load*: one node, from the question to its answer."""

    def __init__(self, tracer: Tracer, above: TraceContext, load: Load) -> None:
        self._tracer, self._above, self._load = tracer, above, load
        self._context = above.child()
        self._begun_s = time.perf_counter()

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with the call."""
        return ((TRACEPARENT, self._context.traceparent()),)

    def ended(self, error: str) -> None:
        """`error`: empty where the node serves from it."""
        host, _, port = self._load.node.rpartition(":")
        attributes: dict[str, Value] = {
            "fasttree.import.id": self._load.import_id,
            "fasttree.import.attempt": self._load.attempt,
            "server.address": host,
            "server.port": int(port) if port.isdigit() else 0,
        }
        self._tracer.tell(
            "load import", Kind.CLIENT, self._context, self._above, self._begun_s, attributes, error=error
        )
