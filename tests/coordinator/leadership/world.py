"""Several coordinators and one API server in virtual time: the real store, core and shell, over a network that is slow
and loses things, on machines whose clocks differ and which stand still at times.

Checked at every act of an active coordinator: no other one may act at that moment, by its own clock. Checked at every
write: the epoch does not go down.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from services.coordinator.election.events import Recorded
from services.coordinator.leadership.leadership import Leadership
from services.coordinator.leadership.runner import LeadershipRunner, MayAct
from services.coordinator.leadership.settings import LeadershipSettings
from services.coordinator.stores.kubernetes import KubernetesLease
from services.coordinator.stores.lease import ANNOTATION, Lease, Object
from services.coordinator.stores.lease_store import LeaseStore
from services.coordinator.stores.store import StoreConflictError, StoreError
from services.coordinator.stores.term import TermStore
from services.shared.clock import Timer
from services.shared.kubernetes.api import KubernetesError
from services.shared.serving.background import Background
from tests.coordinator.leadership.virtual_time import VirtualLoop

#: How far a clock's rate may be off: within the margin over a lease.
RATE_OFF_MAX = 0.05
#: Far more than in truth: no promise may hang on an answer that came in time, since a process may stand still before it
#: takes it.
CALL_TIMEOUT_S = 5.0
#: A loop's timer comes early by as much as its clock's resolution. To wait for the rest would take no time, for ever.
_INSTANT_S = 1e-6
#: Faults end here; then somebody has to become active within the rest.
FAULTS_S, CALM_S = 60.0, 20.0


class BrokenPromiseError(AssertionError):
    """What must never be."""


class World:
    """Everything that the processes share, and the chance that they meet."""

    def __init__(
        self, seed: int, core: type[Leadership] = Leadership, *, by_default: bool = False, mild: bool = False
    ) -> None:
        """`by_default`: all are set as coordinators are where nobody says otherwise; else to longer times.

        `mild`: most of the time all is well, so that there is an active one, and what befalls somebody befalls it
        mostly; else everything is slow and lost, and few stories get far enough to show what a turn's end may do.
        """
        self.random = random.Random(seed)
        self.core = core
        self.calm = False
        self.mild = mild
        self.lease: Object | None = None
        self.version = 0
        #: A write is done whatever version it names.
        self.compares = True
        #: Coordinators that are set differently, or a Lease that is deleted under them: who was never told of a longer
        #: lease than its own can't wait for it where nothing is left to tell.
        self.by_default = by_default
        self.leases_s = (LeadershipSettings().active_lease_s,) if by_default else self.random.choice(((4,), (4, 12)))
        self.processes: list[Process] = []
        self.acts = 0
        self.turns = 0

    # -- the API server

    def write(self, body: Object, *, make: bool) -> Object:
        if make and self.lease is not None:
            raise KubernetesError("already exists", 409)
        if not make and self.lease is None:
            raise KubernetesError("not found", 404)
        if self.lease is not None:
            if self.compares and body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise KubernetesError("has been modified", 409)
            if epoch_of(body) < epoch_of(self.lease):
                raise BrokenPromiseError(f"the epoch went from {epoch_of(self.lease)} to {epoch_of(body)}")
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    def read(self) -> Object:
        if self.lease is None:
            raise KubernetesError("not found", 404)
        return copy.deepcopy(self.lease)

    # -- what is promised

    def acts_now(self, actor: Process) -> None:
        self.acts += 1
        both = [each for each in self.processes if each.alive and each.may_act()]
        if len(both) > 1 or (both and both[0] is not actor):
            raise BrokenPromiseError(f"{actor.name} acts while {', '.join(each.name for each in both)} may")

    # -- what happens

    def delay_s(self) -> float:
        if self.calm:
            return 0.005
        slow = (0.02, 0.3) if self.mild else (0.6, self.random.uniform(0.5, 6.0))
        return self.random.choice((0.001, 0.01, 0.1, *slow))

    def loses(self) -> bool:
        return not self.calm and self.random.random() < (0.02 if self.mild else 0.12)

    def befallen(self) -> Process:
        """Whom the next fault is about."""
        active = [process for process in self.processes if process.may_act()]
        return self.random.choice(active if self.mild and active and self.random.random() < 0.7 else self.processes)


def epoch_of(lease: Object) -> int:
    return int(json.loads(lease["metadata"]["annotations"][ANNOTATION])["epoch"])


class Process:
    """One coordinator; started again it is another one."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.loop = asyncio.get_running_loop()
        self.alive = True
        self._offset_s = world.random.uniform(-1e6, 1e6)
        self._rate = 1.0 + world.random.uniform(-RATE_OFF_MAX, RATE_OFF_MAX)
        self._frozen_until_s = self._cut_until_s = 0.0
        settings = LeadershipSettings()
        if not world.by_default:
            lease_s = world.random.choice(world.leases_s)
            settings = LeadershipSettings(active_lease_s=lease_s, active_margin_s=1.0, active_renew_s=0.75)
        self.core = world.core(settings, name, self.now_s())
        kept = KubernetesLease(self, "coordinator")
        self.store = LeaseStore(kept, "dot-test", name, settings.active_lease_s, CALL_TIMEOUT_S)
        self.runner = LeadershipRunner(self.core, self.store, self, self._act, self._stand_by)

    def may_act(self) -> bool:
        """Whoever ends in order acts no more before it gives its lease away, whatever its core would let it do."""
        return not self.runner._closed and self.core.may_act(self.now_s())

    # -- its clock

    def now_s(self) -> float:
        return self.loop.time() * self._rate + self._offset_s

    def call_at(self, at_s: float, callback: Callable[[], object]) -> Timer:
        wait_s = max(_INSTANT_S, (at_s - self.now_s()) / self._rate)

        def call() -> None:
            left_s = self._frozen_until_s - self.loop.time()
            if left_s > _INSTANT_S:
                self.loop.call_later(left_s, call)
            elif self.alive:
                callback()

        return self.loop.call_later(wait_s, call)

    def freeze(self, for_s: float) -> None:
        self._frozen_until_s = self.loop.time() + for_s

    async def awake(self) -> None:
        """Waits while it stands still, however often that is prolonged."""
        while (left_s := self._frozen_until_s - self.loop.time()) > _INSTANT_S:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(left_s)

    def cut_off(self, for_s: float) -> None:
        self._cut_until_s = self.loop.time() + for_s

    # -- its way to the API server

    namespace = "fasttree"

    async def get(self, path: str) -> Object:
        return await self._call(self.world.read)

    async def create(self, path: str, body: Object) -> Object:
        return await self._call(lambda: self.world.write(body, make=True))

    async def replace(self, path: str, body: Object) -> Object:
        return await self._call(lambda: self.world.write(body, make=False))

    async def close(self) -> None:
        """Nothing is held open."""

    async def _call(self, do: Callable[[], Object]) -> Object:
        """What was sent comes to pass, or not, whether or not anybody still waits for it."""
        await self.awake()
        answer: asyncio.Future[Object] = self.loop.create_future()

        def lost() -> bool:
            return self.world.loses() or self.loop.time() < self._cut_until_s

        def arrive() -> None:
            try:
                done = do()
            except KubernetesError as error:
                self.loop.call_later(self.world.delay_s(), _settle, answer, error)
            except BrokenPromiseError as error:
                _settle(answer, error)
            else:
                if not lost():
                    self.loop.call_later(self.world.delay_s(), _settle, answer, done)

        if not lost():
            self.loop.call_later(self.world.delay_s(), arrive)
        answered = await answer
        await self.awake()
        return answered

    # -- what it serves

    async def _act(self, may_act: MayAct) -> Turn:
        self.world.turns += 1
        turn = Turn(self, TermStore(self.store, may_act), may_act)
        await turn.begin()
        return turn

    async def _stand_by(self) -> Idle:
        return Idle()

    async def crash(self) -> None:
        """Ends as by SIGKILL."""
        self.alive = False
        await self.runner.background.stop()
        if isinstance(part := self.runner._part, Turn):
            await part.stop()


