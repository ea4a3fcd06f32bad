"""The rollout core under random events: whatever comes in whatever order, its rules hold."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
from services.pusher.imports.rollout import Rollout
from services.pusher.imports.settings import RolloutSettings
from services.shared.cores import Tick
from tests.scenarios.driver import hold_to_deadline

NODES = ("a:1", "b:1", "c:1")
node_names = st.sampled_from(NODES)


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
        hold_to_deadline(self.core, self.now)
        in_force = self.core.in_force
        assert in_force == max((number for number, (_, taken) in self.imports.items() if taken), default=0)


TestRolloutMachine = RolloutMachine.TestCase
TestRolloutMachine.settings = settings(
    max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
