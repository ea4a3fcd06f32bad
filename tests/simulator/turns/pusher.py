"""A pusher's side: the real turn, and the least that its shell and its log's writer do around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.coordinator.pushers.events import PusherBeat, PusherState
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
from services.pusher.log.engine.placing import place
from services.pusher.log.store import DeposedError
from services.shared.cores import Tick
from tests.simulator.turns.stores import MovedError, Standing

if TYPE_CHECKING:
    from tests.simulator.turns.world import World

_BEAT_S = 0.25
#: What a call to the store is waited for.
_CALL_S, _CLAIM_S = 0.6, 3.0

#: Who is started with the wrong settings now and then; never all of them.
ASTRAY = ("p2", "p3")
#: How far the other log goes: nobody is to be chosen for that.
_FAR = 10**6

Receipts = Callable[[dict[str, int]], None]


class Link:
    """A pusher's way to the store. What was sent comes to pass, or not, whoever still waits for it."""

    def __init__(self, world: World, pusher: Pusher) -> None:
        self._world, self._pusher = world, pusher
        self.cut_until_s = 0.0

    def call(self, do: Callable[[], Any], answered: Callable[[Any], None], timeout_s: float) -> None:
        """`answered` gets what `do` returns or raises; None where there was no answer in time."""
        world = self._world
        open_ = [True]

        def settle(result: Any) -> None:
            if open_:
                open_.clear()
                self._pusher.awake(lambda: answered(result))

        def arrive() -> None:
            try:
                result = do()
            except (DeposedError, MovedError) as error:
                result = error
            self._send(lambda: settle(result))

        self._send(arrive)
        world.later(timeout_s, lambda: settle(None))

    def _send(self, do: Callable[[], None]) -> None:
        world = self._world
        if not world.store.engine.is_remote:
            world.later(0.001 if world.calm else world.random.choice((0.001, 0.01, 0.25)), do)
        elif world.now_s >= self.cut_until_s:
            world.send(do, lost=0.1)