def _settle(answer: asyncio.Future[Object], with_: Object | Exception) -> None:
    if not answer.done():
        if isinstance(with_, Exception):
            answer.set_exception(with_)
        else:
            answer.set_result(with_)


class Idle:
    """Stands by."""

    def __init__(self) -> None:
        self.background = Background()

    def looked(self, lease: Lease, unchanged_s: float) -> None:
        """Nobody pushes here."""

    async def stop(self) -> None:
        """Nothing runs."""


class Turn(Idle):
    """What an active coordinator does: gives leases, and has elections written down."""

    def __init__(self, process: Process, store: TermStore, may_act: MayAct) -> None:
        super().__init__()
        self._process, self._store, self._may_act = process, store, may_act
        self._recorded = Recorded()

    async def begin(self) -> None:
        self._recorded = await self._store.load()
        self.background.start(self._go_on(), "acts")

    async def _go_on(self) -> None:
        world = self._process.world
        while True:
            await self._process.awake()
            if self._may_act():
                world.acts_now(self._process)
                if world.random.random() < 0.05 and not await self._elect():
                    return
            await asyncio.sleep(world.random.uniform(0.02, 0.2))

    async def _elect(self) -> bool:
        """As the election's shell: whatever was answered, the store is asked what it has."""
        wanted = replace(self._recorded, epoch=self._recorded.epoch + 1, primary=self._process.name)
        try:
            await self._store.save(wanted, self._recorded)
            self._recorded = wanted
        except StoreError as error:
            try:
                found = await self._store.load()
            except StoreError:
                return True
            if found not in (wanted, self._recorded) or isinstance(error, StoreConflictError):
                self.background.end(StoreConflictError("another one writes"))
                return False
            self._recorded = found
        return True

    async def stop(self) -> None:
        await self.background.stop()


