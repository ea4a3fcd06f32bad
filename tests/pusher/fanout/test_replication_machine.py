"""The fan-out core under random events: whatever comes in whatever order, its rules hold."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.pusher.fanout.events import (
    Appended,
    Applied,
    Connect,
    EndStream,
    LogEndChanged,
    NodeAppeared,
    NodesKnown,
    ReadFailed,
    ReplicationAction,
    ReplicationEvent,
    Send,
    SendLogEnd,
    Sent,
    Stood,
    StreamEnded,
    Trimmed,
    Writable,
)
from services.pusher.fanout.replication import Replication
from services.pusher.fanout.settings import ReplicationSettings
from services.shared.cores import Tick
from tests.scenarios.driver import hold_to_deadline

NODES = ("a:1", "b:1", "c:1")
node_names = st.sampled_from(NODES)


class Receiver:
    """What a node makes of one stream: it takes what follows, passes over repeats, and never sees a gap."""

    def __init__(self) -> None:
        self.position = 0
        self.import_id = 0
        #: Records on their way: (first, last).
        self.coming: list[tuple[int, int]] = []

    def take(self) -> int:
        first, last = self.coming.pop(0)
        assert first <= self.position + 1, f"gap: {first} after {self.position}"
        self.position = max(self.position, last)
        return self.position


class ReplicationMachine(RuleBasedStateMachine):
    """A log that grows, nodes that come and go, streams that break, messages that are late."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.position, self.first = 0, 1
        self.core = Replication(
            ReplicationSettings(batch_updates_max=5, window_updates=12, window_bytes=100, stall_timeout_s=8.0),
            log_id="log", first_position=1, position=0, jitter=lambda: 0.5, import_id=0,
        )  # fmt: skip
        self.receivers = {node: Receiver() for node in NODES}
        self.sessions: dict[str, int] = {}
        self.ended: list[tuple[str, int]] = []
        self.writing: dict[str, Send | SendLogEnd] = {}
        self.feed(NodesKnown(NODES))

    def feed(self, event: ReplicationEvent) -> None:
        self.do(self.core.handle(event, self.now))

    def do(self, actions: list[ReplicationAction]) -> None:
        for action in actions:
            match action:
                case Connect(node, session):
                    self.sessions[node] = session
                    self.receivers[node].coming.clear()
                    self.writing.pop(node, None)
                case EndStream(node, session):
                    self.ended.append((node, session))
                case Send() | SendLogEnd():
                    assert action.node not in self.writing, "two messages under way for one node"
                    assert self.sessions[action.node] == action.session
                    self.writing[action.node] = action

    def connected(self, node: str) -> bool:
        return node in self.core.nodes and node in self.sessions

    @rule(updates=st.integers(1, 20))
    def append(self, updates: int) -> None:
        self.position += updates
        self.feed(Appended(self.position))

    @rule(records=st.integers(1, 10))
    def trim(self, records: int) -> None:
        self.first = max(self.first, min(self.first + records, self.position))
        self.feed(Trimmed(self.first))

    @rule(node=node_names)
    def stand(self, node: str) -> None:
        if self.connected(node):
            receiver = self.receivers[node]
            self.feed(Stood(node, self.sessions[node], "log", receiver.position, receiver.import_id))

    @rule(node=node_names, trouble=st.sampled_from(["other log", "ahead", "differs"]))
    def stand_elsewhere(self, node: str, trouble: str) -> None:
        """It is sent nothing until it stands on this log."""
        if self.connected(node):
            log_id, position = ("x", 7) if trouble == "other log" else ("log", self.position + (trouble == "ahead"))
            differs_at = position if trouble == "differs" else 0
            self.feed(Stood(node, self.sessions[node], log_id, position, 0, differs_at))

    @rule(node=node_names, share=st.integers(1, 5))
    def send(self, node: str, share: int) -> None:
        action = self.writing.get(node)
        if action is None or self.sessions[node] != action.session:
            return
        if isinstance(action, Send) and self.core.nodes[node].sending is action:
            if action.first_position < self.first:  # trimmed since it was asked for
                self.fail_to_read(node, damaged=False)
                return
            last = min(action.last_position, action.first_position + share - 1)
            assert last <= self.position
            self.receivers[node].coming.append((action.first_position, last))
            self.feed(Sent(node, action.session, last, 10 * share))
        del self.writing[node]
        self.feed(Writable(node, action.session))

    @rule(node=node_names, damaged=st.booleans())
    def fail_to_read(self, node: str, damaged: bool) -> None:
        action = self.writing.get(node)
        if isinstance(action, Send) and self.sessions[node] == action.session:
            del self.writing[node]
            self.first = max(self.first, action.first_position + 1 if damaged else 0)
            self.feed(ReadFailed(node, action.session, "unreadable", action.first_position if damaged else 0))

    @rule(node=node_names)
    def apply(self, node: str) -> None:
        receiver = self.receivers[node]
        if self.connected(node) and receiver.coming:
            self.feed(Applied(node, self.sessions[node], receiver.take()))

    @rule(node=node_names)
    def take_snapshot(self, node: str) -> None:
        """A node gets a base from elsewhere; what was on its way before is dropped or a repeat."""
        receiver = self.receivers[node]
        if self.connected(node) and self.core.nodes[node].connected:
            receiver.position = max(receiver.position, self.position)
            receiver.import_id = self.core.import_id
            self.stand(node)

    @rule(node=node_names, late=st.booleans())
    def lose_stream(self, node: str, late: bool) -> None:
        if self.connected(node):
            self.feed(StreamEnded(node, self.sessions[node] - late, "cut"))

    @rule(node=node_names)
    def appear(self, node: str) -> None:
        self.feed(NodeAppeared(node))

    @rule(import_id=st.integers(1, 3))
    def announce(self, import_id: int) -> None:
        self.feed(LogEndChanged(import_id))

    @rule(nodes=st.sets(node_names))
    def membership(self, nodes: set[str]) -> None:
        for node in set(NODES) - nodes:
            self.sessions.pop(node, None)
            self.writing.pop(node, None)
        self.feed(NodesKnown(tuple(sorted(nodes))))

    @rule(seconds=st.floats(0.01, 10.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.core.handle(Tick(), self.now))

    @invariant()
    def rules_hold(self) -> None:
        if hasattr(self, "core"):
            self.core.validate()
            hold_to_deadline(self.core, self.now)


TestReplicationMachine = ReplicationMachine.TestCase
TestReplicationMachine.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
