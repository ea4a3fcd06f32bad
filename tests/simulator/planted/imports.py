"""Bugs in what the pusher decides about imports: which file may come, which one comes back, what may be forgotten."""

from __future__ import annotations

from services.pusher.imports.history import ImportHistory, ImportProblem, ImportRefused, PastImport
from services.pusher.log.store import LogEnds
from tests.simulator.planted.planting import plant


def _any_export(self: ImportHistory, as_of_position: int, ends: LogEnds) -> ImportRefused | None:
    """Whoever uploads last has the newest export."""
    refused = _WHY_REFUSED(self, as_of_position, ends)
    return None if refused is not None and refused.problem is ImportProblem.OVERTAKEN else refused


_WHY_REFUSED = ImportHistory.why_refused


def _position_alone(self: PastImport) -> int:
    """What was held when the file was taken is in the tree by now."""
    return self.as_of_position + 1


IMPORTS = (
    plant("overtaken-taken", "an export that was overtaken is taken", ImportHistory, "why_refused", _any_export),
    plant("carried-trimmed", "carried updates are trimmed", PastImport, "first_needed", property(_position_alone)),
)
