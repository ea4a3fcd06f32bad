"""The lease by the node's own clock: a random walk that checks the promises at each step."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.shared.cores import Tick
from services.treenode.node.role import (
    HEARTBEATS_REMEMBERED,
    Demoted,
    HeartbeatSent,
    LeaseAnswered,
    Promoted,
    ReadyChanged,
    RoleAction,
    RoleCore,
)
from services.treenode.node.settings import RoleSettings
from tests.scenarios.driver import hold_to_deadline

MARGIN_S = 0.1
LEASE_S = 1.0


def told(sequence: int, epoch: int, *, primary: bool = True) -> LeaseAnswered:
    return LeaseAnswered(sequence, primary, epoch, LEASE_S)


def test_primary_ends_by_the_clock_even_where_no_tick_comes() -> None:
    core = RoleCore(RoleSettings(lease_margin_s=MARGIN_S))
    core.handle(ReadyChanged(True), 0.0)
    core.handle(HeartbeatSent(1), 0.0)
    core.handle(told(1, 1), 0.1)
    assert core.deadline_s == pytest.approx(LEASE_S - MARGIN_S)
    assert core.is_primary(LEASE_S - MARGIN_S - 0.001)
    assert not core.is_primary(core.deadline_s or 0.0)


class LeaseWalk(RuleBasedStateMachine):
    """A coordinator that answers any heartbeat with anything, over a link that loses and delays."""

    def __init__(self) -> None:
        super().__init__()
        self.core = RoleCore(RoleSettings(lease_margin_s=MARGIN_S))
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
        hold_to_deadline(self.core, self.now_s)
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
