"""The lease table under random heartbeats, against a model that keeps every heartbeat and looks at all of them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.coordinator.election.events import READY_STATES, Heartbeat, NodeState
from services.coordinator.election.leases import LeaseTable, Verdict

LEASE_S, FORGET_S = 1.0, 4.0
nodes = st.sampled_from(["a", "b"])
processes = st.sampled_from(["1", "2", "3"])


@dataclass
class Known:
    """The process that holds a name, as the model sees it."""

    process: str
    taken: list[tuple[float, Heartbeat]]
    connected: bool = True
    #: When it said goodbye; None while it has not since its newest heartbeat.
    gone_at: float | None = None

    @property
    def ends_at(self) -> float:
        lease_end = self.taken[-1][0] + LEASE_S
        return lease_end if self.gone_at is None else min(lease_end, self.gone_at)


class LeasesMachine(RuleBasedStateMachine):
    """Two names, three processes each."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.table = LeaseTable(LEASE_S, FORGET_S)
        self.known: dict[str, Known] = {}

    @rule(seconds=st.floats(0.0, 2.5))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(
        node=nodes,
        process=processes,
        sequence=st.integers(1, 6),
        state=st.sampled_from(NodeState),
        position=st.integers(0, 3),
        may_hold_role=st.booleans(),
    )
    def hear(
        self, node: str, process: str, sequence: int, state: NodeState, position: int, may_hold_role: bool
    ) -> None:
        heartbeat = Heartbeat(node=node, incarnation=process, sequence=sequence, state=state, position=position)
        known = self.known.get(node)
        if known is not None and known.process == process:
            expected = Verdict.TAKEN if sequence > max(each.sequence for _, each in known.taken) else Verdict.STALE
        elif known is not None and self.now_s < known.ends_at and (known.connected or may_hold_role):
            expected = Verdict.REFUSED
        else:
            expected = Verdict.TAKEN
            known = self.known[node] = Known(process, [])
        if known is not None and expected is Verdict.TAKEN:
            known.taken.append((self.now_s, heartbeat))
            known.connected, known.gone_at = True, None
        assert self.table.take(heartbeat, self.now_s, may_hold_role=may_hold_role) is expected

    @rule(node=nodes, process=processes, may_hold_role=st.booleans())
    def end_stream(self, node: str, process: str, may_hold_role: bool) -> None:
        known = self.known.get(node)
        if known is not None and known.process == process:
            known.connected = False
            if known.taken[-1][1].state is NodeState.DRAINING and not may_hold_role:
                known.gone_at = self.now_s if known.gone_at is None else known.gone_at
        self.table.end_stream(node, process, self.now_s, may_hold_role=may_hold_role)

    @rule(listed=st.sets(nodes))
    def forget_gone(self, listed: set[str]) -> None:
        self.table.forget_gone(sorted(listed), self.now_s)
        for node in set(self.known) - listed:
            if self.now_s >= self.known[node].ends_at + FORGET_S:
                del self.known[node]

    @invariant()
    def both_say_the_same(self) -> None:
        self.table.validate()
        assert {lease.node for lease in self.table} == set(self.known)
        for node, known in self.known.items():
            lease = self.table.process(node, known.process)
            assert lease is not None
            assert lease is self.table.get(node)
            assert (lease.heard_at, lease.last) == known.taken[-1]
            assert (lease.ends_at, lease.connected) == (known.ends_at, known.connected)
            assert lease.is_alive(self.now_s) is (self.now_s < known.ends_at)
            assert lease.is_ready(self.now_s) is (lease.is_alive(self.now_s) and lease.last.state in READY_STATES)
            assert lease.ends_at in self.table.times([])


TestLeasesMachine = LeasesMachine.TestCase
TestLeasesMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
