"""Every event in every state, over links that lose, delay, repeat and reorder: at most one primary, always."""

from __future__ import annotations

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.coordinator.election.election import ElectionSettings
from services.coordinator.election.events import (
    Action,
    Answer,
    Heartbeat,
    HostsChanged,
    NodeState,
    PauseAsked,
    Persist,
    PersistDone,
    PersistFailed,
    Recorded,
    ResumeAsked,
    StreamEnded,
    SwitchoverAsked,
)
from services.shared.cores import Tick
from tests.coordinator.election.model import Harness, ModelNode

NAMES = ("a", "b", "c")
LIVE_STATES = (NodeState.PASSIVE, NodeState.PASSIVE, NodeState.CATCHING_UP, NodeState.LOADING, NodeState.DRAINING)


class ClusterMachine(RuleBasedStateMachine):
    """Three names, any number of processes, one coordinator at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.harness = Harness(ElectionSettings(switchover_timeout_s=2.0, forget_s=5.0), NAMES[:2])
        #: On their way, in both directions; any of them may be delivered next, again, or never.
        self.heartbeats: list[Heartbeat] = []
        self.answers: list[Answer] = []
        self.writes: list[Recorded] = []
        self.requests = itertools.count(1)

    @initialize()
    def begin(self) -> None:
        for name in NAMES:
            self.harness.nodes.append(ModelNode(name, f"{name}-1"))

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Answer):
                self.answers.append(action)
            elif isinstance(action, Persist):
                assert not self.writes, "two writes at a time"
                self.writes.append(action.recorded)
        del self.answers[:-40]
        del self.heartbeats[:-40]

    def node(self, index: int) -> ModelNode:
        return self.harness.nodes[-1 - index % len(self.harness.nodes)]

    # ---- links -------------------------------------------------------------------------------------------------------

    @rule(index=st.integers(0, 4))
    def send(self, index: int) -> None:
        self.heartbeats.append(self.node(index).heartbeat(self.now))

    @rule(index=st.integers(0, 2), lag_s=st.floats(0.0, 0.05))
    def talk(self, index: int, lag_s: float) -> None:
        """A heartbeat and its answers on a good link."""
        node = self.node(index)
        heartbeat = node.heartbeat(self.now)
        self.now += lag_s
        for answer in (actions := self.harness.step(heartbeat, self.now)):
            if isinstance(answer, Answer):
                for other in self.harness.nodes:
                    if (other.name, other.incarnation) == (answer.node, answer.incarnation):
                        other.take(answer, self.now)
        self.take(actions)

    @precondition(lambda self: self.heartbeats)
    @rule(data=st.data(), again=st.booleans())
    def deliver_heartbeat(self, data: st.DataObject, again: bool) -> None:
        place = data.draw(st.integers(0, len(self.heartbeats) - 1))
        heartbeat = self.heartbeats[place] if again else self.heartbeats.pop(place)
        self.take(self.harness.step(heartbeat, self.now))

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), again=st.booleans())
    def deliver_answer(self, data: st.DataObject, again: bool) -> None:
        place = data.draw(st.integers(0, len(self.answers) - 1))
        answer = self.answers[place] if again else self.answers.pop(place)
        for node in self.harness.nodes:
            if (node.name, node.incarnation) == (answer.node, answer.incarnation):
                node.take(answer, self.now)

    @rule(index=st.integers(0, 4))
    def end_stream(self, index: int) -> None:
        node = self.node(index)
        self.take(self.harness.step(StreamEnded(node=node.name, incarnation=node.incarnation), self.now))

    # ---- time and nodes ----------------------------------------------------------------------------------------------

    @rule(seconds=st.floats(0.0, 0.4))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.harness.step(Tick(), self.now))

    @rule()
    def wait_until_due(self) -> None:
        due = self.harness.core.deadline_s
        if due is not None:
            assert due > self.now or due == float("inf")
            self.now = max(self.now, due)
        self.take(self.harness.step(Tick(), self.now))

    @rule(index=st.integers(0, 4), state=st.sampled_from(LIVE_STATES))
    def turn(self, index: int, state: NodeState) -> None:
        self.node(index).turn(state)

    @rule(index=st.integers(0, 4), updates=st.integers(1, 9), imports=st.integers(0, 1))
    def advance(self, index: int, updates: int, imports: int) -> None:
        node = self.node(index)
        node.position += updates
        node.import_id += imports

    @rule(name=st.sampled_from(NAMES), frozen=st.booleans())
    def restart_node(self, name: str, frozen: bool) -> None:
        """A new process of an old name; the old one is killed, or goes on unseen."""
        if not frozen:
            for node in self.harness.nodes:
                if node.name == name:
                    node.turn(NodeState.DRAINING)
        self.harness.nodes.append(ModelNode(name, f"{name}-{len(self.harness.nodes)}"))

    # ---- the coordinator and its operator ----------------------------------------------------------------------------

    @rule()
    def restart_coordinator(self) -> None:
        self.writes.clear()
        self.harness.restart(self.now)

    @precondition(lambda self: self.writes)
    @rule(outcome=st.sampled_from(["done", "done", "done", "failed", "failed but written"]))
    def end_write(self, outcome: str) -> None:
        recorded = self.writes.pop()
        if outcome == "failed":
            self.take(self.harness.step(PersistFailed(recorded=recorded, reason="disk full"), self.now))
            return
        self.harness.stored = recorded
        if outcome == "done":
            self.take(self.harness.step(PersistDone(recorded=recorded), self.now))
        else:
            self.take(self.harness.step(PersistFailed(recorded=recorded, reason="no answer"), self.now))

    @rule(to_node=st.sampled_from(("", *NAMES, "x")))
    def switch_over(self, to_node: str) -> None:
        asked = SwitchoverAsked(request=next(self.requests), to_node=to_node)
        self.take(self.harness.step(asked, self.now))

    @rule(pause=st.booleans())
    def pause(self, pause: bool) -> None:
        request = next(self.requests)
        asked = PauseAsked(request=request) if pause else ResumeAsked(request=request)
        self.take(self.harness.step(asked, self.now))

    @rule(order=st.permutations(NAMES))
    def edit_hosts_file(self, order: list[str]) -> None:
        self.take(self.harness.step(HostsChanged(hosts_order=tuple(order)), self.now))

    # ---- promises ----------------------------------------------------------------------------------------------------

    @invariant()
    def at_most_one_primary(self) -> None:
        self.harness.check_promises(self.now)


TestClusterMachine = ClusterMachine.TestCase
TestClusterMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
