"""The node's shell: gives its core what happens, performs what it asks for, and shows the node to the process's parts.

Everything here runs on the node's one event loop. The tree changes in three ways only: records applied in the gate, a
swap to a whole new tree in the gate, and setting it aside. Each part reads from here what it needs; what is written,
this object writes: the core by its events, the tree in force by `apply` and the core's actions.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from fasttree.v1 import coordinator_pb2, types_pb2
from services.shared.config.sections import ClusterSettings
from services.shared.cores import Tick
from services.shared.rules import NO_RULES, Rules
from services.shared.serving.background import Background
from services.treenode.node import told
from services.treenode.node.builds import BuildShell
from services.treenode.node.cutover_events import BuildAction, PauseApplying, ResumeApplying, TakeTree
from services.treenode.node.lifecycle import EndWatches, SetHealth, StateChanged
from services.treenode.node.node import DrainAsked, NodeAction, NodeCore, NodeEvent
from services.treenode.node.role import (
    AnswerRefused,
    Demoted,
    HeartbeatNow,
    HeartbeatSent,
    LeaseAnswered,
    Promoted,
    Vouched,
)
from services.treenode.node.search import SearchAction
from services.treenode.node.sequence_events import (
    AnswerStatus,
    DropOldTree,
    FindBase,
    GoOver,
    Halt,
    RefusePusher,
    SetAside,
    StateLost,
    TreeTaken,
)
from services.treenode.node.tree_in_force import OldTree, TreeInForce
from services.treenode.reports import ReadGate
from services.treenode.reports.as_of import StateAsOf
from services.treenode.reports.waiters import PositionWaiters, check_not_far
from services.treenode.settings import TreeNodeSettings
from services.treenode.tree import Skip, Tree

logger = logging.getLogger(__name__)


def now_s() -> float:
    """The node's monotonic clock, in seconds. It goes on while the machine sleeps, as leases do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class NodeRunner:
    """One node in one process; what reports see of it is `services.treenode.reports.NodeView`."""

    def __init__(
        self,
        settings: TreeNodeSettings,
        cluster: ClusterSettings,
        background: Background,
        set_aside: Callable[[str], None],
        before_seal: Callable[[Tree, str], None] | None = None,
    ) -> None:
        """`background`: ends the process where the state can't be trusted any more. `set_aside`: moves the files of a
        state out of the way that nobody may start from. `before_seal`: as `Tree.apply` calls it, of each tree."""
        self.settings, self.cluster = settings, cluster
        self._set_aside = set_aside
        self.before_seal = before_seal
        self._background = background
        self.core = NodeCore(settings.node, now_s(), random.random)
        self.gate = ReadGate()
        #: The tree that updates go to, served or not.
        self.in_force: TreeInForce[Tree, int] = TreeInForce(Tree.empty(NO_RULES), (0, 0))
        #: What held before the log's first record of a rule, as the pusher said.
        self.founding_rules = NO_RULES
        #: Who waits for a position of that tree; and who waits for one of the tree that is served.
        self.waiters, self.served_waiters = (PositionWaiters(settings.report_position_waits_max) for _ in range(2))
        #: What is served instead of it, in a node that went over to another log; None where it is served itself.
        self.old: OldTree[Tree] | None = None
        #: Set when a heartbeat should leave at once; `Heartbeat` clears it.
        self.heartbeat_wanted = asyncio.Event()
        #: What that thread sent and heard, and when; it adds at the end, the loop takes them off.
        self.lease_words: deque[tuple[HeartbeatSent | LeaseAnswered | Vouched, float]] = deque()
        #: The newest time that the core was told.
        self._told_s = now_s()
        #: Set when the pusher has to hear where the node stands; the streams clear it.
        self.status_wanted = asyncio.Event()
        #: Health changes, in the order to announce them.
        self.announcements: asyncio.Queue[SetHealth] = asyncio.Queue()
        #: What the search for a base asks for, in order.
        self.search_actions: asyncio.Queue[SearchAction] = asyncio.Queue()
        #: Set once what is on the node's own disk was loaded: before that, nobody is told where it stands.
        self.restored = asyncio.Event()
        self.stop = asyncio.Event()
        #: Clear while updates are paused for a swap.
        self.applying = asyncio.Event()
        self.applying.set()
        #: What operators decided to skip, by position, as the pusher of the node's log last said.
        self.skips: Mapping[int, Skip] = {}
        #: Why an import can't be built: an update that the engine fails at. None while nothing shows so.
        self.build_fault: Halt | None = None
        #: The newest snapshot that outlives every node, as far as it is known; empty where no place for such is set.
        self.stored = coordinator_pb2.StoredSnapshot()
        #: When it took another tree last, from and to, as `time.perf_counter` reads; None before.
        self.swap: tuple[float, float] | None = None
        self._builds: dict[int, BuildShell[Tree]] = {}
        self._builds_begun = 0
        self._as_of = StateAsOf(types_pb2.AsOf(node=settings.name))
        self._timer: tuple[float, asyncio.TimerHandle] | None = None
        self._refusals = told.Refusals()
        self._hands = self._make_hands()

    def _make_hands(self) -> dict[type[NodeAction], Callable[[Any], None]]:
        """Who does what the core asks for."""
        return {
            SetHealth: self.announcements.put_nowait,
            HeartbeatNow: self._wake_heartbeat,
            AnswerStatus: self._wake_streams,
            AnswerRefused: self._refusals.of_answer,
            SetAside: self._start_empty,
            GoOver: self._go_over,
            DropOldTree: self._drop_old_tree,
            PauseApplying: self._pause,
            ResumeApplying: self._resume,
            **dict.fromkeys(get_args(BuildAction), self._have_built),
            TakeTree: self._take_tree,
            **dict.fromkeys(get_args(SearchAction), self.search_actions.put_nowait),
            StateChanged: told.of_state,
            Promoted: told.of_promotion,
            Demoted: told.of_demotion,
            FindBase: told.of_need,
            RefusePusher: self._refusals.of_pusher,
            # Every report of today's API ends by itself; health watches hear of the change as such.
            EndWatches: told.of_watches,
        }

    @property
    def fatal(self) -> BaseException | None:
        """Why the process must end at once; None while all is well."""
        return self._background.error

    # -- what reports see

    @property
    def tree(self) -> Tree | None:
        """The tree that is served; None before there is one."""
        return self.served if self.core.life.stands else None

    @property
    def served(self) -> Tree:
        """The tree that is served, or will be."""
        return self.in_force.tree if self.old is None else self.old.tree

    def as_of(self) -> types_pb2.AsOf:
        """What an answer made now is as of; the message is kept and changed later."""
        return self._as_of.message(self.core.role.epoch)

    def as_of_bytes(self) -> bytes:
        """The same, serialized; the same object for as long as it holds."""
        return self._as_of.encoded(self.core.role.epoch)

    async def wait_for_position(self, position: int) -> None:
        """Returns once `position` is in the tree that is served. Raises as `PositionWaiters.wait`, and OutOfRangeError
        for a position that no log can have come to meanwhile.

        In a node that serves the tree of an earlier log: once it serves one of the log that positions count in now.
        """
        self._check_not_far(position)
        await self.served_waiters.wait(position)

    async def wait_for_update(self, position: int) -> None:
        """The same of the tree that updates go to."""
        self._check_not_far(position)
        await self.waiters.wait(position)

    def _check_not_far(self, position: int) -> None:
        sequence = self.core.sequence
        if sequence.log_end is not None:
            check_not_far(position, max(sequence.log_end.position, sequence.position))

    # -- what happens

    def handle(self, event: NodeEvent) -> list[NodeAction]:
        """Gives the event to the core and does what it asks for; returns its actions for the caller to do the rest.

        Raises PositionGapError for records that can't be taken.
        """
        # First what was heard before it: a lease that was renewed while this loop was held up is not over.
        self.hear_lease_words()
        self._told_s = max(self._told_s, now_s())
        actions = self.core.handle(event, self._told_s)
        self._perform(actions)
        return actions

    def hear_lease_words(self) -> None:
        """Takes what the heartbeat's thread has left, each as of when it was sent or came."""
        while self.lease_words:
            word, at_s = self.lease_words.popleft()
            self._told_s = max(self._told_s, at_s)
            self._perform(self.core.handle(word, self._told_s))

    @property
    def is_primary(self) -> bool:
        """Whether the node may call itself primary at this very moment: by the clock, not by the last tick."""
        self.hear_lease_words()
        return self.core.role.is_primary(now_s())

    def moved(self) -> None:
        """Where the node stands, or how fresh it is, may have changed: whoever waits for its position goes on."""
        sequence = self.core.sequence
        self.waiters.reached(sequence.position)
        if self.old is not None:
            return
        self._as_of.moved(sequence.import_id, sequence.position, sequence.fresh_at_s)
        self.served_waiters.reached(sequence.position)

    def note_record(self, position: int, checksum: int) -> None:
        """That record is the newest one in the tree."""
        self.in_force = self.in_force.with_record(position, checksum)

    def restore(self, tree: Tree, log_id: str, last_record: tuple[int, int], carried: tuple[int, ...]) -> None:
        """The node's own snapshot is its tree; before anything is served."""
        self.in_force = self.in_force.replaced_by(tree, last_record, carried)
        self.handle(TreeTaken(log_id, tree.import_id, tree.position, bare=tree.is_bare))
        self.moved()

    def stand_on(self, in_force: TreeInForce[Tree, int]) -> None:
        """An older tree of the node's own is in force, since the one before can't be trusted; the core is told next."""
        self.in_force = in_force

    # -- what operators decided to skip

    def hear_skips(self, skips: Mapping[int, Skip]) -> None:
        """Every decision that is in the node's log."""
        self.skips = skips
        if self.build_fault is not None and self.build_fault.fault_position in skips:
            self.build_fault = None
        self.teach_skips(self.in_force.tree, self.in_force.carried)
        self.check_skips()

    def teach_skips(self, tree: Tree, carried: Sequence[int] = ()) -> None:
        """Tells a tree of the decisions. `carried`: what it was offered when its import was taken."""
        for skip in self.skips.values():
            tree.learn_skip(skip, was_offered=skip.position in carried)

    def check_skips(self) -> None:
        """A tree that has taken an update which is skipped differs from what the log says: the node joins anew."""
        too_late = self.in_force.tree.skips.too_late
        if too_late:
            self.handle(StateLost(f"it has taken update {min(too_late)}, which is skipped"))

    def note_build_fault(self, fault: Halt) -> None:
        """A new tree can't be built for an update: the pusher hears of it, so that it may be skipped."""
        self.build_fault = fault
        self.core.statuses_wanted += 1
        self.status_wanted.set()

    @property
    def trouble(self) -> str:
        """What an operator has to know and do, in one line; empty where all is well."""
        return told.trouble(self.core.sequence.halt, self.build_fault)

    def begin_with(self, rules: Rules) -> None:
        """The rules that the pusher's log begins with: an empty node has no others."""
        self.founding_rules = rules
        if self.core.sequence.empty and self.in_force.tree.rules != rules:
            self.in_force = TreeInForce(Tree.empty(rules), (0, 0))
            self.teach_skips(self.in_force.tree)

    def fail(self, error: BaseException) -> None:
        """The node can't go on: its state is not what it should be. The process ends without a snapshot of it."""
        self._background.fail(error, "the node's state")
        self.stop.set()

    def drain(self) -> None:
        """The node is asked to end: it takes nothing any more."""
        self.stop.set()
        self.handle(DrainAsked("its state can't be trusted" if self.fatal is not None else "asked to end"))

    def close(self) -> None:
        """Ends timers and threads."""
        if self._timer is not None:
            self._timer[1].cancel()
        self.gate.close()

    # -- builds

    def register(self, build: BuildShell[Tree]) -> int:
        """The number of a build that its shell is about to ask for."""
        self._builds_begun += 1
        self._builds[self._builds_begun] = build
        return self._builds_begun

    def forget(self, number: int) -> None:
        """The build has ended."""
        del self._builds[number]

    @property
    def loading(self) -> tuple[int, int]:
        """The import that is being loaded, and how far, in percent; (0, 0) while none is."""
        turn = self.core.cutover.turn
        if turn is None or not self.core.cutover.importing:
            return (0, 0)
        return (turn.import_id, self._builds[turn.number].percent)

    def status(self) -> coordinator_pb2.NodeStatus:
        """Where the node stands, for the coordinator and the pusher."""
        return told.status(self.core, self.in_force, self.loading, self.build_fault, self.stored)

    # -- what the core asks for

    def _perform(self, actions: list[NodeAction]) -> None:
        for action in actions:
            hand = self._hands.get(type(action))
            if hand is not None:  # the others are the caller's to do
                hand(action)
        self._arm()

    def _wake_heartbeat(self, _: HeartbeatNow) -> None:
        self.heartbeat_wanted.set()

    def _wake_streams(self, _: AnswerStatus) -> None:
        self.status_wanted.set()
        self.heartbeat_wanted.set()

    def _pause(self, _: PauseApplying) -> None:
        self.applying.clear()

    def _resume(self, _: ResumeApplying) -> None:
        self.applying.set()

    def _have_built(self, action: BuildAction) -> None:
        self._builds[action.build].perform(action)

    def _take_tree(self, take: TakeTree) -> None:
        begun_s = time.perf_counter()
        build = self._builds[take.build]
        self.in_force = self.in_force.replaced_by(build.tree, build.last_record, take.carried)
        self.teach_skips(self.in_force.tree, self.in_force.carried)
        self.build_fault = None
        self.heartbeat_wanted.set()
        self.moved()
        asyncio.get_running_loop().call_soon(self.check_skips)
        self.swap = (begun_s, time.perf_counter())

    def _start_empty(self, action: SetAside) -> None:
        logger.warning("starts empty: %s", action.reason)
        self.in_force = TreeInForce(Tree.empty(NO_RULES), (0, 0))
        self.teach_skips(self.in_force.tree)
        self._set_aside(action.reason)
        self.moved()

    def _go_over(self, action: GoOver) -> None:
        logger.warning("%s", action.reason)
        sequence = self.core.sequence
        if self.old is None and sequence.old_log_id:
            self.old = OldTree(sequence.old_log_id, self.in_force.tree)
            # Positions of the old log, which reports tell, are none of the new one's, which they may wait for.
            self.served_waiters.reached(0)
        self.in_force = TreeInForce(Tree.empty(NO_RULES), (0, 0))
        self.teach_skips(self.in_force.tree)
        self.moved()

    def _drop_old_tree(self, _: DropOldTree) -> None:
        self.old = None
        self.moved()

    @property
    def standing(self) -> str:
        """What there is to say about the tree that is served, or is not yet; empty where all is as it should be."""
        return told.standing(self.core, self.old and self.old.log_id)

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
            self._timer = (deadline_s, asyncio.get_running_loop().call_later(delay_s, self._wake))

    def _wake(self) -> None:
        self._timer = None
        self.handle(Tick())
