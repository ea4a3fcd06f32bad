"""The acknowledgement levels under random events, against the plainest model of who has what."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.pusher.admission.acks import (
    AckRange,
    Acks,
    WaitBegun,
    WaitGivenUp,
)
from services.pusher.fanout.events import KnownOutcome, NodeConfirmed, NodeStands
from services.shared.cores import Tick
from tests.scenarios.driver import hold_to_deadline

NODES = ("a:1", "b:1", "c:1")
node_names = st.sampled_from(NODES)


class AcksMachine(RuleBasedStateMachine):
    """Waits and nodes against the plainest model of who has what."""

    @initialize()
    def begin(self) -> None:
        self.now, self.tickets, self.position = 0.0, 0, 0
        self.core = Acks(position=0, outcomes_max=5)
        self.healthy: dict[str, int] = {}
        self.confirmed: dict[str, int] = dict.fromkeys(NODES, 0)
        self.waiting: dict[int, tuple[int, AckRange, float]] = {}

    def enough(self, position: int, ack_range: AckRange) -> bool:
        if ack_range is AckRange.ONE_NODE:
            return max(self.confirmed.values()) >= position
        return bool(self.healthy) and min(self.healthy.values()) >= position

    def check(self, over: list[int]) -> None:
        expected = [t for t, (position, ack_range, _) in self.waiting.items() if self.enough(position, ack_range)]
        assert sorted(over) == sorted(expected)
        for ticket in over:
            del self.waiting[ticket]

    @rule(ack_range=st.sampled_from(list(AckRange)), ahead=st.integers(0, 5), patience_s=st.floats(0.1, 5.0))
    def wait_for(self, ack_range: AckRange, ahead: int, patience_s: float) -> None:
        self.tickets += 1
        position = self.position + ahead + 1
        self.waiting[self.tickets] = (position, ack_range, self.now + patience_s)
        over = self.core.handle(WaitBegun(self.tickets, position, ack_range, self.now + patience_s), self.now)
        self.check([wait.ticket for wait in over])

    @rule(node=node_names, further=st.integers(0, 4))
    def confirm(self, node: str, further: int) -> None:
        self.confirmed[node] += further
        self.position = max(self.position, self.confirmed[node])
        if node in self.healthy:
            self.healthy[node] = self.confirmed[node]
        held = ((self.confirmed[node], KnownOutcome.HELD),) if further else ()
        over = self.core.handle(NodeConfirmed(node, self.confirmed[node], held), self.now)
        assert all(wait.reached for wait in over)
        self.check([wait.ticket for wait in over])
        if further:
            assert self.core.outcome(self.confirmed[node]) in (KnownOutcome.HELD, KnownOutcome.UNKNOWN)

    @rule(node=node_names, healthy=st.booleans())
    def health(self, node: str, healthy: bool) -> None:
        self.healthy.pop(node, None)
        if healthy:
            self.healthy[node] = self.confirmed[node]
        over = self.core.handle(NodeStands(node, healthy, healthy, self.confirmed[node], 0), self.now)
        self.check([wait.ticket for wait in over])

    @rule()
    def give_up(self) -> None:
        if self.waiting:
            ticket = min(self.waiting)
            del self.waiting[ticket]
            assert self.core.handle(WaitGivenUp(ticket), self.now) == []

    @rule(seconds=st.floats(0.1, 3.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        over = {wait.ticket for wait in self.core.handle(Tick(), self.now)}
        assert over == {ticket for ticket, (_, _, deadline) in self.waiting.items() if deadline <= self.now}
        for ticket in over:
            del self.waiting[ticket]

    @invariant()
    def rules_hold(self) -> None:
        if hasattr(self, "core"):
            self.core.validate()
            hold_to_deadline(self.core, self.now)
            assert self.core.waiting == len(self.waiting)


TestAcksMachine = AcksMachine.TestCase
TestAcksMachine.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
