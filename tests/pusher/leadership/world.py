"""Several pushers, a coordinator and one log in virtual time: the real cores of both sides, over a network that is slow
and loses things, with processes that die, stand still, and believe what is over.

Checked at each step: what has a receipt stands in the log at its position; no id stands there twice; no epoch is told
to two pushers, and none goes down. Checked at the end, when nothing has failed for a while: pushes are taken.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from services.coordinator.election.events import Persist, PersistDone, PersistFailed, Recorded
from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.events import PusherAnswer, PusherBeat, PusherEvent, PusherState
from services.coordinator.pushers.settings import PusherElectionSettings
from services.pusher.leadership.leadership import (
    BecomeActive,
    Claim,
    Claimed,
    ClaimFailed,
    ClaimRefused,
    Deposed,
    PusherTurn,
    StepDown,
    Told,
    Turn,
    TurnEvent,
)
from services.pusher.log.fencing.fence import Fence
from services.pusher.log.store import DeposedError
from services.shared.cores import Tick

FAULTS_S, CALM_S = 40.0, 30.0
BEAT_S = 0.25
NAMES = ("p1", "p2", "p3")


class BrokenPromiseError(AssertionError):
    """What must never be."""


@dataclass
class ModelLog:
    """The log's store. A writer says where it writes, as it believes; what keeps it from writing is the fence alone."""

    records: list[str] = field(default_factory=list)
    fence: Fence = field(default_factory=lambda: Fence(0, "", 0))

    def claim(self, epoch: int, holder: str) -> tuple[Fence, list[str]]:
        """The fence of this claim, and all that is stored. Raises DeposedError."""
        self.fence = self.fence.claimed(epoch, holder)
        return self.fence, list(self.records)

    def check(self, own: Fence | None) -> None:
        """Raises DeposedError where another claim is the newest."""
        self.fence.check(own)

    def write(self, behind: int, update_id: str) -> None:
        """Puts it behind that position, whatever is there."""
        self.records[behind:] = [update_id]


class World:
    """Everything that processes share, and the chance that they meet. `bugs`: what a planted one leaves out."""

    def __init__(
        self, seed: int, bugs: frozenset[str] = frozenset(), election: type[PusherElection] = PusherElection
    ) -> None:
        self.random = random.Random(seed)
        self.bugs, self.election = bugs, election
        self.now_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.log = ModelLog()
        #: What has a receipt: id to position.
        self.acknowledged: dict[str, int] = {}
        self.told: dict[int, tuple[str, str]] = {}
        self.recorded = Recorded()
        self.coordinator = Coordinator(self)
        self.pushers = {name: Pusher(self, name) for name in NAMES}
        self.elections = 0

    @property
    def calm(self) -> bool:
        return self.now_s > FAULTS_S

    def later(self, wait_s: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now_s + wait_s, next(self._numbers), do))

    def send(self, do: Callable[[], None]) -> None:
        """A message: late, or lost."""
        if self.calm or self.random.random() > 0.05:
            slow = (0.001, 0.01, 0.05, self.random.uniform(0.0, 2.0))
            self.later(0.002 if self.calm else self.random.choice(slow), do)

    def run(self) -> World:
        for pusher in self.pushers.values():
            pusher.start()
        self.coordinator.start()
        self.later(1.0, self._break)
        Client(self).start()
        while self._due and self.now_s < FAULTS_S + CALM_S:
            self.now_s, _, do = heapq.heappop(self._due)
            do()
            self._check()
        late = [
            name for name, at in self.acknowledged.items() if float(name.partition("@")[2]) > FAULTS_S + 15.0 and at
        ]
        if not late:
            raise BrokenPromiseError("nothing is taken any more, though nothing fails")
        return self

    def _break(self) -> None:
        if self.calm:
            return
        pusher = self.random.choice(list(self.pushers.values()))
        match self.random.randrange(4):
            case 0:
                self.pushers[pusher.name] = Pusher(self, pusher.name, pusher.lives + 1)
                pusher.alive = False
                self.later(self.random.uniform(0.1, 3.0), self.pushers[pusher.name].start)
            case 1:
                pusher.still_until_s = self.now_s + self.random.uniform(0.1, 4.0)
            case 2:
                self.coordinator.alive = False
                self.coordinator = Coordinator(self)
                self.later(self.random.uniform(0.1, 2.0), self.coordinator.start)
            case _:
                pusher.cut_until_s = self.now_s + self.random.uniform(0.1, 4.0)
        self.later(self.random.uniform(0.2, 2.0), self._break)

    def _check(self) -> None:
        if len(set(self.log.records)) != len(self.log.records):
            raise BrokenPromiseError("an id stands in the log twice")
        for update_id, position in self.acknowledged.items():
            if self.log.records[position - 1 : position] != [update_id]:
                raise BrokenPromiseError(f"{update_id} has a receipt for {position}, and is not there")

    def hears(self, epoch: int, name: str, incarnation: str) -> None:
        """A pusher is told that it is active."""
        if self.told.setdefault(epoch, (name, incarnation)) != (name, incarnation):
            raise BrokenPromiseError(f"epoch {epoch} is told to {name} and to {self.told[epoch][0]}")


