"""The cores under random events: whatever comes in whatever order, the rules in their files hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.pusher.admission.acks import (
    AckRange,
    Acks,
    WaitBegun,
    WaitGivenUp,
)
from services.pusher.fanout.events import (
    Appended,
    Applied,
    Connect,
    EndStream,
    KnownOutcome,
    LogEndChanged,
    NodeAppeared,
    NodeConfirmed,
    NodesKnown,
    NodeStands,
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
from services.pusher.fanout.progress import ReplicationSettings
from services.pusher.fanout.replication import Replication
from services.pusher.imports.events import (
    CancelLoad,
    HostsKnown,
    ImportAdded,
    ImportPlace,
    Load,
    LoadDone,
    LoadFailed,
    LoadProgress,
    LoadRefused,
    NodeDown,
    NodeUp,
    PrimarySeen,
    Recorded,
    RecordPlace,
    RecordTaken,
    RolloutAction,
    RolloutEvent,
)
from services.pusher.imports.places import KnownImport
from services.pusher.imports.rollout import Rollout, RolloutSettings
from services.shared.cores import Tick

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


class FanOutMachine(RuleBasedStateMachine):
    """A log that grows, nodes that come and go, streams that break, messages that are late."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.position, self.first = 0, 1
        self.core = Replication(
            ReplicationSettings(batch_updates_max=5, window_updates=12, window_bytes=100, stall_timeout_s=8.0),
            log_id="log", first_position=1, position=0, jitter=lambda: 0.5,
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

    @rule(node=node_names, share=st.integers(1, 5))
    def send(self, node: str, share: int) -> None:
        action = self.writing.get(node)
        if action is None or self.sessions[node] != action.session:
            return
        if isinstance(action, Send) and self.core.nodes[node].sending is action:
            if action.first_position < self.first:  # trimmed since it was asked for
                self.fail_to_read(node)
                return
            last = min(action.last_position, action.first_position + share - 1)
            assert last <= self.position
            self.receivers[node].coming.append((action.first_position, last))
            self.feed(Sent(node, action.session, last, 10 * share))
        del self.writing[node]
        self.feed(Writable(node, action.session))

    @rule(node=node_names)
    def fail_to_read(self, node: str) -> None:
        action = self.writing.get(node)
        if isinstance(action, Send) and self.sessions[node] == action.session:
            del self.writing[node]
            self.feed(ReadFailed(node, action.session, "damaged"))

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


class RolloutMachine(RuleBasedStateMachine):
    """Imports that come at any time, nodes that fail in every way, a pusher that dies and starts again."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.imports: dict[int, tuple[ImportPlace, bool]] = {}
        self.serves = dict.fromkeys(NODES, 0)
        self.up: set[str] = set()
        self.start()

    def start(self) -> None:
        known = tuple(KnownImport(import_id, *rest) for import_id, rest in self.imports.items())
        self.core = Rollout(RolloutSettings(), known)
        self.load: Load | None = None
        self.unrecorded: list[int] = []
        self.up.clear()
        self.feed(HostsKnown(NODES))

    def feed(self, event: RolloutEvent) -> None:
        self.do(self.core.handle(event, self.now))

    def do(self, actions: list[RolloutAction]) -> None:
        for action in actions:
            match action:
                case Load():
                    assert self.load is None, "two loads at once"
                    assert not self.unrecorded, "a load before the canary's was on disk"
                    assert action.node in self.up
                    self.load = action
                case CancelLoad():
                    self.load = None
                case RecordTaken(import_id):
                    self.unrecorded.append(import_id)
                case RecordPlace(import_id, place):
                    self.imports[import_id] = (place, self.imports[import_id][1])

    @rule()
    def add(self) -> None:
        import_id = len(self.imports) + 1
        self.imports[import_id] = (ImportPlace.WAITING, False)
        self.feed(ImportAdded(import_id))

    @rule(node=node_names)
    def come_up(self, node: str) -> None:
        self.up.add(node)
        self.feed(NodeUp(node, self.serves[node]))

    @rule(node=node_names)
    def go_down(self, node: str) -> None:
        self.up.discard(node)
        self.feed(NodeDown(node))

    @rule(node=st.none() | node_names)
    def elect(self, node: str | None) -> None:
        self.feed(PrimarySeen(node))

    @rule()
    def record(self) -> None:
        if self.unrecorded:
            import_id = self.unrecorded.pop()
            self.imports[import_id] = (self.imports[import_id][0], True)
            self.feed(Recorded(import_id))

    def finish(self, event: Callable[[Load], RolloutEvent]) -> None:
        load, self.load = self.load, None
        if load is not None:
            self.feed(event(load))

    @rule(told=st.booleans())
    def load_is_done(self, told: bool) -> None:
        """The node takes it; its last word may be lost."""
        if self.load is not None:
            self.serves[self.load.node] = max(self.serves[self.load.node], self.load.import_id)
        if told:
            self.finish(lambda load: LoadDone(load.node, load.attempt, (1, 2)))
        else:
            self.finish(lambda load: LoadFailed(load.node, load.attempt, "cut", True))

    @rule()
    def load_is_refused(self) -> None:
        self.finish(lambda load: LoadRefused(load.node, load.attempt, "bad"))

    @rule(begun=st.booleans())
    def load_fails(self, begun: bool) -> None:
        self.finish(lambda load: LoadFailed(load.node, load.attempt, "died", begun))

    @rule()
    def load_goes_on(self) -> None:
        if self.load is not None:
            self.feed(LoadProgress(self.load.node, self.load.attempt))

    @rule(seconds=st.floats(0.1, 200.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.core.handle(Tick(), self.now))

    @rule()
    def restart(self) -> None:
        self.start()

    @invariant()
    def rules_hold(self) -> None:
        if not hasattr(self, "core"):
            return
        self.core.validate()
        in_force = self.core.in_force
        assert in_force == max((number for number, (_, taken) in self.imports.items() if taken), default=0)


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
            assert self.core.waiting == len(self.waiting)


_SETTINGS = settings(
    max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("machine", [FanOutMachine, RolloutMachine, AcksMachine])
def test_random_stories(machine: type[RuleBasedStateMachine]) -> None:
    case = machine.TestCase
    case.settings = _SETTINGS
    case("runTest").debug()
