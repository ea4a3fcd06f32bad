"""The whole node's core: how its parts move each other, in scenarios and in a random walk over every event."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.shared.cores import Tick
from services.treenode.node.lifecycle import READY_STATES, EndWatches, NodeState, SetHealth
from services.treenode.node.node import DrainAsked, LoadBegun, LoadFailed, NodeAction, NodeCore, NodeEvent, NodeSettings
from services.treenode.node.role import Demoted, HeartbeatNow, HeartbeatSent, LeaseAnswered, Promoted, RoleSettings
from services.treenode.node.sequence import (
    ApplyRecords,
    FindBase,
    LogEnd,
    LogEndHeard,
    PositionGapError,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    RefusePusher,
    SetAside,
    TreeTaken,
)

SETTINGS = NodeSettings(role=RoleSettings(margin_s=0.1), catch_up_grace_s=3.0)


def hello(end: int, *, log_id: str = "log", first: int = 1, import_id: int = 0) -> PusherHello:
    return PusherHello(log_id, LogEnd(first, end, import_id))


def primary_core() -> NodeCore:
    core = NodeCore(SETTINGS, 0.0)
    core.handle(hello(0), 0.0)
    core.handle(HeartbeatSent(1), 0.0)
    core.handle(LeaseAnswered(1, True, 1, 1.0), 0.1)
    assert core.state is NodeState.PRIMARY
    return core


_J, _L, _C, _P, _1, _D = (
    NodeState.JOINING,
    NodeState.LOADING,
    NodeState.CATCHING_UP,
    NodeState.PASSIVE,
    NodeState.PRIMARY,
    NodeState.DRAINING,
)

#: name -> (at_s, event or None for a tick, state afterwards)
SCRIPTS: dict[str, list[tuple[float, NodeEvent | None, NodeState]]] = {
    "a new node in a new cluster": [(0.0, hello(0), _P)],
    "a new node in a cluster with updates and no import": [
        (0.0, hello(2), _C),
        (0.1, RecordsReceived([1, 2]), _C),
        (0.2, RecordsApplied(2), _P),
    ],
    "a pusher whose log lost updates comes again and again": [
        (0.0, LoadBegun("own snapshot"), _L),
        (0.1, TreeTaken("log", 0, 9), _C),
        (1.0, hello(5), _C),
        (2.0, hello(6), _C),
        (3.0, hello(7), _C),
        (3.2, None, _P),
    ],
    "a new node in a cluster with an import": [
        (0.0, hello(9, import_id=1), _J),
        (0.1, LoadBegun("from a peer"), _L),
        (0.2, LoadFailed("the peer went away"), _J),
        (0.3, LoadBegun("import 1"), _L),
        (0.4, TreeTaken("log", 1, 9), _P),
    ],
    "a restart": [
        (0.0, LoadBegun("own snapshot"), _L),
        (0.1, TreeTaken("log", 1, 5), _C),
        (0.2, hello(7, import_id=1), _C),
        (0.3, RecordsApplied(7), _P),
    ],
    "a restart without a pusher": [
        (0.0, LoadBegun("own snapshot"), _L),
        (0.1, TreeTaken("log", 1, 5), _C),
        (3.0, None, _C),
        (3.1, None, _P),
        (9.0, hello(7, import_id=1), _P),
    ],
    "a restart with a newer import in force waits for it": [
        (0.1, TreeTaken("log", 1, 5), _C),
        (0.2, hello(5, import_id=2), _C),
        (1.2, LogEndHeard(LogEnd(1, 5, 2)), _C),
        (4.1, LogEndHeard(LogEnd(1, 5, 2)), _C),
        (4.2, LoadBegun("import 2"), _C),
        (6.3, TreeTaken("log", 2, 5), _P),
    ],
    "an import beside a live tree does not show": [
        (0.0, hello(0), _P),
        (0.1, LoadBegun("import 1"), _P),
        (0.2, LoadFailed("bad rows"), _P),
        (0.3, LoadBegun("import 2"), _P),
        (0.4, TreeTaken("log", 2, 0), _P),
    ],
    "another log empties the node": [
        (0.0, TreeTaken("old", 1, 5), _C),
        (0.1, hello(9, log_id="new", import_id=1), _J),
    ],
    "a primary that ends": [
        (0.0, hello(0), _P),
        (0.0, HeartbeatSent(1), _P),
        (0.1, LeaseAnswered(1, True, 1, 1.0), _1),
        (0.2, DrainAsked(), _D),
        (0.3, DrainAsked(), _D),
        (0.4, LeaseAnswered(1, True, 1, 1.0), _D),
        (0.5, TreeTaken("log", 1, 0), _D),
    ],
    "a primary whose coordinator is gone": [
        (0.0, hello(0), _P),
        (0.0, HeartbeatSent(1), _P),
        (0.1, LeaseAnswered(1, True, 1, 1.0), _1),
        (0.95, None, _P),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str) -> None:
    core = NodeCore(SETTINGS, 0.0)
    for at_s, event, state in SCRIPTS[name]:
        actions = core.handle(event or Tick(), at_s)
        core.validate()
        assert core.state is state, (at_s, event, actions, core.life.tell())


def test_a_drain_demotes_tells_health_ends_watches_and_tells_the_coordinator() -> None:
    core = primary_core()
    actions = core.handle(DrainAsked(), 0.2)
    kinds = [type(action) for action in actions]
    assert kinds.index(SetHealth) < kinds.index(EndWatches)
    assert Demoted in kinds
    assert HeartbeatNow() in actions
    assert core.role.primary_epoch == 0


def test_a_draining_node_refuses_pushers() -> None:
    core = primary_core()
    core.handle(DrainAsked(), 0.2)
    assert core.handle(hello(5), 0.3) == [RefusePusher("the node is asked to end")]


def test_a_new_term_of_the_same_primary_keeps_it_primary() -> None:
    core = primary_core()
    actions = core.handle(LeaseAnswered(1, True, 2, 1.0), 0.2)
    assert Promoted(2) in actions
    assert core.state is NodeState.PRIMARY
    assert not any(isinstance(action, EndWatches) for action in actions)


def test_state_is_set_aside_before_the_base_is_looked_for() -> None:
    core = NodeCore(SETTINGS, 0.0)
    core.handle(TreeTaken("old", 1, 5), 0.0)
    kinds = [type(action) for action in core.handle(hello(9, log_id="new", import_id=1), 0.1)]
    assert kinds.index(SetAside) < kinds.index(FindBase)


@pytest.mark.parametrize(
    ("state", "deadline_s"), [(NodeState.CATCHING_UP, 3.5), (NodeState.PASSIVE, None), (NodeState.PRIMARY, 0.9)]
)
def test_the_deadline_says_when_to_tick(state: NodeState, deadline_s: float | None) -> None:
    core = primary_core() if state is NodeState.PRIMARY else NodeCore(SETTINGS, 0.0)
    if state is NodeState.CATCHING_UP:
        core.handle(TreeTaken("log", 1, 5), 0.5)
    elif state is NodeState.PASSIVE:
        core.handle(hello(0), 0.5)
    assert core.state is state
    assert core.deadline_s == (pytest.approx(deadline_s) if deadline_s else None)


class NodeWalk(RuleBasedStateMachine):
    """Anything may happen at any time; the shell does as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.core = NodeCore(SETTINGS, 0.0)
        self.health = (False, False)
        self.sequence = 0

    def do(self, event: NodeEvent | None) -> list[NodeAction]:
        actions = self.core.handle(event or Tick(), self.now_s)
        self.core.validate()
        for action in actions:
            if isinstance(action, SetHealth):
                self.health = (action.ready, action.primary)
        return actions

    @rule(seconds=st.floats(0.0, 4.0))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.do(None)

    @rule(
        log_id=st.sampled_from(["one", "one", "one", "two"]),
        behind=st.integers(-2, 5),
        kept=st.integers(0, 9),
        import_id=st.integers(0, 2),
    )
    def meet_pusher(self, log_id: str, behind: int, kept: int, import_id: int) -> None:
        end = max(0, self.core.sequence.position + behind)
        self.do(hello(end, log_id=log_id, first=max(1, end + 1 - kept), import_id=import_id))

    @rule(first=st.integers(-2, 2), count=st.integers(1, 4))
    def receive(self, first: int, count: int) -> None:
        start = max(1, self.core.sequence.position + 1 + first)
        try:
            actions = self.do(RecordsReceived(range(start, start + count)))
        except PositionGapError:
            assert start > self.core.sequence.position + 1
            return
        if any(isinstance(action, ApplyRecords) for action in actions):
            self.do(RecordsApplied(start + count - 1))

    @rule(import_id=st.integers(0, 3), ahead=st.integers(0, 3))
    def take_tree(self, import_id: int, ahead: int) -> None:
        self.do(TreeTaken(self.core.sequence.log_id, import_id, self.core.sequence.position + ahead))

    @rule()
    def begin_load(self) -> None:
        self.do(LoadBegun("walk"))

    @rule()
    def fail_load(self) -> None:
        self.do(LoadFailed("walk"))

    @rule()
    def beat(self) -> None:
        self.sequence += 1
        self.do(HeartbeatSent(self.sequence))

    @rule(late=st.integers(0, 2), primary=st.booleans(), epoch=st.integers(0, 5))
    def answer(self, late: int, primary: bool, epoch: int) -> None:
        self.do(LeaseAnswered(self.sequence - late, primary, epoch, 1.0))

    @rule()
    def drain(self) -> None:
        if self.core.sequence.position > 3:
            self.do(DrainAsked())

    @invariant()
    def health_says_what_the_state_is(self) -> None:
        assert self.health == (self.core.state in READY_STATES, self.core.state is NodeState.PRIMARY)


TestNodeWalk = NodeWalk.TestCase
TestNodeWalk.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
