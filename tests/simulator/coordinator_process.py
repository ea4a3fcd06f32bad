"""The coordinator's shell in the simulator: the real election core, a store on a simulated disk, heartbeat streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.coordinator.election.election import ElectionCore, ElectionSettings
from services.coordinator.election.events import (
    READY_STATES,
    Action,
    Answer,
    ClusterChanged,
    Event,
    Heartbeat,
    NodeState,
    PauseAsked,
    PauseDone,
    PauseFailed,
    Persist,
    PersistDone,
    PersistFailed,
    Recorded,
    Refuse,
    ResumeAsked,
    Role,
    StreamEnded,
    SwitchoverAsked,
    SwitchoverDone,
    SwitchoverFailed,
)
from services.shared.cores import Tick
from tests.simulator.checkers import Reign, Violation
from tests.simulator.disk import Service
from tests.simulator.messages import ClusterSeen
from tests.simulator.network import End, Network
from tests.simulator.world import Clock, World

Operation = SwitchoverAsked | PauseAsked | ResumeAsked


class CoordinatorProcess(Service):
    """One coordinator, with a store that survives it."""

    core: ElectionCore
    core_class = ElectionCore

    def __init__(
        self, world: World, network: Network, clock: Clock, settings: ElectionSettings, hosts: list[str], reign: Reign
    ) -> None:
        super().__init__(world, "coordinator", clock)
        self.disk.unsure_chance = 0.3
        self._network = network
        self.settings = settings
        self._hosts = hosts
        self._reign = reign
        #: The newest stream of each process (node, incarnation).
        self._streams: dict[tuple[str, str], End] = {}
        #: For the checker: the state that each process last said it is in.
        self._said: dict[tuple[str, str], tuple[int, NodeState]] = {}
        self._planned_at: float | None = None
        self._requests = 0
        self._waiting: dict[int, Callable[[Action], None]] = {}
        #: Those who watch the cluster (pushers), told of each change.
        self._watchers: dict[End, None] = {}
        self.switchovers = 0
        #: The checker of switchovers that are done.
        self.check_switchover: Callable[[SwitchoverDone], None] = lambda _: None

    def on_start(self) -> None:
        """Reads its store; whoever it knew has to come again."""
        recorded = self.disk.read("recorded", Recorded())
        self._reign.saw_epoch("the store", recorded.epoch)
        self._streams.clear()
        self._said.clear()
        self._waiting.clear()
        self._watchers.clear()
        self.core = self.core_class(self.settings, recorded, self._hosts, self.clock.now())
        self._planned_at = None
        self._plan()

    def on_crash(self) -> None:
        """Memory is gone."""
        self.disk.crash()
        self._network.died(self, reset=self.world.random.random() < 0.7)

    def accept(self, kind: str, end: End, opening: Any) -> None:
        """Heartbeats of a node, the view of a watcher, or an operator's wish."""
        if kind == "keepalive":
            end.on_message = lambda heartbeat: self._heartbeat(end, heartbeat)
        elif kind == "watch":
            self._watchers[end] = None
            end.on_end = lambda _: self._unwatch(end)
            end.send(self.seen())
        else:
            self._operate(end, opening)

    def seen(self) -> ClusterSeen:
        """The cluster, as watchers are told."""
        now = self.clock.now()
        alive = tuple(lease.node for lease in self.core.leases if lease.is_alive(now))
        return ClusterSeen(alive, self.core.seat.primary)

    def _unwatch(self, end: End) -> None:
        self._watchers.pop(end, None)

    def _heartbeat(self, end: End, heartbeat: Heartbeat) -> None:
        process = (heartbeat.node, heartbeat.incarnation)
        if self._streams.get(process) is not end:
            self._streams[process] = end
            end.on_end = lambda _: self._ended(end, process)
        # An older stream's may come late.
        self._said[process] = max(self._said.get(process, (0, heartbeat.state)), (heartbeat.sequence, heartbeat.state))
        self.handle(heartbeat)

    def _ended(self, end: End, process: tuple[str, str]) -> None:
        if self._streams.get(process) is end:
            del self._streams[process]
            self.handle(StreamEnded(node=process[0], incarnation=process[1]))

    def _operate(self, end: End, opening: tuple[str, str]) -> None:
        self._requests += 1
        request, (wish, node) = self._requests, opening
        event: Operation
        if wish == "switchover":
            event = SwitchoverAsked(request=request, to_node=node)
        elif wish == "pause":
            event = PauseAsked(request=request)
        else:
            event = ResumeAsked(request=request)
        self.tell(f"{wish} {node}")
        self._waiting[request] = lambda action: self._answer_operator(end, action)
        self.handle(event)

    def _answer_operator(self, end: End, action: Action) -> None:
        if isinstance(action, SwitchoverDone):
            self.switchovers += 1
            self.check_switchover(action)
        self.tell(str(action))
        end.send(action)
        end.close()

    def handle(self, event: Event) -> None:
        """Tells the core, performs what it asks, and plans its next tick."""
        self._perform(self.core.handle(event, self.clock.now()))
        self.core.validate()
        self._plan()

    def _plan(self) -> None:
        deadline_s = self.core.deadline_s
        if deadline_s is not None and (self._planned_at is None or deadline_s < self._planned_at - 1e-9):
            self._planned_at = deadline_s
            # A timer is late rather than early, as the event loop's are.
            self.timer(deadline_s - self.clock.now() + 0.0005, self._wake, deadline_s)

    def _wake(self, planned_at: float) -> None:
        if self._planned_at == planned_at:
            self._planned_at = None
            self.handle(Tick())

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Answer():
                    self._answer(action)
                case Persist(recorded=recorded):
                    self.persist(recorded)
                case ClusterChanged():
                    for watcher in list(self._watchers):
                        watcher.send(self.seen())
                case Refuse(node=node, incarnation=incarnation):
                    stream = self._streams.pop((node, incarnation), None)
                    if stream is not None:
                        stream.close("ALREADY_EXISTS")
                case SwitchoverDone() | SwitchoverFailed() | PauseDone() | PauseFailed():
                    waiting = self._waiting.pop(action.request, None)
                    if waiting is not None:
                        waiting(action)

    def persist(self, recorded: Recorded) -> None:
        """Writes the record; tells the core how it went."""
        self.disk.write("recorded", recorded, lambda ok: self._persisted(recorded, ok))

    def _persisted(self, recorded: Recorded, ok: bool) -> None:
        if ok:
            self.tell(f"recorded epoch {recorded.epoch}, primary {recorded.primary}, paused {recorded.paused}")
            self.handle(PersistDone(recorded=recorded))
        else:
            self.handle(PersistFailed(recorded=recorded, reason="the disk is full"))

    def _answer(self, answer: Answer) -> None:
        if answer.role is Role.PRIMARY:
            _, state = self._said.get((answer.node, answer.incarnation), (0, None))
            if state not in READY_STATES:
                raise Violation(f"elected: {answer.node}, which does not say that it is ready")
            self._reign.elected(answer.epoch, f"{answer.node}/{answer.incarnation}")
        stream = self._streams.get((answer.node, answer.incarnation))
        if stream is not None:
            stream.send(answer)
