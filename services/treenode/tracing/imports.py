"""An import on one node: how long each of its phases took, and the swap; as spans, where the call that asks is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fasttree.v1 import treenode_pb2
from services.shared.telemetry.own import own_tracer
from services.shared.telemetry.spans import Kind, Value
from services.shared.telemetry.tracer import current
from services.treenode.imports.loading import ImportTaken

_Response = treenode_pb2.LoadImportResponse
_Phase = treenode_pb2.ImportPhase
_NAMES = {
    _Phase.IMPORT_PHASE_DOWNLOADING: "download",
    _Phase.IMPORT_PHASE_CHECKING: "check",
    _Phase.IMPORT_PHASE_BUILDING: "build",
    _Phase.IMPORT_PHASE_REPLAYING: "replay",
}


class LoadPhases:
    """Of one load, in the context of the call that asks for it. `tell`: gets what the node tells its asker."""

    def __init__(self, import_id: int, tell: Callable[[_Response], None]) -> None:
        self._tell = tell
        above = current()
        self._tracer = own_tracer()
        self._above = above.context if above is not None and above.sampled else None
        self._attributes: dict[str, Value] = {"fasttree.import.id": import_id}
        self._phase: _Phase.ValueType | None = None
        self._asked_s = self._begun_s = time.perf_counter()
        self._rows = 0
        #: By phase, in seconds.
        self.took_s: dict[str, float] = {}

    def heard(self, response: _Response) -> None:
        """What the node tells its asker."""
        self._rows = response.rows or self._rows
        if response.phase != self._phase:
            self._end_phase("")
            self._phase, self._begun_s = response.phase, time.perf_counter()
        self._tell(response)

    def ended(self, loading: asyncio.Future[ImportTaken], swap: tuple[float, float] | None) -> None:
        """The load is over. `swap`: when the node took another tree last, from and to."""
        failure: BaseException | None = asyncio.CancelledError() if loading.cancelled() else loading.exception()
        self._end_phase("" if failure is None else type(failure).__name__)
        if failure is None and swap is not None and swap[0] >= self._asked_s:  # else it had the import already
            self._note("swap", *swap, "")

    def _end_phase(self, error: str) -> None:
        if self._phase is not None and (name := _NAMES.get(self._phase)):
            self._note(name, self._begun_s, time.perf_counter(), error)
        self._phase = None

    def _note(self, name: str, begun_s: float, ended_s: float, error: str) -> None:
        self.took_s[name] = ended_s - begun_s
        if self._tracer is None or self._above is None:
            return
        attributes = dict(self._attributes)
        if self._rows:
            attributes["fasttree.import.rows"] = self._rows
        self._tracer.tell(
            f"import {name}",
            Kind.INTERNAL,
            self._above.child(),
            self._above,
            begun_s,
            attributes,
            ended_s=ended_s,
            error=error,
        )
