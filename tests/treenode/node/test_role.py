"""The lease by the node's own clock: scenarios, and a random walk that checks the promises at each step."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.shared.cores import Tick
from services.treenode.node.role import (
    HEARTBEATS_REMEMBERED,
    AnswerRefused,
    Demoted,
    HeartbeatNow,
    HeartbeatSent,
    LeaseAnswered,
    Promoted,
    ReadyChanged,
    RoleAction,
    RoleCore,
    RoleEvent,
    RoleSettings,
)

MARGIN_S = 0.1
LEASE_S = 1.0


def told(sequence: int, epoch: int, *, primary: bool = True) -> LeaseAnswered:
    return LeaseAnswered(sequence, primary, epoch, LEASE_S)


#: name -> (at_s, event or None for a tick, kinds of actions expected, primary afterwards)
Script = list[tuple[float, RoleEvent | None, list[type[RoleAction]], bool]]
SCRIPTS: dict[str, Script] = {
    "a lease runs from the sending of the heartbeat": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.7, told(1, 1), [Promoted, HeartbeatNow], True),
        (0.899, None, [], True),
        (0.9, None, [Demoted, HeartbeatNow], False),
    ],
    "each answer prolongs it": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 1), [Promoted, HeartbeatNow], True),
        (0.5, HeartbeatSent(2), [], True),
        (0.6, told(2, 1), [], True),
        (1.3, None, [], True),
        (1.4, None, [Demoted, HeartbeatNow], False),
    ],
    "a frozen process demotes itself before it believes anything": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 1), [Promoted, HeartbeatNow], True),
        (0.2, HeartbeatSent(2), [], True),
        (9.0, told(2, 1), [Demoted, HeartbeatNow, AnswerRefused], False),
    ],
    "a lower epoch is not believed": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 5), [Promoted, HeartbeatNow], True),
        (0.2, HeartbeatSent(2), [], True),
        (0.3, told(2, 4, primary=False), [AnswerRefused], True),
        (0.3, told(2, 5, primary=False), [Demoted, HeartbeatNow], False),
    ],
    "an unasked answer takes the role away and gives it": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 1, primary=False), [], False),
        (0.2, told(1, 2), [Promoted, HeartbeatNow], True),
        (0.3, told(1, 2, primary=False), [Demoted, HeartbeatNow], False),
    ],
    "an unasked answer that changes nothing is answered by a heartbeat": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 1, primary=False), [], False),
        (0.2, told(1, 1, primary=False), [HeartbeatNow], False),
        (0.3, told(1, 2), [Promoted, HeartbeatNow], True),
        (0.4, told(1, 2), [HeartbeatNow], True),
    ],
    "no grant from before the node stepped down gives the role back": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 1), [Promoted, HeartbeatNow], True),
        (0.2, HeartbeatSent(2), [], True),
        (0.3, ReadyChanged(False), [Demoted, HeartbeatNow], False),
        (0.3, HeartbeatSent(3), [], False),
        (0.4, ReadyChanged(True), [], False),
        (0.5, told(2, 1), [AnswerRefused], False),
        (0.6, told(3, 1), [Promoted, HeartbeatNow], True),
    ],
    "a late answer to an earlier heartbeat changes nothing": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, HeartbeatSent(2), [], False),
        (0.2, told(2, 3, primary=False), [], False),
        (0.3, told(1, 3), [], False),
    ],
    "an answer to a heartbeat never sent gives nothing, but may take": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, told(7, 1), [AnswerRefused], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 1), [Promoted, HeartbeatNow], True),
        (0.2, told(99, 1, primary=False), [Demoted, HeartbeatNow], False),
        (0.3, HeartbeatSent(2), [], False),
        (0.4, told(2, 2), [Promoted, HeartbeatNow], True),
    ],
    "only a ready node is primary": [
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 1), [AnswerRefused], False),
        (0.2, ReadyChanged(True), [], False),
        (0.2, HeartbeatSent(2), [], False),
        (0.3, told(2, 1), [Promoted, HeartbeatNow], True),
        (0.4, ReadyChanged(False), [Demoted, HeartbeatNow], False),
    ],
    "a new epoch for the primary itself is a new term": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.1, told(1, 1), [Promoted, HeartbeatNow], True),
        (0.2, told(1, 2), [Promoted, HeartbeatNow], True),
    ],
    "a lease without a length is no lease": [
        (0.0, ReadyChanged(True), [], False),
        (0.0, HeartbeatSent(1), [], False),
        (0.0, LeaseAnswered(1, True, 1, math.nan), [AnswerRefused], False),
    ],
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str) -> None:
    core = RoleCore(RoleSettings(margin_s=MARGIN_S))
    for at_s, event, expected, primary in SCRIPTS[name]:
        actions = core.handle(event or Tick(), at_s)
        core.validate()
        assert [type(action) for action in actions] == expected, (at_s, event, actions)
        assert core.is_primary(at_s) is primary
        assert (core.primary_epoch > 0) is primary


def test_primary_ends_by_the_clock_even_where_tick_comes_late() -> None:
    core = RoleCore(RoleSettings(margin_s=MARGIN_S))
    core.handle(ReadyChanged(True), 0.0)
    core.handle(HeartbeatSent(1), 0.0)
    core.handle(told(1, 1), 0.1)
    assert core.deadline_s == pytest.approx(LEASE_S - MARGIN_S)
    assert not core.is_primary(LEASE_S)


def test_sequences_and_clocks_that_go_back_are_defects() -> None:
    core = RoleCore(RoleSettings())
    core.handle(HeartbeatSent(2), 1.0)
    with pytest.raises(ValueError, match="sequences must rise"):
        core.handle(HeartbeatSent(2), 1.0)
    with pytest.raises(ValueError, match="clock went back"):
        core.handle(Tick(), 0.5)
    with pytest.raises(ValueError, match="margin_s"):
        RoleCore(RoleSettings(margin_s=-1))


class LeaseWalk(RuleBasedStateMachine):
    """A coordinator that answers any heartbeat with anything, over a link that loses and delays."""

    def __init__(self) -> None:
        super().__init__()
        self.core = RoleCore(RoleSettings(margin_s=MARGIN_S))
        self.now_s = 0.0
        self.sent_at_s: dict[int, float] = {}
        self.primary = False
        self.epochs = [0]
        #: The end of the longest lease that was ever granted, by the clock of the node.
        self.granted_until_s = -math.inf

    def take(self, actions: list[RoleAction]) -> None:
        for action in actions:
            if isinstance(action, Promoted):
                self.primary = True
            elif isinstance(action, Demoted):
                assert self.primary
                self.primary = False
        self.core.validate()
        self.epochs.append(self.core.epoch)

    @rule(seconds=st.floats(0.0, 1.5))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.take(self.core.handle(Tick(), self.now_s))

    @rule()
    def send(self) -> None:
        sequence = max(self.sent_at_s, default=0) + 1
        self.sent_at_s[sequence] = self.now_s
        self.take(self.core.handle(HeartbeatSent(sequence), self.now_s))

    @precondition(lambda self: self.sent_at_s)
    @rule(data=st.data(), epoch=st.integers(0, 6), primary=st.booleans())
    def answer(self, data: st.DataObject, epoch: int, primary: bool) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.sent_at_s)))
        if primary:
            self.granted_until_s = max(self.granted_until_s, self.sent_at_s[sequence] + LEASE_S)
        self.take(self.core.handle(told(sequence, epoch, primary=primary), self.now_s))

    @rule(ready=st.booleans())
    def turn(self, ready: bool) -> None:
        self.take(self.core.handle(ReadyChanged(ready), self.now_s))

    @invariant()
    def never_primary_past_any_lease(self) -> None:
        if self.primary:
            assert self.now_s < self.granted_until_s - MARGIN_S + 1e-9

    @invariant()
    def epochs_never_go_back(self) -> None:
        assert self.epochs == sorted(self.epochs)


TestLeaseWalk = LeaseWalk.TestCase
TestLeaseWalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(max_examples=50, deadline=None)
@given(unanswered=st.integers(0, 3 * HEARTBEATS_REMEMBERED))
def test_memory_of_heartbeats_is_bounded(unanswered: int) -> None:
    core = RoleCore(RoleSettings())
    core.handle(ReadyChanged(True), 0.0)
    for sequence in range(1, unanswered + 2):
        core.handle(HeartbeatSent(sequence), 0.0)
        core.validate()
    assert core.handle(told(unanswered + 1, 1), 0.0)[0] == Promoted(1)