class Pusher:
    """One process."""

    def __init__(self, world: World, name: str, lives: int = 0) -> None:
        self.world, self.name, self.lives = world, name, lives
        self.incarnation = f"{name}-{lives}"
        self.alive, self._started = True, False
        #: It stands still, and is cut off from the coordinator.
        self.still_until_s = self.cut_until_s = 0.0
        self.link = Link(world, self)
        #: Started with another one's settings: the nodes refuse that log, and so it takes nothing from clients.
        self.is_astray = name in ASTRAY and bool(world.acknowledged) and world.settings_random.random() < 0.3
        self.store = world.other_store if self.is_astray else world.store
        world.astray += self.is_astray
        self.core = PusherTurn(world.now_s)
        self.serves = False
        #: As it knows the log: by its claim, and its own writes since; None while it stands by.
        self._own: Standing | None = None
        self._known: dict[str, tuple[int, str]] = {}
        self._end = 0
        self._waiting: list[tuple[list[str], Receipts]] = []
        self._writing = False
        self._sequence = 0

    def start(self) -> None:
        """Begins to be heard."""
        self._started = True
        self._beat()

    def awake(self, do: Callable[[], None]) -> None:
        """Does it now, or once it stands still no more."""
        if not (self.alive and self._started):
            return
        left_s = self.still_until_s - self.world.now_s
        if left_s > 0:
            self.world.later(left_s, lambda: self.awake(do))
        else:
            do()

    # ---- its turn ----------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        def beat() -> None:
            self._sequence += 1
            if self.core.turn is Turn.STANDBY:
                self._end = _FAR if self.is_astray else len(self.store.records)
            states = {Turn.ACTIVE: PusherState.ACTIVE, Turn.CLAIMING: PusherState.CLAIMING}
            event = PusherBeat(
                name=self.name,
                incarnation=self.incarnation,
                sequence=self._sequence,
                address=f"{self.name}:1",
                state=states.get(self.core.turn, PusherState.STANDBY),
                position=self._end,
                epoch=self.core.epoch if self.serves else 0,
                known_epoch=self.core.known_epoch,
                log_id=self.store.log_id,
                log_in_force=self.serves and not self.is_astray,
            )
            if self.world.now_s >= self.cut_until_s:
                self.world.send(lambda: self.world.coordinator.feed(event))
                for each in self.world.standing_by:
                    self.world.send(lambda to=each: to.feed(event))  # type: ignore[misc]
            self.feed(Tick())

        self.awake(beat)
        if self.alive:
            self.world.later(_BEAT_S, self._beat)

    def hear(self, told: Told) -> None:
        """The coordinator's word has come."""
        if self.world.now_s >= self.cut_until_s:
            self.awake(lambda: self.feed(told))

    def feed(self, event: TurnEvent) -> None:
        """An event for the core."""
        actions = self.core.handle(event, self.world.now_s)
        self.core.validate()
        for action in actions:
            match action:
                case Claim(epoch):
                    self._claim(epoch)
                case BecomeActive(epoch):
                    self.world.takes(epoch, self.name)
                    self.serves = True
                    self.world.astray_active += self.is_astray
                case StepDown():
                    self.serves = False

    def _claim(self, epoch: int) -> None:
        def answered(result: Standing | DeposedError | None) -> None:
            match result:
                case DeposedError():
                    self.feed(ClaimRefused(epoch, result.epoch))
                case None:
                    self.feed(ClaimFailed(epoch, "no answer"))
                case _:
                    if self.core.turn is Turn.CLAIMING and self.core.epoch == epoch:
                        self._take_over(result)
                    self.feed(Claimed(epoch))

        self.link.call(lambda: self.store.claim(epoch, self.name), answered, _CLAIM_S)

    def _take_over(self, standing: Standing) -> None:
        self._own, self._writing = standing, False
        self._waiting.clear()
        if "index behind at takeover" not in self.world.bugs:
            self._learn(standing)

    def _learn(self, standing: Standing) -> None:
        self._own, self._end = standing, len(standing.records)
        self._known = {update_id: (at, update_id) for at, update_id in enumerate(standing.records, 1)}

    # ---- its log -----------------------------------------------------------------------------------------------------

    def push(self, update_ids: list[str], receipts: Receipts) -> None:
        """A client's message; the receipts come once all of it is stored, if it is."""

        def take() -> None:
            if self.serves and not self.is_astray:
                self._waiting.append((update_ids, receipts))
                self._write_next()

        self.awake(take)

    def _write_next(self) -> None:
        """One message at a time, in order."""
        while self._waiting and self.serves and not self._writing and self._own is not None:
            update_ids, receipts = self._waiting[0]
            placed = place(update_ids, update_ids, dict(self._known), self._end + 1)
            if not placed.fresh:
                self._waiting.pop(0)
                receipts(dict(zip(update_ids, placed.positions, strict=True)))
            else:
                self._writing = True
                self._store(self._own, list(placed.fresh))

    def _store(self, own: Standing, fresh: list[str]) -> None:
        store, behind = self.store, self._end

        def write() -> int:
            return store.write(own.fence, own.sequence, behind, fresh)

        def answered(result: int | Exception | None) -> None:
            if own.fence != (self._own.fence if self._own is not None else None):
                return  # of a turn that is over
            match result:
                case int():
                    self._stored(own, result, fresh)
                case DeposedError():
                    self._deposed(result, fresh)
                case _:
                    self._find_out(own, fresh)

        if "epoch read before the write" in self.world.bugs:
            try:
                store.check(own.fence)
            except DeposedError as error:
                self._deposed(error, fresh)
                return
        self.link.call(write, answered, _CALL_S)

    def _stored(self, own: Standing, sequence: int, fresh: list[str]) -> None:
        for update_id in fresh:
            self._end += 1
            self._known[update_id] = (self._end, update_id)
        self._own = own._replace(sequence=sequence)
        self._writing = False
        self._write_next()

    def _deposed(self, error: DeposedError, fresh: list[str]) -> None:
        if "receipt from a deposed one" in self.world.bugs:
            self._waiting[0][1]({update_id: self._end + at for at, update_id in enumerate(fresh, 1)})
        self.serves = self._writing = False
        self._own = None
        self._waiting.clear()
        self.feed(Deposed(error.epoch, str(error)))

    def _find_out(self, own: Standing, fresh: list[str]) -> None:
        """Nobody knows what became of the write: nothing else is written before that is known."""
        self.world.unknown_outcomes += 1
        store = self.store

        def answered(result: Standing | DeposedError | None) -> None:
            if own.fence != (self._own.fence if self._own is not None else None):
                return
            match result:
                case DeposedError():
                    self._deposed(result, fresh)
                case None:
                    self._find_out(own, fresh)
                case _ if "late write taken for a failure" in self.world.bugs:
                    # It goes by where the log stands by now, and not by what is in it.
                    self._own, self._end = result, len(result.records)
                    self._store(result, fresh)
                case _:
                    self._learn(result)
                    self._writing = False
                    if "order given up" in self.world.bugs:
                        update_ids, receipts = self._waiting[0]
                        self._waiting[0] = ([*update_ids[1:], update_ids[0]], receipts)
                    self._write_next()

        self.link.call(lambda: store.look_up(own.fence), answered, _CALL_S)
