"""What the processes share, the chance that they meet, and what is promised."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import replace

from services.coordinator.election.events import Recorded
from services.coordinator.pushers.election import PusherElection
from tests.simulator.turns.client import Client
from tests.simulator.turns.coordinator import Coordinator, StandingBy
from tests.simulator.turns.pusher import Pusher
from tests.simulator.turns.stores import ENGINES, BrokenPromiseError, ModelStore

FAULTS_S, CALM_S = 40.0, 30.0
#: What is pushed from then on is to be taken: nothing fails for a while by then.
_TAKEN_FROM_S = FAULTS_S + 15.0
NAMES = ("p1", "p2", "p3")


class World:
    """One story. `bugs`: what a planted one leaves out; `election`: one may be planted there as well.

    Checked at each write and each receipt: what has a receipt stands in the log, at its position, for good; no id
    stands there twice; a client's updates stand there in its order; no epoch is told to two pushers by whoever is
    active, none is taken by two, and none goes down; no log that nodes refuse is taken for the cluster's. Checked at
    the end, when nothing has failed for a while: pushes are taken, whoever else stands by over another log.
    """

    def __init__(
        self, seed: int, bugs: frozenset[str] = frozenset(), election: type[PusherElection] = PusherElection
    ) -> None:
        self.random, self.settings_random = random.Random(seed), random.Random(f"settings of {seed}")
        self.bugs, self.election = bugs, election
        self.now_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        engine = self.random.choice(ENGINES)
        self.store = ModelStore(engine, bugs, self._wrote, "the cluster's")
        #: What some pushers find that are started with the wrong settings.
        self.other_store = ModelStore(engine, bugs, self._wrote_elsewhere, "another")
        #: Where each id stands in the log.
        self._places: dict[str, int] = {}
        #: What has a receipt: id to position.
        self.acknowledged: dict[str, int] = {}
        self._told: dict[int, tuple[str, str]] = {}
        #: Who took an epoch.
        self._taken: dict[int, str] = {}
        #: How often the active coordinator renewed its lease.
        self.renewals = 0
        self.recorded = Recorded()
        #: Figures: a story that has none of these shows little.
        self.elections = self.nominations = self.unknown_outcomes = self.beliefs_of_two = 0
        self.astray = self.astray_active = 0
        self.coordinator = Coordinator(self)
        self.standing_by = [StandingBy(self) for _ in range(2)]
        self.pushers = {name: Pusher(self, name) for name in NAMES}
        self.clients = [Client(self, f"c{number}") for number in range(2)]

    @property
    def calm(self) -> bool:
        """Nothing fails any more."""
        return self.now_s > FAULTS_S

    @property
    def held_log(self) -> str:
        """What the nodes hold the state of; empty before there is any."""
        return self.store.log_id if self.acknowledged else ""

    # ---- what happens when -------------------------------------------------------------------------------------------

    def later(self, wait_s: float, do: Callable[[], None]) -> None:
        """Does it after so long."""
        heapq.heappush(self._due, (self.now_s + wait_s, next(self._numbers), do))

    def send(self, do: Callable[[], None], lost: float = 0.05) -> None:
        """A message: late, or lost by that chance."""
        if self.calm or self.random.random() > lost:
            slow = (0.001, 0.01, 0.05, self.random.uniform(0.0, 2.0))
            self.later(0.002 if self.calm else self.random.choice(slow), do)

    def run(self) -> World:
        """The whole story. Raises BrokenPromiseError."""
        for pusher in self.pushers.values():
            pusher.start()
        self.coordinator.start()
        for each in self.standing_by:
            each.look()
        self.later(1.0, self._break)
        for client in self.clients:
            client.start()
        while self._due and self.now_s < FAULTS_S + CALM_S:
            self.now_s, _, do = heapq.heappop(self._due)
            do()
        if not any(client.newest_taken_s > _TAKEN_FROM_S for client in self.clients):
            raise BrokenPromiseError("nothing is taken any more, though nothing fails")
        return self

    def _break(self) -> None:
        if self.calm:
            return
        pusher = self.random.choice(list(self.pushers.values()))
        until_s = self.now_s + self.random.uniform(0.1, 4.0)
        match self.random.randrange(7):
            case 0:
                self._kill_pusher(pusher)
            case 1:
                pusher.still_until_s = until_s
            case 2:
                self.kill_coordinator()
            case 3:
                pusher.cut_until_s = until_s
            case 4:
                pusher.link.cut_until_s = until_s
            case 5:
                self.coordinator.forgets_until_s = until_s
            case _:  # a machine
                self.kill_coordinator()
                self._kill_pusher(pusher)
        self.later(self.random.uniform(0.2, 2.0), self._break)

    def _kill_pusher(self, pusher: Pusher) -> None:
        pusher.alive = False
        self.pushers[pusher.name] = Pusher(self, pusher.name, pusher.lives + 1)
        self.later(self.random.uniform(0.1, 3.0), self.pushers[pusher.name].start)

    def kill_coordinator(self) -> None:
        """Another one begins, with what is recorded."""
        self.coordinator.alive = False
        self.coordinator = Coordinator(self)
        self.later(self.random.uniform(0.1, 2.0), self.coordinator.start)

    # ---- what is promised --------------------------------------------------------------------------------------------

    def _wrote(self, behind: int, update_ids: list[str], before: list[str]) -> None:
        for update_id in before:
            if update_id in self.acknowledged:
                raise BrokenPromiseError(f"lost: {update_id} has a receipt, and something else was put in its place")
            del self._places[update_id]
        for position, update_id in enumerate(update_ids, behind + 1):
            if (other := self._places.setdefault(update_id, position)) != position:
                raise BrokenPromiseError(f"twice: {update_id} stands at {other} and at {position}")
        if sum(pusher.serves for pusher in self.pushers.values()) > 1:
            self.beliefs_of_two += 1

    def _wrote_elsewhere(self, behind: int, update_ids: list[str], before: list[str]) -> None:
        raise BrokenPromiseError(f"log: {update_ids} behind {behind} of another one than the cluster's")

    def acknowledge(self, update_id: str, position: int) -> None:
        """A client has a receipt."""
        if self._places.get(update_id) != position:
            raise BrokenPromiseError(f"receipt: {update_id} has one for {position}, and is not there")
        if self.acknowledged.setdefault(update_id, position) != position:
            raise BrokenPromiseError(f"receipt: {update_id} has two of different positions")

    def hears(self, epoch: int, name: str, incarnation: str) -> None:
        """A pusher is told that it is active."""
        if self._told.setdefault(epoch, (name, incarnation)) != (name, incarnation):
            raise BrokenPromiseError(f"epoch: {epoch} is told to {name} and to {self._told[epoch][0]}")

    def takes(self, epoch: int, name: str) -> None:
        """A pusher is active in that epoch."""
        if self._taken.setdefault(epoch, name) != name:
            raise BrokenPromiseError(f"epoch: {epoch} is taken by {name} and by {self._taken[epoch]}")

    def record(self, recorded: Recorded) -> None:
        """The coordinator's store has it."""
        of_the_log = replace(self.recorded, pusher_log=recorded.pusher_log)
        if recorded != of_the_log and recorded.pusher_epoch <= self.recorded.pusher_epoch:
            raise BrokenPromiseError(f"epoch: {recorded.pusher_epoch} after {self.recorded.pusher_epoch}")
        if recorded.pusher_log not in (self.store.log_id, "") or (self.recorded.pusher_log and not recorded.pusher_log):
            raise BrokenPromiseError(f"log: {recorded.pusher_log or 'none'} is taken for the cluster's")
        self.recorded = recorded
