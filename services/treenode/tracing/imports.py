"""An import on one node: a span for each of its phases, and one for the swap, in the trace of the call that asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fasttree.v1 import treenode_pb2
from services.shared.telemetry.context import TraceContext
from services.shared.telemetry.own import own_tracer
from services.shared.telemetry.spans import Kind, Value
from services.shared.telemetry.tracer import Tracer, current
from services.treenode.imports.loading import ImportTaken

_Response = treenode_pb2.LoadImportResponse
_Phase = treenode_pb2.ImportPhase
_NAMES = {
    _Phase.IMPORT_PHASE_DOWNLOADING: "import download",
    _Phase.IMPORT_PHASE_CHECKING: "import check",
    _Phase.IMPORT_PHASE_BUILDING: "import build",
    _Phase.IMPORT_PHASE_REPLAYING: "import replay",
}


class PhaseSpans:
    """Of one load."""

    def __init__(self, tracer: Tracer, above: TraceContext, import_id: int) -> None:
        self._tracer, self._above = tracer, above
        self._attributes: dict[str, Value] = {"fasttree.import.id": import_id}
        self._phase: _Phase.ValueType | None = None
        self._asked_s = self._begun_s = time.perf_counter()
        self._rows = 0

    def heard(self, response: _Response) -> None:
        """What the node tells its asker."""
        self._rows = response.rows or self._rows
        if response.phase != self._phase:
            self._end_phase("")
            self._phase, self._begun_s = response.phase, time.perf_counter()

    def ended(self, loading: asyncio.Future[ImportTaken], swap: tuple[float, float] | None) -> None:
        """The load is over. `swap`: when the node took another tree last, from and to."""
        failure: BaseException | None = asyncio.CancelledError() if loading.cancelled() else loading.exception()
        self._end_phase("" if failure is None else type(failure).__name__)
        if failure is None and swap is not None and swap[0] >= self._asked_s:  # else it had the import already
            self._tell("import swap", *swap, "")

    def _end_phase(self, error: str) -> None:
        if self._phase is not None and (name := _NAMES.get(self._phase)):
            self._tell(name, self._begun_s, time.perf_counter(), error)
        self._phase = None

    def _tell(self, name: str, begun_s: float, ended_s: float, error: str) -> None:
        attributes = dict(self._attributes)
        if self._rows:
            attributes["fasttree.import.rows"] = self._rows
        self._tracer.tell(
            name, Kind.INTERNAL, self._above.child(), self._above, begun_s, attributes, ended_s=ended_s, error=error
        )


def phase_spans(import_id: int) -> PhaseSpans | None:
    """Of the load that the call at hand asks for; None where nobody traces it."""
    tracer, above = own_tracer(), current()
    if tracer is None or above is None or not above.sampled:
        return None
    return PhaseSpans(tracer, above.context, import_id)


def heard_by(spans: PhaseSpans | None, tell: Callable[[_Response], None]) -> Callable[[_Response], None]:
    """What tells the asker and the spans."""
    if spans is None:
        return tell

    def tell_both(response: _Response) -> None:
        spans.heard(response)
        tell(response)

    return tell_both