class Coordinator:
    """Started again, it has what was recorded."""

    def __init__(self, world: World) -> None:
        self.world, self.alive, self.core = world, True, None

    core: PusherElection | None

    def start(self) -> None:
        self.core = self.world.election(PusherElectionSettings(), self.world.recorded, self.world.now_s)
        self._tick()

    def _tick(self) -> None:
        if self.alive:
            self.feed(Tick())
            self.world.later(0.1, self._tick)

    def feed(self, event: PusherEvent) -> None:
        world = self.world
        if not self.alive or self.core is None:
            return
        actions = self.core.handle(event, world.now_s)
        self.core.validate()
        for action in actions:
            if isinstance(action, Persist):
                world.elections += 1
                recorded = action.recorded
                fails, happens = (not world.calm and world.random.random() < part for part in (0.15, 0.5))
                if not fails or happens:
                    if recorded.pusher_epoch < world.recorded.pusher_epoch:
                        raise BrokenPromiseError("a recorded epoch goes down")
                    world.recorded = recorded
                done = PersistFailed(recorded=recorded, reason="cut off") if fails else PersistDone(recorded=recorded)
                world.later(world.random.choice((0.001, 0.05)), lambda done=done: self.feed(done))  # type: ignore[misc]
            elif isinstance(action, PusherAnswer):
                world.send(lambda answer=action: self._deliver(answer))  # type: ignore[misc]

    def _deliver(self, answer: PusherAnswer) -> None:
        pusher = self.world.pushers[answer.name]
        if pusher.incarnation == answer.incarnation:
            if answer.active:
                self.world.hears(answer.epoch, answer.name, answer.incarnation)
            pusher.hear(Told(answer.active, answer.epoch, answer.active_name, answer.active_address))


