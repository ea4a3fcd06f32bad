"""The whole node's core: how its parts move each other, in a random walk over every event."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.shared.cores import Tick
from services.treenode.node.cutover_events import LoadBegun, LoadFailed
from services.treenode.node.lifecycle import READY_STATES, NodeState, SetHealth, StateChanged
from services.treenode.node.node import DrainAsked, NodeAction, NodeCore, NodeEvent
from services.treenode.node.role import HeartbeatSent, LeaseAnswered, OthersReady
from services.treenode.node.sequence import PositionGapError
from services.treenode.node.sequence_events import (
    AnswerStatus,
    ApplyRecords,
    LogEnd,
    LogEndHeard,
    LogUnreadable,
    PusherHello,
    RecordsApplied,
    RecordsReceived,
    TreeTaken,
)
from services.treenode.node.settings import NodeSettings, RoleSettings
from tests.scenarios.driver import hold_to_deadline

SETTINGS = NodeSettings(role=RoleSettings(lease_margin_s=0.1), catch_up_grace_s=3.0, caught_up_lag_updates=0)


def hello(end: int, *, log_id: str = "log", first: int = 1, import_id: int = 0) -> PusherHello:
    return PusherHello(log_id, LogEnd(first, end, import_id))


def test_a_node_is_behind_nobody_before_any_word() -> None:
    assert NodeCore(SETTINGS, 0.0).behind is None


class NodeWalk(RuleBasedStateMachine):
    """Anything may happen at any time; the shell does as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.core = NodeCore(SETTINGS, 0.0)
        self.health = (False, False)
        self.sequence = 0
        #: The newest word on the others that is to be believed, the heartbeat that it answers, and when it came.
        self.word: tuple[OthersReady, int, float] | None = None

    def do(self, event: NodeEvent) -> list[NodeAction]:
        actions = self.core.handle(event, self.now_s)
        self.core.validate()
        hold_to_deadline(self.core, self.now_s)
        for action in actions:
            if isinstance(action, SetHealth):
                self.health = (action.ready, action.primary)
            if isinstance(action, StateChanged) and action.before is NodeState.CATCHING_UP:
                assert action.after is not NodeState.PASSIVE or self.core.sequence.caught_up or self.may_serve()
        return actions

    def may_serve(self) -> bool:
        """Whether nobody is known to have more than the node, which is cut off."""
        if self.word is None or self.now_s >= self.word[2] + SETTINGS.catch_up_grace_s:
            return True
        others, sequence = self.word[0], self.core.sequence
        return sequence.import_id >= others.import_id and (
            sequence.position >= others.position or sequence.halt is not None
        )

    @rule(seconds=st.floats(0.0, 4.0))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.do(Tick())

    @rule(
        log_id=st.sampled_from(["one", "one", "one", "two"]),
        behind=st.integers(-2, 5),
        kept=st.integers(0, 9),
        import_id=st.integers(0, 2),
    )
    def meet_pusher(self, log_id: str, behind: int, kept: int, import_id: int) -> None:
        end = max(0, self.core.sequence.position + behind)
        self.do(hello(end, log_id=log_id, first=max(1, end + 1 - kept), import_id=import_id))

    @precondition(lambda self: self.core.sequence.log_end is not None)
    @rule(ahead=st.integers(0, 3), import_id=st.integers(0, 2))
    def hear_log_end(self, ahead: int, import_id: int) -> None:
        self.do(LogEndHeard(LogEnd(1, self.core.sequence.position + ahead, import_id)))

    @rule(import_id=st.integers(1, 3))
    def fail_to_read_the_log(self, import_id: int) -> None:
        self.do(LogUnreadable(import_id, "walk"))

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

    @rule(
        late=st.integers(0, 2),
        primary=st.booleans(),
        epoch=st.integers(0, 5),
        others=st.none() | st.builds(OthersReady, st.booleans(), st.integers(0, 3), st.integers(0, 9)),
    )
    def answer(self, late: int, primary: bool, epoch: int, others: OthersReady | None) -> None:
        sequence = self.sequence - late
        in_order = self.word is None or sequence >= self.word[1]
        if others is not None and sequence >= 0 and epoch >= self.core.role.epoch and in_order:
            self.word = (others, sequence, self.now_s)
        self.do(LeaseAnswered(sequence, primary, epoch, 1.0, others))

    @rule()
    def drain(self) -> None:
        if self.core.sequence.position > 3:
            self.do(DrainAsked())

    @invariant()
    def health_says_what_the_state_is(self) -> None:
        assert self.health == (self.core.state in READY_STATES, self.core.state is NodeState.PRIMARY)


TestNodeWalk = NodeWalk.TestCase
TestNodeWalk.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_each_word_that_the_pusher_has_to_hear_is_counted() -> None:
    core = NodeCore(SETTINGS, 0.0)
    assert core.statuses_wanted == 0
    told = 0
    for event in (hello(0), hello(0), TreeTaken("log", 1, 0), LogEndHeard(LogEnd(1, 0, 1)), TreeTaken("log", 2, 0)):
        told += core.handle(event, 0.0).count(AnswerStatus())
        assert core.statuses_wanted == told
    assert told >= 3
