"""Reports of a simulated node that wait for a position."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess


class WaitingReads:
    """Positions and answers."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._waiting: list[tuple[int, Callable[[bool], None]]] = []

    def clear(self) -> None:
        self._waiting.clear()

    def serve(self, position: int, answer: Callable[[bool], None], *, came_late: bool) -> None:
        """Answers when the tree is far enough; refuses while there is none."""
        node = self._node
        if not node.core.life.stands:
            answer(False)
        elif self.has(position):
            served = node.served
            is_old = served is not node.tree or node.core.sequence.log_id != node.cluster.pusher.log_id
            node.history.read(node.name, served, is_old=is_old, came_late=came_late)
            answer(True)
        else:
            self._waiting.append((position, answer))

    def has(self, position: int) -> bool:
        """Whether the tree that is served has that position of the log that positions count in now."""
        return not position or (self._node.old is None and self._node.tree.position >= position)

    def answer(self, ok: bool) -> None:
        """Answers those that waited long enough; all of them where the node serves no more."""
        waiting, self._waiting = self._waiting, []
        for position, answer in waiting:
            if not ok or self.has(position):
                answer(ok)
            else:
                self._waiting.append((position, answer))
