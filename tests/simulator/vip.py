"""The VIP and those who read through it, as Envoy is configured: health-checked, primary first, else every ready node.

Health is not polled: each node's health is a short history, and an attempt sees it as it was at the last check, up to
`CHECK_S` ago. A report that meets a node which is gone or not ready is tried again on another, as the route's retry
policy does, until its deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator.checkers import Violation
from tests.simulator.network import Network
from tests.simulator.world import Clock, Process, World

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess

CHECK_S = 0.1
DEADLINE_S = 6.0
BACKOFF_S = (0.02, 0.1)
#: A read that failed although a ready node could be reached for this long before its end broke the promise.
REACHABLE_S = 1.5


class Health:
    """What health checks of one node find: the newest changes of (ready, primary)."""

    __slots__ = ("changes",)

    def __init__(self) -> None:
        self.changes: list[tuple[float, bool, bool]] = [(0.0, False, False)]

    def set(self, now: float, ready: bool, primary: bool) -> None:
        """The node changed its health."""
        self.changes.append((now, ready, primary))
        if len(self.changes) > 8:
            del self.changes[0]

    def seen(self, at: float) -> tuple[bool, bool]:
        """What a check at that time found."""
        for since, ready, primary in reversed(self.changes):
            if since <= at:
                return ready, primary
        return False, False


class Read:
    """One report on its way."""

    __slots__ = ("attempt", "done", "ends_at", "min_position", "reachable_since", "refused")

    def __init__(self, min_position: int, ends_at: float) -> None:
        self.min_position = min_position
        self.ends_at = ends_at
        self.attempt = 0
        self.done = False
        self.reachable_since: float | None = None
        self.refused = ""


class Vip(Process):
    """Sends reads to nodes, tries again, and knows whether a failure is excused."""

    def __init__(self, world: World, network: Network, nodes: list[NodeProcess]) -> None:
        super().__init__(world, "vip", Clock(world, 0.0, 1.0))
        self._network = network
        self._nodes = nodes
        self.alive = True
        self.reads = 0
        self.failed = 0
        #: Reads that are not over.
        self.under_way = 0

    def read(self, min_position: int = 0) -> None:
        """A client reads; wants to see the log at least up to `min_position`."""
        self.reads += 1
        self.under_way += 1
        self._try(Read(min_position, self.world.now + DEADLINE_S))

    def _reachable(self) -> bool:
        """Whether some node is ready and can be reached right now: the promise's own view, no check's."""
        return any(
            node.alive and not node.frozen and node.health.changes[-1][1] and self._network.reachable("vip", node.name)
            for node in self._nodes
        )

    def _try(self, read: Read) -> None:
        world = self.world
        if read.done:
            return
        if not self._reachable():
            read.reachable_since = None
        elif read.reachable_since is None:
            read.reachable_since = world.now
        if world.now > read.ends_at:
            self._fail(read)
            return
        node = self._choose()
        read.attempt += 1
        if node is None:
            self._again(read)
            return
        if node.alive and self._network.reachable("vip", node.name):
            world.after(self._network.delay_s(), self._arrive, read, read.attempt, node, node.life)
            # A node that died or froze with the report in hand: the connection breaks, or the attempt times out.
            world.after(0.5, self._give_up, read, read.attempt)
        else:
            self._again(read)

    def _choose(self) -> NodeProcess | None:
        random = self.world.random
        at = self.world.now - CHECK_S * random.random()
        ready = []
        for node in self._nodes:
            answers = node.alive and not node.frozen and self._network.reachable("vip", node.name)
            # A check that gets no answer finds this at its next round; until then the node may still be chosen.
            if not answers and random.random() < 0.8:
                continue
            is_ready, is_primary = node.health.seen(at)
            if is_primary:
                return node
            if is_ready:
                ready.append(node)
        # As Envoy does: where no check says that a node is ready, any that answers may say so itself.
        there = [node for node in self._nodes if node.alive and not node.frozen]
        return random.choice(ready or there) if ready or there else None

    def _arrive(self, read: Read, attempt: int, node: NodeProcess, life: int) -> None:
        node.run(life, node.serve_read, (read.min_position, lambda ok: self._answer(read, attempt, node, ok)))

    def _answer(self, read: Read, attempt: int, node: NodeProcess, ok: bool) -> None:
        if read.done or attempt != read.attempt:
            return
        if ok and self._network.reachable("vip", node.name):
            self._check(read, node)
            self._end(read)
        elif not ok:
            self._again(read)

    @staticmethod
    def _check(read: Read, node: NodeProcess) -> None:
        position = node.tree.position if node.old is None else 0
        if node.alive and position < read.min_position:
            raise Violation(f"read your write: asked for {read.min_position}, {node.name} is at {position}")

    def _give_up(self, read: Read, attempt: int) -> None:
        if not read.done and attempt == read.attempt and not read.min_position:
            self._again(read)
        elif not read.done and attempt == read.attempt and self.world.now > read.ends_at:
            self._end(read)  # it waited for its position: DEADLINE_EXCEEDED is the promised answer
        elif not read.done and attempt == read.attempt:
            self.world.after(0.5, self._give_up, read, attempt)

    def _again(self, read: Read) -> None:
        self.world.after(self.world.random.uniform(*BACKOFF_S), self._try, read)

    def _end(self, read: Read) -> None:
        read.done = True
        self.under_way -= 1

    def _fail(self, read: Read) -> None:
        self._end(read)
        self.failed += 1
        since = read.reachable_since
        if since is not None and self.world.now - since > REACHABLE_S and not read.min_position:
            raise Violation(f"read failed through the VIP although a ready node could be reached since {since:.2f}")
