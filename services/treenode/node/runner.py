"""The node as the rest of the process sees it: its core, its tree, and who waits for them.

Everything here runs on the node's one event loop. The tree changes in three ways only: records applied in the gate, a
swap to a whole new tree in the gate, and setting it aside.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable

from fasttree.v1 import coordinator_pb2, types_pb2
from services.shared.config.sections import ClusterSettings
from services.shared.cores import Tick
from services.shared.serving.background import Background
from services.shared.serving.errors import UnavailableError
from services.treenode.node.lifecycle import EndWatches, NodeState, SetHealth, StateChanged
from services.treenode.node.node import NodeAction, NodeCore, NodeEvent
from services.treenode.node.role import AnswerRefused, Demoted, HeartbeatNow, Promoted
from services.treenode.node.sequence import FindBase, SetAside, TreeTaken
from services.treenode.reports import ReadGate
from services.treenode.settings import TreeNodeSettings
from services.treenode.tree import Tree, TreeConfig

logger = logging.getLogger(__name__)

_NANOSECONDS_PER_S = 1_000_000_000


def now_s() -> float:
    """The node's monotonic clock, in seconds. It goes on while the machine sleeps, as leases do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class NodeRunner:
    """One node in one process; what reports see of it is `services.treenode.reports.NodeView`."""

    def __init__(self, settings: TreeNodeSettings, cluster: ClusterSettings, background: Background) -> None:
        """`background`: ends the process where the state can't be trusted any more."""
        self.settings = settings
        self._background = background
        self.cluster = cluster
        self.core = NodeCore(settings.node, now_s())
        self.tree_config = TreeConfig(tuple(cluster.volume_types), tuple(cluster.periods))
        self.gate = ReadGate()
        #: Positions of the updates that were held when the present import's file was taken (LoadImportResponse).
        self.carried_positions: list[int] = []
        #: The import that is being loaded, and how far; (0, 0) while none is.
        self.loading = (0, 0)
        #: Set when a heartbeat should leave at once; the heartbeat clears it.
        self.heartbeat_wanted = asyncio.Event()
        #: Set when the node needs a snapshot or an import to start from; the bootstrap clears it.
        self.base_wanted = asyncio.Event()
        #: Health changes, in the order to announce them.
        self.announcements: asyncio.Queue[SetHealth] = asyncio.Queue()
        #: Called when the state was found to be another log's, to move its files out of the way.
        self.on_set_aside: Callable[[str], None] = lambda reason: None
        #: Called when another tree has taken the place of the one before.
        self.on_tree_changed: Callable[[], None] = lambda: None
        #: Set once what is on the node's own disk was loaded: before that, nobody is told where it stands.
        self.restored = asyncio.Event()
        self.stop = asyncio.Event()
        #: Clear while updates are held back for a swap.
        self.applying = asyncio.Event()
        self.applying.set()
        #: Held by whoever makes a tree that shall follow the live one: one at a time.
        self.succession = asyncio.Lock()
        self._tree = Tree.empty(self.tree_config)
        #: Position and checksum of the newest record that is known to be in the tree; (0, 0): none.
        self.last_record = (0, 0)
        #: Counts the trees that the node has had: whoever follows it hears of a new one.
        self.tree_number = 1
        self._as_of = types_pb2.AsOf(node=settings.name)
        #: `_as_of` serialized with that epoch; empty where it has changed since.
        self._as_of_bytes, self._as_of_epoch = b"", 0
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waiter_numbers = itertools.count()
        self._timer: tuple[float, asyncio.TimerHandle] | None = None
        self._refused_text = ""

    @property
    def fatal(self) -> BaseException | None:
        """Why the process must end at once; None while all is well."""
        return self._background.error

    # -- what reports see

    @property
    def tree(self) -> Tree | None:
        """The tree that is served; None before there is one."""
        return None if self.core.state in (NodeState.JOINING, NodeState.LOADING) else self._tree

    @property
    def held_tree(self) -> Tree:
        """The tree that updates go to, served or not."""
        return self._tree

    def as_of(self) -> types_pb2.AsOf:
        """What an answer made now is as of; the message is kept and changed later."""
        self._as_of.epoch = self.core.role.epoch
        return self._as_of

    def as_of_bytes(self) -> bytes:
        """The same, serialized; the same object for as long as it holds."""
        epoch = self.core.role.epoch
        if not self._as_of_bytes or self._as_of_epoch != epoch:
            self._as_of_bytes, self._as_of_epoch = self.as_of().SerializeToString(), epoch
        return self._as_of_bytes

    async def wait_for_position(self, position: int) -> None:
        """Returns once `position` is applied. Raises UnavailableError if the node ends."""
        if self.core.sequence.position >= position:
            return
        if self.stop.is_set():
            raise UnavailableError("the node is asked to end; ask another one")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (position, next(self._waiter_numbers), waiter))
        try:
            await waiter
        finally:
            if waiter.cancelled():
                self._waiters = [entry for entry in self._waiters if not entry[2].done()]
                heapq.heapify(self._waiters)

    # -- what happens

    def handle(self, event: NodeEvent) -> list[NodeAction]:
        """Gives the event to the core and does what it asks for; returns its actions for the caller to do the rest.

        Raises PositionGapError for records that can't be taken.
        """
        actions = self.core.handle(event, now_s())
        self._perform(actions)
        return actions

    def applied(self) -> None:
        """After records were applied or a tree taken: whoever waits for the position goes on."""
        sequence = self.core.sequence
        self._as_of_bytes = b""
        self._as_of.import_id = sequence.import_id
        self._as_of.position = sequence.position
        if sequence.fresh_at_s is not None:
            self._as_of.fresh_at.seconds, self._as_of.fresh_at.nanos = divmod(
                int(sequence.fresh_at_s * _NANOSECONDS_PER_S), _NANOSECONDS_PER_S
            )
        else:
            self._as_of.ClearField("fresh_at")
        while self._waiters and self._waiters[0][0] <= sequence.position:
            waiter = heapq.heappop(self._waiters)[2]
            if not waiter.done():
                waiter.set_result(None)

    def take_tree(self, tree: Tree, log_id: str, last_record: tuple[int, int] = (0, 0)) -> list[NodeAction]:
        """Serves from another tree from now on, in one step. In the gate's write turn, or before anything is served.

        `last_record`: see there; (0, 0) where the tree's maker knows of none.
        """
        self._tree = tree
        self.last_record = max(self.last_record, last_record)
        self.tree_number += 1
        actions = self.handle(TreeTaken(log_id, tree.import_id, tree.position))
        self.applied()
        self.on_tree_changed()
        return actions

    def fail(self, error: BaseException) -> None:
        """The node can't go on: its state is not what it should be. The process ends without a snapshot of it."""
        self._background.fail(error, "the node's state")
        self.stop.set()

    def end_waits(self) -> None:
        """Whoever still waits for a position is told to ask elsewhere."""
        for _, _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(UnavailableError("the node is asked to end; ask another one"))
        self._waiters.clear()

    def close(self) -> None:
        """Ends timers and threads."""
        if self._timer is not None:
            self._timer[1].cancel()
        self.gate.close()

    def status(self) -> coordinator_pb2.NodeStatus:
        """Where the node stands, for the coordinator and the pusher."""
        sequence = self.core.sequence
        return coordinator_pb2.NodeStatus(
            state=coordinator_pb2.NodeState.ValueType(int(self.core.state)),
            import_id=sequence.import_id,
            position=sequence.position,
            digest=self._tree.digest,
            log_id=sequence.log_id,
            primary_epoch=self.core.role.primary_epoch,
            known_epoch=self.core.role.epoch,
            loading_import_id=self.loading[0],
            loading_percent=self.loading[1],
            record_position=self.last_record[0],
            record_crc32=self.last_record[1],
        )

    def tick(self) -> None:
        """Does what is due by time."""
        self._timer = None
        self._perform(self.core.handle(Tick(), now_s()))

    def _perform(self, actions: list[NodeAction]) -> None:
        for action in actions:
            match action:
                case SetHealth():
                    self.announcements.put_nowait(action)
                case EndWatches():
                    # Every report of today's API ends by itself; health watches hear of the change as such.
                    logger.debug("watches end: %s", action.reason)
                case StateChanged():
                    logger.info("%s: was %s, is %s", action.why, action.before.name, action.after.name)
                case HeartbeatNow():
                    self.heartbeat_wanted.set()
                case Promoted():
                    logger.info("primary in epoch %d", action.epoch)
                case Demoted():
                    logger.info("no longer primary: %s", action.reason)
                case AnswerRefused():
                    self._log_refusal(action.reason)
                case SetAside():
                    logger.warning("starts empty: %s", action.reason)
                    self._tree = Tree.empty(self.tree_config)
                    self.last_record = (0, 0)
                    self.tree_number += 1
                    self.on_set_aside(action.reason)
                    self.applied()
                case FindBase():
                    logger.info("looks for a snapshot or an import: %s", action.reason)
                    self.base_wanted.set()
        self._arm()

    def _log_refusal(self, reason: str) -> None:
        # The same refusal comes with every heartbeat: once is enough.
        if reason != self._refused_text:
            self._refused_text = reason
            logger.warning("an answer of the coordinator is not believed: %s", reason)

    def _arm(self) -> None:
        """One timer for the core's next deadline."""
        deadline_s = self.core.deadline_s
        if self._timer is not None:
            if self._timer[0] == deadline_s:
                return
            self._timer[1].cancel()
            self._timer = None
        if deadline_s is not None:
            delay_s = max(0.0, deadline_s - now_s())
            self._timer = (deadline_s, asyncio.get_running_loop().call_later(delay_s, self.tick))
