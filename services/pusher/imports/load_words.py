"""What the words of a node that loads an import mean for the rollout: it goes on, is done, was refused, has failed."""

from __future__ import annotations

from collections.abc import Sequence

from fasttree.v1 import treenode_pb2
from services.pusher.imports.events import Hold, Load, LoadDone, LoadFailed, LoadProgress, LoadRefused, Removal

#: From here on, a node that fails may have failed because of the file.
_BEGUN = {treenode_pb2.IMPORT_PHASE_CHECKING, treenode_pb2.IMPORT_PHASE_BUILDING, treenode_pb2.IMPORT_PHASE_REPLAYING}


class LoadWords:
    """The words of one load. The last one counts: `DONE` or `REFUSED`, or else the end of the call."""

    def __init__(self, load: Load) -> None:
        self._node, self._attempt = load.node, load.attempt
        self._phase: treenode_pb2.ImportPhase.ValueType = treenode_pb2.IMPORT_PHASE_UNSPECIFIED
        self._over = False

    def said(
        self,
        phase: treenode_pb2.ImportPhase.ValueType,
        carried_positions: Sequence[int],
        reason: str,
        carried_holds: Sequence[Hold] = (),
        carried_removals: Sequence[Removal] = (),
    ) -> LoadProgress | LoadDone | LoadRefused:
        """The node says how far it is."""
        self._phase = phase
        self._over = phase in (treenode_pb2.IMPORT_PHASE_DONE, treenode_pb2.IMPORT_PHASE_REFUSED)
        if phase == treenode_pb2.IMPORT_PHASE_DONE:
            carried = (tuple(carried_positions), tuple(carried_holds), tuple(carried_removals))
            return LoadDone(self._node, self._attempt, *carried)
        if phase == treenode_pb2.IMPORT_PHASE_REFUSED:
            return LoadRefused(self._node, self._attempt, reason)
        return LoadProgress(self._node, self._attempt)

    def ended(self, reason: str, *, refused: bool = False) -> LoadFailed | LoadRefused | None:
        """The call is over; `refused`: by a status that says that the file is bad. None: that was known before."""
        if self._over:
            return None
        self._over = True
        if refused:
            return LoadRefused(self._node, self._attempt, reason)
        return LoadFailed(self._node, self._attempt, reason, begun=self._phase in _BEGUN)
