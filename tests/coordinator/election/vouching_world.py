"""Several coordinators over one record, and nodes, in virtual time: the real elections and the real roles, where
messages are slow or lost, clocks run apart, coordinators stand still, and take turns as their lease has it.

Checked after every event: at most one node believes that it is primary, each by its own clock.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.coordinator.election.events import (
    Action,
    Answer,
    Event,
    Heartbeat,
    NodeState,
    PauseAsked,
    Persist,
    PersistDone,
    PersistFailed,
    Recorded,
    ResumeAsked,
    Role,
    SwitchoverAsked,
)
from services.coordinator.election.settings import ElectionSettings
from services.coordinator.election.vouching import VouchedElection, vouched_s
from services.shared.cores import Tick
from services.treenode.node.role import HeartbeatSent, LeaseAnswered, ReadyChanged, RoleCore, RoleEvent, Vouched
from services.treenode.node.settings import RoleSettings

FAULTS_S, CALM_S = 30.0, 12.0
RATE_OFF_MAX = 0.04
_BEAT_S = 0.25
_NAMES = ("n1", "n2", "n3")


class BrokenPromiseError(AssertionError):
    """What must never be."""


@dataclass(frozen=True)
class Kinds:
    """What the parts are: a planted bug is in one of them."""

    election: type[VouchedElection] = VouchedElection
    role: type[RoleCore] = RoleCore
    vouched_s: Callable[[Recorded, str, str, int], float] = vouched_s
    #: A coordinator vouches by what it read so long ago, in seconds.
    old_read_s: float = 0.0


class World:
    """One story."""

    def __init__(self, seed: int, kinds: Kinds = Kinds()) -> None:
        self.random = random.Random(seed)
        self.kinds = kinds
        self.now_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        #: The record, whose it is to write, and all that it was before.
        self.recorded = Recorded()
        self.writer = -1
        self.records: list[tuple[float, Recorded]] = [(0.0, self.recorded)]
        self.nodes = [Node(self, name) for name in _NAMES]
        self.coordinators = [Coordinator(self, number) for number in range(3)]
        #: Figures: takeovers, and those after which the same process is primary in the same epoch.
        self.takeovers = self.kept = self.vouched = self.elections = 0

    @property
    def calm(self) -> bool:
        return self.now_s > FAULTS_S

    def later(self, wait_s: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now_s + wait_s, next(self._numbers), do))

    def send(self, do: Callable[[], None]) -> None:
        """A message: late, or lost."""
        if self.calm or self.random.random() > 0.03:
            slow = (0.001, 0.002, 0.01, 0.05, self.random.uniform(0.0, 1.5))
            self.later(0.002 if self.calm else self.random.choice(slow), do)

    def run(self) -> World:
        """The whole story. Raises BrokenPromiseError."""
        for node in self.nodes:
            node.beat()
        self._take_over()
        self.later(2.0, self._break)
        while self._due and self.now_s < FAULTS_S + CALM_S:
            self.now_s, _, do = heapq.heappop(self._due)
            do()
            believers = [node.name for node in self.nodes if node.alive and node.role.is_primary(node.clock_s)]
            if len(believers) > 1:
                raise BrokenPromiseError(f"two primaries: {believers}")
        if not any(node.alive and node.role.is_primary(node.clock_s) for node in self.nodes):
            raise BrokenPromiseError("nobody is primary, though nothing fails")
        return self

    # -- turns, as the lease among coordinators has them

    def _take_over(self) -> None:
        """Another one begins: nobody else acts by now."""
        fit = [each for each in self.coordinators if each.still_until_s <= self.now_s]
        if not fit:
            self.later(0.5, self._take_over)
            return
        chosen = self.random.choice(fit)
        self.writer = chosen.number
        self.takeovers += 1
        before = self.recorded
        chosen.begin()
        self.later(1.2, lambda: self._judge(before))

    def _judge(self, before: Recorded) -> None:
        node = next((node for node in self.nodes if node.name == self.recorded.primary), None)
        same = (before.epoch, before.primary) == (self.recorded.epoch, self.recorded.primary)
        self.kept += same and node is not None and node.role.is_primary(node.clock_s)

    def _break(self) -> None:
        if self.calm:
            return
        draw = self.random
        active = self.coordinators[self.writer]
        node = draw.choice(self.nodes)
        until_s = self.now_s + draw.uniform(0.2, 4.0)
        match draw.randrange(9):
            case 0 | 1 | 2 if active.core is not None and not active.is_ending:
                # It is gone, or can't renew: what it may do ends, and some time later another one begins.
                active.is_ending = True
                left_s = draw.choice((0.0, draw.uniform(0.0, 1.7)))
                self.later(left_s, active.end)
                self.later(left_s + draw.uniform(0.05, 2.4), self._take_over)
            case 3:
                draw.choice(self.coordinators).still_until_s = until_s
            case 4 | 5:
                node.cut_until_s[draw.randrange(3)] = until_s
            case 6:
                node.still_until_s = until_s
            case 7:
                node.restart()
            case _:
                asked = draw.choice((SwitchoverAsked(request=draw.getrandbits(40), to_node=""),
                                     PauseAsked(request=draw.getrandbits(40))))  # fmt: skip
                active.feed(asked)
                if isinstance(asked, PauseAsked):
                    self.later(1.5, self._resume)
        self.later(draw.uniform(0.3, 2.0), self._break)

    def _resume(self) -> None:
        active = self.coordinators[self.writer]
        if active.core is None or active.core.recorded.paused is False:
            if self.recorded.paused:
                self.later(0.5, self._resume)
            return
        active.feed(ResumeAsked(request=self.random.getrandbits(40)))
        self.later(0.5, self._resume)

    # -- the record

    def write(self, number: int, expected: tuple[Recorded, ...], recorded: Recorded) -> bool:
        """Compared and replaced in one step."""
        if number != self.writer or self.recorded not in expected:
            return False
        if recorded.epoch < self.recorded.epoch:
            raise BrokenPromiseError(f"the epoch went from {self.recorded.epoch} to {recorded.epoch}")
        self.elections += recorded.epoch > self.recorded.epoch
        self.recorded = recorded
        self.records.append((self.now_s, recorded))
        return True

    def read(self) -> Recorded:
        """As it is, or, of a planted bug, as it was."""
        as_of_s = self.now_s - self.kinds.old_read_s
        return next(recorded for at_s, recorded in reversed(self.records) if at_s <= as_of_s or at_s == 0.0)


class _Machine:
    """A clock of its own, and times at which it stands still."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._rate = 1.0 + world.random.uniform(-RATE_OFF_MAX, RATE_OFF_MAX)
        self._offset_s = world.random.uniform(0.0, 1e4)
        self.still_until_s = 0.0
        self.alive = True

    @property
    def clock_s(self) -> float:
        return self._offset_s + self.world.now_s * self._rate

    def awake(self, do: Callable[[], None]) -> None:
        """Now, or once it stands still no more."""
        left_s = self.still_until_s - self.world.now_s
        if left_s > 0:
            self.world.later(left_s, lambda: self.awake(do))
        else:
            do()


