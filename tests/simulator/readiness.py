"""A node that comes back says that it is ready once it has what the log had when it came near the log's end.

Kept from what the node hears and where its tree stands, with nothing of the core's own account of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.treenode.node.lifecycle import LifeEvent
from services.treenode.node.node import NodeAction, NodeEvent
from services.treenode.node.sequence_events import LogEnd, LogEndHeard, PusherHello, RefusePusher, StateLost
from tests.simulator.checkers import Violation
from tests.simulator.node_halts import stands_at_halt
from tests.simulator.toy_tree import ToyTree

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess


class Readiness:
    """One life of a node; `lag_updates`: so many may be missing where it is near."""

    def __init__(self, lag_updates: int = 0) -> None:
        self._lag_updates = lag_updates
        #: Where the log ended as the pusher introduced itself, by its newest word, and as the node came near.
        self._ended_at = 0
        self._end: LogEnd | None = None
        self._near: int | None = None

    def hears(self, event: NodeEvent, actions: Sequence[NodeAction]) -> None:
        """What the node is told, and what it makes of it."""
        match event:
            case PusherHello() if not any(isinstance(action, RefusePusher) for action in actions):
                self._begin(event.log_end)
            case StateLost() if self._end is not None:
                self._begin(self._end)
            case LogEndHeard():
                self._end = event.log_end

    def _begin(self, end: LogEnd) -> None:
        self._ended_at, self._end, self._near = end.position, end, None

    def stands(self, tree: ToyTree) -> None:
        """The node has that tree."""
        end = self._end
        if self._near is not None or end is None or tree.import_id < end.import_id:
            return
        if tree.position >= self._ended_at and end.position - tree.position <= self._lag_updates:
            self._near = end.position

    def changed(self, node: NodeProcess) -> None:
        """The node's state is another one: has it caught up, it has what it needs, or stands where it has halted."""
        tree = node.tree
        self.stands(tree)
        if node.core.life.story[-1].event is not LifeEvent.CAUGHT_UP or stands_at_halt(node):
            return
        if self._near is None:
            raise Violation(f"ready: {node.name} is, at {tree.position}, and was not near the log's end {self._end}")
        if tree.position < self._near:
            raise Violation(f"ready: {node.name} is, at {tree.position}; the log ended at {self._near} as it came near")
