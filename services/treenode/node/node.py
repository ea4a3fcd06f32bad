"""The whole node without its I/O: life cycle, role, record order and cutover, and what each means for the others.

`NodeCore` eats what happened and returns what is to be done, in the order to do it. The rules that join its parts:

1. An empty tree is a tree in a cluster without an import: a node stands as soon as a pusher says so, and not before.
   One that starts from a *bare* state, of before the first import and the first member, has nothing to serve till then;
   where an import is in force, not before it has one. Else it would say of every member that there is none. What is
   laid out anew of an empty tree, or of a bare one, is no more than that was. A bare snapshot of another node is not
   taken then (search.py, rule 3).
2. Catching up ends when the sequence lacks nothing, or when no pusher was heard for `catch_up_grace_s` and nothing
   holds the node back from serving what it has (lifecycle.py, rule 3):
   - a word of the coordinator by which it is behind a ready node (sequence.py, rule 9), for `catch_up_grace_s`: while
     the coordinator is silent, that node may go on;
   - a word of a coordinator that has not had time yet to hear of all nodes, for a lease, and in all for no longer than
     one needs after its start: one that starts again and again holds nobody back for ever.
   A coordinator that has heard of all, and knows of no such node, ends both at once. One of a lower epoch is not
   believed (role.py, rule 3), and words count in the order of the heartbeats.
   A process that slept has heard nobody meanwhile, though many may have spoken: it listens for half that time more.
3. Being ready is what the role asks for (role.py, rule 6), so the role hears of each change in the same step; what
   follows for the life cycle (a demotion, say) is done before anything else happens.
4. The coordinator hears of each change of state at once: it elects by what the nodes say of themselves.
5. The cutover sees where the node stands after every event, and the order of records counts a new tree in the very step
   in which it takes the live one's place. While updates are paused for that (cutover.py, rule 4), none is admitted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from services.shared.cores import Tick
from services.treenode.node.cutover import Cutover
from services.treenode.node.cutover_events import (
    CutoverAction,
    CutoverEvent,
    LiveTreeReplaced,
    LoadBegun,
    LoadFailed,
    NodeEnds,
    NodeMoved,
    TakeTree,
)
from services.treenode.node.lifecycle import Action as LifeAction
from services.treenode.node.lifecycle import Happened, LifeCycle, LifeEvent, NodeState
from services.treenode.node.role import (
    Demoted,
    HeartbeatNow,
    HeartbeatSent,
    LeaseAnswered,
    OthersReady,
    Promoted,
    ReadyChanged,
    RoleAction,
    RoleCore,
    RoleEvent,
    Vouched,
)
from services.treenode.node.sequence import SequenceCore
from services.treenode.node.sequence_events import (
    AnswerStatus,
    LogEndHeard,
    LogUnreadable,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    RefusePusher,
    SequenceAction,
    SequenceEvent,
    SetAside,
    StateLost,
    TreeTaken,
    UpdateFailed,
)
from services.treenode.node.settings import NodeSettings

#: For so many leases a node waits at most for a coordinator that has not heard of all nodes yet; three of them are what
#: a coordinator takes for that.
UNCERTAIN_LEASES_MAX = 4.0


@dataclass(frozen=True)
class AskAgain:
    """Updates are paused for a swap: these records are to be received again once `ResumeApplying` came."""


@dataclass(frozen=True)
class DrainAsked:
    """The process is to end."""

    why: str = "asked to end"


NodeEvent = RoleEvent | SequenceEvent | CutoverEvent | LoadBegun | LoadFailed | DrainAsked | Tick
NodeAction = LifeAction | RoleAction | SequenceAction | CutoverAction | AskAgain

_PAUSED = AskAgain()


class NodeCore:
    """One node: four cores, one event at a time. `now_s` is seconds of the node's monotonic clock."""

    def __init__(self, settings: NodeSettings, now_s: float, jitter: Callable[[], float] = lambda: 1.0) -> None:
        """`jitter`: draws from [0, 1), for waits that are not in step with other nodes'; none where it is left out."""
        self._settings = settings
        self.life = LifeCycle()
        self.role = RoleCore(settings.role)
        self.sequence = SequenceCore(caught_up_lag_updates=settings.caught_up_lag_updates)
        self.cutover = Cutover(settings.cutover, self.sequence, jitter)
        #: How often where the node stands has changed otherwise than by records: words that the pusher has to hear.
        self.statuses_wanted = 0
        #: When the node began to catch up or last heard how far the log goes, whichever was later.
        self._heard_at_s = now_s
        #: The ready nodes that this one is behind, by the coordinator's newest word; None where it names none.
        self.behind: OthersReady | None = None
        #: Until then that word, or that there is none yet, keeps the node from serving what it has.
        self._held_back_until_s = -math.inf
        #: The heartbeat that the word answered.
        self._word_sequence = 0
        #: Whether the newest tree that was taken is bare (rule 1).
        self._bare = False

    @property
    def state(self) -> NodeState:
        """Where the node is in its life."""
        return self.life.state

    @property
    def deadline_s(self) -> float | None:
        """When the lease is over, the cutover has waited for long enough, or a node with a tree has, for a pusher."""
        deadlines_s = [self.role.deadline_s, self.cutover.deadline_s]
        if self.state is NodeState.CATCHING_UP:
            deadlines_s.append(self._cut_off_at_s)
        return min((each for each in deadlines_s if each is not None), default=None)

    @property
    def _cut_off_at_s(self) -> float:
        return max(self._heard_at_s + self._settings.catch_up_grace_s, self._held_back_until_s)

    @property
    def _has_nothing(self) -> bool:
        """Whether its tree is bare, and there may be an import (rule 1)."""
        log_end = self.sequence.log_end
        return self._bare and (log_end is None or log_end.import_id > 0)

    def handle(self, event: NodeEvent, now_s: float) -> list[NodeAction]:
        """Takes the event and returns what is to be done, in order.

        Raises PositionGapError for records that can't be taken; the node stays where it is.
        """
        actions = self._pass_time(now_s)
        match event:
            case Tick():
                pass
            case RecordsReceived() if self.cutover.paused:
                actions.append(_PAUSED)
            case LoadBegun() | LoadFailed():
                actions += self._load(event, now_s)
            case DrainAsked():
                actions += self._live(LifeEvent.DRAIN_ASKED, now_s, event.why)
                actions += self._cut_over(NodeEnds(), now_s)
            case PusherHello() | LogEndHeard() | TreeTaken() | RecordsReceived() | UpdateFailed() | StateLost():
                actions += self._order(event, now_s)
            case RecordsApplied() | LogUnreadable():
                actions += self.sequence.handle(event)
            case HeartbeatSent() | LeaseAnswered() | Vouched() | ReadyChanged():
                actions += self._role(self.role.handle(event, now_s))
                if isinstance(event, LeaseAnswered):
                    self._hear_of_others(event, now_s)
            case _:
                actions += self._cut_over(event, now_s)
        if self.cutover.needs_word:
            actions += self._cut_over(NodeMoved(), now_s)
        return [*actions, *self._follow(now_s)]

    def _pass_time(self, now_s: float) -> list[NodeAction]:
        """Does what is due by time alone."""
        grace_s = self._settings.catch_up_grace_s
        if self.state is NodeState.CATCHING_UP and now_s > self._cut_off_at_s + grace_s / 2:
            self._heard_at_s = now_s - grace_s / 2
        return self._role(self.role.handle(Tick(), now_s))

    def _hear_of_others(self, answer: LeaseAnswered, now_s: float) -> None:
        """The coordinator's word on whether this node may serve what it has (rule 2)."""
        others, grace_s = answer.others_ready, self._settings.catch_up_grace_s
        if others is None or answer.epoch < self.role.epoch or answer.sequence < self._word_sequence:
            return
        self._word_sequence = answer.sequence
        self.behind = others if self.sequence.is_behind(others.import_id, others.position) else None
        if self.behind is not None:
            self._held_back_until_s = now_s + grace_s
        elif others.complete:
            self._held_back_until_s = -math.inf
        else:
            lease_s = min(grace_s, answer.lease_s)
            limit_s = self._heard_at_s + grace_s + UNCERTAIN_LEASES_MAX * lease_s
            self._held_back_until_s = max(self._held_back_until_s, min(now_s + lease_s, limit_s))

    def _order(self, event: SequenceEvent, now_s: float) -> list[NodeAction]:
        """A sequence event that may change more than the position."""
        if self.state is NodeState.DRAINING and isinstance(event, PusherHello):
            return [RefusePusher("the node is asked to end")]
        sequence_actions = self.sequence.handle(event)
        # A hello alone is not enough: a pusher whose log lost updates comes again and again, and has nothing to say.
        if not isinstance(event, PusherHello):
            self._heard_at_s = now_s
        actions: list[NodeAction] = []
        for action in sequence_actions:
            if isinstance(action, SetAside):
                actions += self._live(LifeEvent.SET_ASIDE, now_s, action.reason)
            elif isinstance(action, AnswerStatus):
                self.statuses_wanted += 1
            actions.append(action)
        if isinstance(event, StateLost):
            actions += self._cut_over(LiveTreeReplaced(), now_s)
        if isinstance(event, TreeTaken):
            actions += self._stand(event, now_s)
            actions += self._cut_over(LiveTreeReplaced(), now_s)
        return actions

    def _stand(self, taken: TreeTaken, now_s: float) -> list[NodeAction]:
        """A node that had no tree has one, unless there is nothing in it (rule 1)."""
        self._bare = taken.bare
        if self.state not in (NodeState.JOINING, NodeState.LOADING):
            return []
        if not self._has_nothing:
            why = f"has import {taken.import_id} at position {taken.position}"
            return self._live(LifeEvent.TREE_STANDS, now_s, why)
        if self.state is NodeState.JOINING or self.cutover.importing or self.cutover.search.has_hope:
            return []
        why = f"what it has is of before the first import and the first member, at position {taken.position}"
        return self._live(LifeEvent.LOAD_FAILED, now_s, why)

    def _is_laid_out_anew(self, taken: TakeTree) -> bool:
        """Whether the node stood there before: any other tree brings it on."""
        return (taken.import_id, taken.position) == (self.sequence.import_id, self.sequence.position)

    def _cut_over(self, event: CutoverEvent, now_s: float) -> list[NodeAction]:
        """What the cutover asks for, each action with what it means for the others right behind it (rule 5)."""
        actions: list[NodeAction] = []
        for action in self.cutover.handle(event, now_s):
            match action:
                case TakeTree(log_id=log_id, import_id=import_id, position=position):
                    bare = self._is_laid_out_anew(action) and (self._bare or self.sequence.empty)
                    actions += [action, *self._order(TreeTaken(log_id, import_id, position, bare=bare), now_s)]
                case LoadBegun() | LoadFailed():
                    actions += self._load(action, now_s)
                case LogUnreadable():
                    actions += self.sequence.handle(action)
                case _:
                    actions.append(action)
        return actions

    def _load(self, event: LoadBegun | LoadFailed, now_s: float) -> list[NodeAction]:
        if isinstance(event, LoadBegun) and self.state is NodeState.JOINING:
            return self._live(LifeEvent.LOAD_BEGUN, now_s, event.why)
        if isinstance(event, LoadFailed) and self.state is NodeState.LOADING:
            return self._live(LifeEvent.LOAD_FAILED, now_s, event.why)
        return []

    def _follow(self, now_s: float) -> list[NodeAction]:
        """Steps that follow from what the parts have become (rules 1 and 2)."""
        actions: list[NodeAction] = []
        log_end = self.sequence.log_end
        no_import = log_end is not None and self.sequence.base_wanted is None and not self._has_nothing
        if self.state is NodeState.JOINING and no_import:
            actions += self._live(LifeEvent.TREE_STANDS, now_s, "the cluster has no import: the tree is empty")
        if self.state is NodeState.CATCHING_UP and self.sequence.caught_up:
            why = f"at import {self.sequence.import_id}, position {self.sequence.position}"
            actions += self._live(LifeEvent.CAUGHT_UP, now_s, why)
        if self.state is NodeState.CATCHING_UP and now_s >= self._cut_off_at_s:
            why = f"no pusher for {self._settings.catch_up_grace_s:g} s; serves what it has"
            actions += self._live(LifeEvent.CUT_OFF, now_s, why)
        return actions

    def _live(self, event: LifeEvent, now_s: float, why: str) -> list[NodeAction]:
        """One step of the life cycle, and what the role makes of it (rules 3 and 4)."""
        state_before, ready_before = self.life.state, self.life.ready
        life_actions = self.life.handle(Happened(event, why))
        actions: list[NodeAction] = list(life_actions)
        if self.life.state is NodeState.CATCHING_UP:
            self._heard_at_s = max(self._heard_at_s, now_s)
        if self.life.ready != ready_before:
            actions += self._role(self.role.handle(ReadyChanged(self.life.ready), now_s))
        if self.life.state is not state_before and HeartbeatNow() not in actions:
            actions.append(HeartbeatNow())
        return actions

    def _role(self, role_actions: list[RoleAction]) -> list[NodeAction]:
        """What the role asks for, with the life cycle's step right behind it."""
        actions: list[NodeAction] = []
        for action in role_actions:
            actions.append(action)
            if isinstance(action, Promoted) and self.state is NodeState.PASSIVE:
                actions += self.life.handle(Happened(LifeEvent.PROMOTED, f"primary in epoch {action.epoch}"))
            elif isinstance(action, Demoted) and self.state is NodeState.PRIMARY:
                actions += self.life.handle(Happened(LifeEvent.DEMOTED, action.reason))
        return actions

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant, of a part or between the parts."""
        self.life.validate()
        self.role.validate()
        self.sequence.validate()
        self.cutover.validate()
        if (self.state is NodeState.PRIMARY) != (self.role.lease_until_s is not None):
            raise AssertionError(f"a {self.state.name} node with a lease until {self.role.lease_until_s}")
        if self.life.ready != self.role.ready:
            raise AssertionError(f"a {self.state.name} node whose role thinks ready is {self.role.ready}")