class Coordinator(_Machine):
    """Stands by, or acts: then it has a core."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world)
        self.number = number
        self.core: VouchedElection | None = None
        self.is_ending = False
        self._possibly_stored: list[Recorded] = []

    def begin(self) -> None:
        self.is_ending, self._possibly_stored = False, []
        settings = ElectionSettings()
        self.core = self.world.kinds.election(settings, self.world.recorded, (), self.clock_s)
        self._tick(self.core)

    def end(self) -> None:
        self.core = None

    def _tick(self, core: VouchedElection) -> None:
        if self.core is core:
            self.awake(lambda: self.feed(Tick()))
            self.world.later(0.02, lambda: self._tick(core))

    def feed(self, event: Event | Tick) -> None:
        if self.core is None or self.still_until_s > self.world.now_s:
            return
        expected = self.core.recorded
        actions = self.core.handle(event, self.clock_s)
        self.core.validate()
        for action in actions:
            self._perform(action, expected)

    def _perform(self, action: Action, expected: Recorded) -> None:
        world = self.world
        match action:
            case Persist():
                self._persist(action.recorded, expected)
            case Answer():
                node = next(node for node in world.nodes if node.name == action.node)
                if not node.is_cut(self.number):
                    world.send(lambda: node.hear(action))

    def _persist(self, recorded: Recorded, expected: Recorded) -> None:
        world, core, number = self.world, self.core, self.number
        fails, happens = (not world.calm and world.random.random() < part for part in (0.15, 0.5))
        possibly = tuple(self._possibly_stored)

        def land() -> None:
            done = (happens or not fails) and world.write(number, (expected, *possibly), recorded)
            world.later(0.001 if world.calm else world.random.choice((0.001, 0.01, 0.3)), lambda: told(done))

        def told(done: bool) -> None:
            if self.core is not core:
                return
            if done and not fails:
                self._possibly_stored.clear()
                self.awake(lambda: self._told(core, PersistDone(recorded=recorded)))
            else:
                self._possibly_stored.append(recorded)
                self.awake(lambda: self._told(core, PersistFailed(recorded=recorded, reason="cut off")))

        world.later(0.001 if world.calm else world.random.choice((0.001, 0.01, 0.4)), land)

    def _told(self, core: VouchedElection | None, event: PersistDone | PersistFailed) -> None:
        if self.core is core:
            self.feed(event)

    def vouch(self, node: Node, incarnation: str, epoch: int, answered: Callable[[float], None]) -> None:
        """Looks at the record anew, and says for how long."""
        world = self.world

        def read() -> None:
            recorded = world.read()
            lease_s = world.kinds.vouched_s(recorded, node.name, incarnation, epoch)
            world.send(lambda: self.awake(lambda: world.send(lambda: answered(lease_s))))

        self.awake(lambda: world.send(read))


class Node(_Machine):
    """A node's process; started again it is another one."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world)
        self.name = name
        self.cut_until_s = dict.fromkeys(range(3), 0.0)
        self._lives = itertools.count(1)
        self._known_epoch = 0
        self._begin()

    def _begin(self) -> None:
        self.incarnation = f"{self.name}-{next(self._lives)}"
        self.role = self.world.kinds.role(RoleSettings())
        self.role.epoch = self._known_epoch
        self._feed(ReadyChanged(ready=True))
        self._sequence = 0
        self._answered_at_s = self.clock_s

    def restart(self) -> None:
        self._known_epoch = self.role.epoch
        self._begin()

    def is_cut(self, number: int) -> bool:
        return self.world.now_s < self.cut_until_s[number]

    def _feed(self, event: RoleEvent) -> None:
        self.role.handle(event, self.clock_s)
        self.role.validate()

    def beat(self) -> None:
        """A heartbeat to whoever acts; a question to each, where none was answered for a while."""
        self.awake(self._say)
        self.world.later(_BEAT_S / 2, self.beat)

    def _say(self) -> None:
        self._feed(Tick())
        world = self.world
        self._sequence += 1
        self._feed(HeartbeatSent(self._sequence))
        primary = self.role.primary_epoch
        heartbeat = Heartbeat(
            node=self.name,
            incarnation=self.incarnation,
            sequence=self._sequence,
            state=NodeState.PRIMARY if self.role.lease_until_s is not None else NodeState.PASSIVE,
            import_id=1,
            position=7,
            primary_epoch=primary,
            known_epoch=self.role.epoch,
            address=f"{self.name}:1",
            log_id="log",
        )
        for coordinator in world.coordinators:
            if not self.is_cut(coordinator.number):
                world.send(lambda to=coordinator: to.awake(lambda: to.feed(heartbeat)))  # type: ignore[misc]
        silent = self.clock_s - self._answered_at_s > 1.5 * _BEAT_S
        if primary and (silent or world.random.random() < 0.3):
            self._ask(primary)

    def _ask(self, epoch: int) -> None:
        asked_at_s, incarnation, world = self.clock_s, self.incarnation, self.world

        def answered(lease_s: float) -> None:
            if lease_s and incarnation == self.incarnation:
                world.vouched += 1
                self.awake(lambda: self._take(incarnation, Vouched(epoch, asked_at_s, lease_s)))

        for coordinator in world.coordinators:
            if not self.is_cut(coordinator.number):
                world.send(lambda to=coordinator: to.vouch(self, incarnation, epoch, answered))  # type: ignore[misc]

    def _take(self, incarnation: str, event: Vouched) -> None:
        if incarnation == self.incarnation:
            self._feed(event)

    def hear(self, answer: Answer) -> None:
        def take() -> None:
            if answer.incarnation == self.incarnation:
                self._answered_at_s = self.clock_s
                primary = answer.role is Role.PRIMARY
                self._feed(LeaseAnswered(answer.sequence, primary, answer.epoch, answer.lease_s))

        self.awake(take)


__all__ = ["BrokenPromiseError", "Kinds", "World", "replace"]