class Pusher:
    """One process: the real core, and the least that a shell does."""

    def __init__(self, world: World, name: str, lives: int = 0) -> None:
        self.world, self.name, self.lives = world, name, lives
        self.incarnation = f"{name}-{lives}"
        self.alive, self.started = True, False
        self.still_until_s = self.cut_until_s = 0.0
        self.core = PusherTurn(world.now_s)
        self.own: Fence | None = None
        #: The log as it knows it: of its last look, or its claim and its own writes.
        self.known: list[str] = []
        self.serves = False
        self._waiting: list[tuple[str, Callable[[int], None]]] = []
        self._writing = False
        self._sequence = 0

    def start(self) -> None:
        self.started = True
        self._beat()

    def awake(self, do: Callable[[], None]) -> None:
        """Does it now, or once it stands still no more."""
        if not (self.alive and self.started):
            return
        left_s = self.still_until_s - self.world.now_s
        if left_s > 0:
            self.world.later(left_s, lambda: self.awake(do))
        else:
            do()

    def _beat(self) -> None:
        def beat() -> None:
            self._sequence += 1
            if not self.serves and self.core.turn is Turn.STANDBY:
                self.known = list(self.world.log.records)
            state = {Turn.ACTIVE: PusherState.ACTIVE, Turn.CLAIMING: PusherState.CLAIMING}.get(
                self.core.turn, PusherState.STANDBY
            )
            event = PusherBeat(
                self.name, self.incarnation, self._sequence, f"{self.name}:1", state, len(self.known),
                self.core.epoch if self.serves else 0, self.core.known_epoch,
            )  # fmt: skip
            if self.world.now_s >= self.cut_until_s:
                self.world.send(lambda: self.world.coordinator.feed(event))
            self.feed(Tick())

        self.awake(beat)
        if self.alive:
            self.world.later(BEAT_S, self._beat)

    def hear(self, told: Told) -> None:
        if self.world.now_s >= self.cut_until_s:
            self.awake(lambda: self.feed(told))

    def feed(self, event: TurnEvent) -> None:
        actions = self.core.handle(event, self.world.now_s)
        self.core.validate()
        for action in actions:
            match action:
                case Claim(epoch):
                    self.world.send(lambda epoch=epoch: self._claim(epoch))  # type: ignore[misc]
                    # Whatever becomes of it: who waits in vain gives up.
                    self.world.later(3.0, lambda epoch=epoch: self._give_up(epoch))  # type: ignore[misc]
                case BecomeActive():
                    self.serves = True
                case StepDown():
                    self.serves = False

    def _give_up(self, epoch: int) -> None:
        if self.core.turn is Turn.CLAIMING and self.core.epoch == epoch:
            self.awake(lambda: self.feed(ClaimFailed(epoch, "no answer")))

    def _claim(self, epoch: int) -> None:
        """At the store; the answer goes back."""
        event: TurnEvent
        try:
            own, stored = self.world.log.claim(epoch, self.name)
        except DeposedError as error:
            event, own, stored = ClaimRefused(epoch, error.epoch), None, []
        else:
            event = Claimed(epoch)

        def answer() -> None:
            claims = self.core.turn is Turn.CLAIMING and self.core.epoch == epoch
            if claims and own is not None and (self.own is None or own.claims > self.own.claims):
                self.own = own
                if "index behind at takeover" not in self.world.bugs:
                    self.known = stored
            self.feed(event)

        self.world.send(lambda: self.awake(answer))

    def push(self, update_id: str, receipt: Callable[[int], None]) -> None:
        """A client's; the receipt comes once it is stored, if it does."""

        def take() -> None:
            if self.serves:
                self._waiting.append((update_id, receipt))
                if not self._writing:
                    self._write()

        self.awake(take)

    def _write(self) -> None:
        """The next one: one at a time, in order."""
        self._writing = bool(self._waiting and self.serves)
        if not self._writing:
            self._waiting.clear()
            return
        update_id, receipt = self._waiting.pop(0)
        if update_id in self.known:
            receipt(self.known.index(update_id) + 1)
            self._write()
            return
        behind, own = len(self.known), self.own
        if "epoch read before the write" in self.world.bugs:
            try:
                self.world.log.check(own)
            except DeposedError as error:
                self._written(update_id, receipt, behind, error)
                return
        wait_s = self.world.random.choice((0.001, 0.01, 0.5))
        self.world.later(wait_s, lambda: self._store(behind, own, update_id, receipt))

    def _store(self, behind: int, own: Fence | None, update_id: str, receipt: Callable[[int], None]) -> None:
        """At the store, whatever has become of the process meanwhile."""
        deposed: DeposedError | None = None
        if not self.world.bugs & {"fence left out", "epoch read before the write"}:
            try:
                self.world.log.check(own)
            except DeposedError as error:
                deposed = error
        if deposed is None:
            self.world.log.write(behind, update_id)
        self.world.later(0.001, lambda: self.awake(lambda: self._written(update_id, receipt, behind, deposed)))

    def _written(
        self, update_id: str, receipt: Callable[[int], None], behind: int, deposed: DeposedError | None
    ) -> None:
        if deposed is None or "receipt from a deposed one" in self.world.bugs:
            receipt(behind + 1)
        if deposed is None:
            self.known.append(update_id)
        else:
            self.serves = False
            self.feed(Deposed(deposed.epoch, str(deposed)))
        self._write()


class Client:
    """Pushes one after another, each again until it has a receipt, to whichever pusher it comes to."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._numbers = itertools.count(1)
        self._waiting = ""

    def start(self) -> None:
        if not self._waiting:
            self._waiting = f"u{next(self._numbers)}@{self.world.now_s:.3f}"
        waiting = self._waiting

        def receipt(position: int) -> None:
            before = self.world.acknowledged.setdefault(waiting, position)
            if before != position:
                raise BrokenPromiseError(f"{waiting} has receipts for {before} and {position}")
            if self._waiting == waiting:
                self._waiting = ""

        for pusher in self.world.random.sample(list(self.world.pushers.values()), 2):
            self.world.send(lambda pusher=pusher: pusher.push(waiting, receipt))  # type: ignore[misc]
        self.world.later(0.05, self.start)
