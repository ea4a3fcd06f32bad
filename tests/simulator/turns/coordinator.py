"""The coordinators' side: the real election, over a store whose writes fail, and happen although they seemed to; beside
it the real nomination, of those that stand by and see the lease of the active one late, or not at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from services.coordinator.election.events import Persist, PersistDone, PersistFailed, Recorded
from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.events import LeaseSeen, NodesHold, PusherAnswer, PusherEvent
from services.coordinator.pushers.nomination import PusherNomination
from services.coordinator.pushers.settings import PusherElectionSettings
from services.pusher.leadership.leadership import Told
from services.shared.cores import Tick
from tests.simulator.turns.stores import BrokenPromiseError

if TYPE_CHECKING:
    from tests.simulator.turns.world import World


#: As coordinators take one another for silent.
SILENCE_S = 0.8


class Coordinator:
    """Started again, it has what was recorded."""

    def __init__(self, world: World) -> None:
        self.world, self.alive = world, True
        self.core: PusherElection | None = None
        #: It reaches the store, and everybody, but renews nothing.
        self.forgets_until_s = 0.0
        #: Nodes come back to a coordinator that has started when they come.
        self._hears_nodes_from_s = world.now_s + world.settings_random.uniform(0.0, 5.0)
        #: What writes that failed may have left in the store.
        self._possibly_stored: list[Recorded] = []

    def start(self) -> None:
        """Begins to hear and to elect."""
        self.core = self.world.election(PusherElectionSettings(), self.world.recorded, self.world.now_s)
        self._tick()

    def _tick(self) -> None:
        if self.alive:
            if self.world.now_s >= self.forgets_until_s:
                self.world.renewals += 1
            if self.world.held_log and self.world.now_s >= self._hears_nodes_from_s:
                self._hears_nodes_from_s = math.inf
                self.feed(NodesHold(self.world.held_log))
            self.feed(Tick())
            self.world.later(0.1, self._tick)

    def feed(self, event: PusherEvent) -> None:
        """An event for the core."""
        world = self.world
        if not self.alive or self.core is None:
            return
        expected = self.core.recorded
        actions = self.core.handle(event, world.now_s)
        self.core.validate()
        for action in actions:
            match action:
                case Persist():
                    self._persist(action, expected)
                case PusherAnswer():
                    world.send(lambda answer=action: self._deliver(answer))  # type: ignore[misc]

    def _persist(self, action: Persist, expected: Recorded) -> None:
        world, recorded = self.world, action.recorded
        world.elections += 1
        fails, happens = (not world.calm and world.random.random() < part for part in (0.15, 0.5))

        def land() -> None:
            """At the store, which compares; also of a process that died meanwhile."""
            is_expected = world.recorded == expected or world.recorded in self._possibly_stored
            if is_expected and (happens or (self.alive and not fails)):
                world.record(recorded)
            if fails:
                self._possibly_stored.append(recorded)
                self.feed(PersistFailed(recorded=recorded, reason="cut off"))
            elif is_expected:
                self._possibly_stored.clear()
                self.feed(PersistDone(recorded=recorded))
            elif self.alive:
                world.kill_coordinator()  # as the real one ends where another one wrote

        world.later(0.001 if world.calm else world.random.choice((0.001, 0.05, 0.5)), land)

    def _deliver(self, answer: PusherAnswer) -> None:
        pusher = self.world.pushers[answer.name]
        if pusher.incarnation == answer.incarnation:
            if answer.active:
                self.world.hears(answer.epoch, answer.name, answer.incarnation)
            pusher.hear(told_of(answer))


def told_of(answer: PusherAnswer) -> Told:
    """The answer, as a pusher's core takes it."""
    return Told(answer.active, answer.epoch, answer.active_name, answer.active_address, answer.unfit)


class StandingBy:
    """A coordinator that stands by."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.core = PusherNomination(PusherElectionSettings(), SILENCE_S, world.now_s)
        self._seen, self._seen_since_s = -1, 0.0

    def look(self) -> None:
        """At the lease, again and again."""
        world = self.world
        if world.calm or world.random.random() > 0.2:
            if world.renewals != self._seen:
                self._seen, self._seen_since_s = world.renewals, world.now_s
            self.feed(LeaseSeen(world.recorded, world.now_s - self._seen_since_s))
        world.later(0.1 if world.calm else world.random.choice((0.1, 0.4, 2.0)), self.look)

    def feed(self, event: PusherEvent) -> None:
        """An event for the core."""
        world, named = self.world, self.core.named
        actions = self.core.handle(event, world.now_s)
        self.core.validate()
        world.nominations += self.core.named is not None and self.core.named != named
        for action in actions:
            match action:
                case Persist():
                    raise BrokenPromiseError("one that stands by has something written")
                case PusherAnswer():
                    world.send(lambda answer=action: self._deliver(answer))  # type: ignore[misc]

    def _deliver(self, answer: PusherAnswer) -> None:
        pusher = self.world.pushers[answer.name]
        if pusher.incarnation == answer.incarnation:
            pusher.hear(told_of(answer))
