"""Nodes as the election core meets them, and a ledger that knows who believes to be primary: for tests of the core."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.coordinator.election.election import ElectionCore, ElectionSettings
from services.coordinator.election.events import (
    Action,
    Answer,
    Event,
    Heartbeat,
    NodeState,
    PauseDone,
    PauseFailed,
    Persist,
    Recorded,
    Refuse,
    Role,
    SwitchoverDone,
    SwitchoverFailed,
)
from tests.scenarios.driver import hold_to_deadline

#: How long before its lease's end a node steps down, in seconds.
MARGIN_S = 0.1


@dataclass
class ModelNode:
    """A node's process by the rules that it must keep, written down a second time and as simply as can be."""

    name: str
    incarnation: str
    state: NodeState = NodeState.PASSIVE
    import_id: int = 0
    position: int = 0
    sequence: int = 0
    sent_at: dict[int, float] = field(default_factory=dict)
    epoch: int = 0
    #: When it steps down by itself; None while it is not primary.
    primary_until: float | None = None
    newest_answered: int = 0
    #: After stepping down: the first heartbeat whose answer may give the same epoch back.
    grants_from: int = 0

    def heartbeat(self, now: float) -> Heartbeat:
        self.tick(now)
        self.sequence += 1
        self.sent_at[self.sequence] = now
        primary = self.primary_until is not None
        return Heartbeat(
            node=self.name,
            incarnation=self.incarnation,
            sequence=self.sequence,
            state=NodeState.PRIMARY if primary else self.state,
            import_id=self.import_id,
            position=self.position,
            primary_epoch=self.epoch if primary else 0,
            known_epoch=self.epoch,
            address=f"{self.name}.example.com:50100",
        )

    def tick(self, now: float) -> None:
        """Steps down when the lease is over."""
        if self.primary_until is not None and now >= self.primary_until:
            self.step_down()

    def step_down(self) -> None:
        """Is not primary any more."""
        self.primary_until = None
        self.grants_from = self.sequence + 1

    def turn(self, state: NodeState) -> None:
        """Its life cycle goes on; only a ready node is primary."""
        self.state = state
        if state is not NodeState.PASSIVE and self.primary_until is not None:
            self.step_down()

    def take(self, answer: Answer, now: float) -> None:
        """Takes an answer, early or late."""
        self.tick(now)
        if answer.epoch < self.epoch or answer.sequence < self.newest_answered:
            return
        same_epoch = answer.epoch == self.epoch
        self.newest_answered = answer.sequence
        self.epoch = answer.epoch
        if answer.role is not Role.PRIMARY:
            if self.primary_until is not None:
                self.step_down()
            return
        until = self.sent_at[answer.sequence] + answer.lease_s - MARGIN_S
        too_old = same_epoch and answer.sequence < self.grants_from
        if self.state is NodeState.PASSIVE and now < until and not too_old:
            self.primary_until = until

    def is_primary(self, now: float) -> bool:
        """Whether it would serve the VIP now."""
        return self.primary_until is not None and now < self.primary_until


class Harness:
    """A core whose promises are checked after every step.

    Attributes:
        stored: What the store has; a restart begins with it.
        done: What became of requests.
    """

    def __init__(self, settings: ElectionSettings, hosts_order: tuple[str, ...]) -> None:
        self.settings = settings
        self.hosts_order = hosts_order
        self.stored = Recorded()
        self.done: list[SwitchoverDone | SwitchoverFailed | PauseDone | PauseFailed] = []
        self.nodes: list[ModelNode] = []
        self.granted: dict[int, tuple[str, str]] = {}
        self.epochs = [0]
        self.core = ElectionCore(settings, self.stored, hosts_order, 0.0)

    def restart(self, now: float) -> None:
        """The coordinator's process is killed, and a new one starts at once."""
        self.core = ElectionCore(self.settings, self.stored, self.hosts_order, now)

    def step(self, event: Event, now: float) -> list[Action]:
        """Feeds an event and checks what comes of it."""
        actions = self.core.handle(event, now)
        self.core.validate()
        hold_to_deadline(self.core, max(now, self.core.now_s))
        for action in actions:
            self._check(action)
        return actions

    def _check(self, action: Action) -> None:
        if isinstance(action, Persist):
            assert action.recorded.epoch >= self.stored.epoch
        elif isinstance(action, Answer):
            assert action.epoch <= self.stored.epoch, "told before it was durable"
            if action.role is Role.PRIMARY:
                assert (action.epoch, action.node) == (self.stored.epoch, self.stored.primary)
                owner = self.granted.setdefault(action.epoch, (action.node, action.incarnation))
                assert owner == (action.node, action.incarnation), "one epoch given to two processes"
        elif isinstance(action, SwitchoverDone | SwitchoverFailed | PauseDone | PauseFailed):
            assert action.request not in [done.request for done in self.done], "answered twice"
            self.done.append(action)
        self.epochs.append(self.stored.epoch)
        assert self.epochs[-1] >= self.epochs[-2]

    def check_promises(self, now: float) -> None:
        """At most one process believes that it is primary, and it is the one that was recorded."""
        believers = [(node.name, node.incarnation) for node in self.nodes if node.is_primary(now)]
        assert len(believers) <= 1, f"two primaries: {believers}"


def told(actions: list[Action], kind: type[Action]) -> list[Action]:
    """The actions of one kind."""
    return [action for action in actions if isinstance(action, kind)]


__all__ = ["MARGIN_S", "Harness", "ModelNode", "Refuse", "told"]