async def live(world: World) -> None:
    """A story of faults, then quiet. Raises BrokenPromiseError."""
    loop = asyncio.get_running_loop()
    world.processes = [Process(world, f"c{number}_0") for number in range(3)]
    for process in world.processes:
        await process.runner.start()
    until_s, generation = loop.time() + FAULTS_S, 0
    while loop.time() < until_s:
        await asyncio.sleep(world.random.uniform(0.1, 8.0 if world.mild else 3.0))
        _raise_fault(world)
        chosen, generation = world.befallen(), generation + 1
        match world.random.randrange(8):
            case 0 | 1:
                chosen.freeze(world.random.choice((0.5, 2.0, 5.0, 12.0)))
            case 2 | 7:
                chosen.cut_off(world.random.choice((1.0, 3.0, 6.0, 12.0)))
            case 3:
                await _replaced(world, chosen, generation, chosen.crash())
            case 4:
                await _replaced(world, chosen, generation, chosen.runner.stop())
            case 5 if world.lease is not None and len(world.leases_s) == 1:
                world.lease = None
            case 6 if world.lease is not None:
                world.version += 1
                world.lease["metadata"]["resourceVersion"] = str(world.version)
    world.calm, acts = True, world.acts
    await asyncio.sleep(CALM_S)
    _raise_fault(world)
    if world.acts == acts:
        raise BrokenPromiseError("nobody is active, though nothing is in the way")
    for process in world.processes:
        await process.crash()


async def _replaced(world: World, process: Process, generation: int, end: Awaitable[None]) -> None:
    await end
    process.alive = False
    later = Process(world, f"{process.name.partition('_')[0]}_{generation}")
    world.processes[world.processes.index(process)] = later
    await later.runner.start()


def _raise_fault(world: World) -> None:
    for process in world.processes:
        parts = [process.runner.background, *([process.runner._part.background] if process.runner._part else [])]
        for background in parts:
            if isinstance(error := background.error, BrokenPromiseError):
                raise error
            if error is not None and not isinstance(error, StoreConflictError):
                raise BrokenPromiseError(f"a fault of its own: {error!r}") from error


def play(
    seed: int,
    core: type[Leadership] = Leadership,
    *,
    compares: bool = True,
    by_default: bool = False,
    mild: bool = False,
) -> World:
    """One story. Raises BrokenPromiseError."""
    world = World(seed, core, by_default=by_default, mild=mild)
    world.compares = compares
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(live(world))
    return world


async def _die(world: World) -> float:
    loop = asyncio.get_running_loop()
    world.processes = [Process(world, f"c{number}_0") for number in range(3)]
    for process in world.processes:
        await process.runner.start()
    await asyncio.sleep(10.0 + world.random.uniform(0.0, 3.0))
    active = next(process for process in world.processes if process.may_act())
    killed_at_s = loop.time()
    await active.crash()
    while not any(process.alive and process.may_act() for process in world.processes):  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.001)
    took_s = loop.time() - killed_at_s
    for process in world.processes:
        await process.crash()
    return took_s


def seconds_without(seed: int) -> float:
    """Nothing is slow or lost, and the active one dies: until another one may act."""
    world = World(seed, by_default=True)
    world.calm = True
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_die(world))
