"""Virtual time, processes and their clocks.

The world is one queue of things to happen, ordered by real time. Nothing waits: time jumps to the next entry. A quiet
hour costs what its heartbeats cost, or nothing where it is skipped (`skip`; the figures tell both kinds apart). One
generator of random numbers, seeded once, decides everything; a run is therefore repeated exactly by its seed.

A process lives in lives: a crash ends one, a restart begins the next, and whatever was on its way to an earlier life
is dropped. A frozen process (SIGSTOP, a long garbage collection) gets what it missed when it thaws, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

Call = Callable[..., object]
TRACE_LINES = 400


class World:
    """The queue of events, the real time (seconds, as no process sees it), and the trace of what happened."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.steps = 0
        #: How much of `now` was skipped, not stepped through.
        self.skipped_s = 0.0
        self.clocks: list[Clock] = []
        self.tracing = tracing
        self.story: deque[str] = deque(maxlen=None if tracing else TRACE_LINES)
        self._queue: list[tuple[float, int, Call, tuple[Any, ...]]] = []
        self._count = 0
        #: Lines told so far.
        self.told = 0

    def at(self, instant: float, call: Call, *arguments: Any) -> None:
        """Plans a call; calls at one instant come in the order in which they were planned."""
        self._count += 1
        heappush(self._queue, (instant, self._count, call, arguments))

    def after(self, delay_s: float, call: Call, *arguments: Any) -> None:
        """Plans a call in `delay_s` seconds of real time."""
        self._count += 1
        heappush(self._queue, (self.now + delay_s, self._count, call, arguments))

    def run(self, until: float) -> None:
        """Lets everything happen that is planned up to the instant `until`."""
        queue = self._queue
        steps = 0
        while queue and queue[0][0] <= until:
            self.now, _, call, arguments = heappop(queue)
            call(*arguments)
            steps += 1
        self.steps += steps
        self.now = until

    def skip(self, duration_s: float) -> None:
        """Lets that much time pass in which nothing is looked at: all that is planned comes that much later.

        For quiet times only: every process's clock stands still meanwhile, as if nothing but heartbeats had happened.
        """
        self.now += duration_s
        self.skipped_s += duration_s
        # One shift for all keeps the heap in order.
        self._queue = [
            (instant + duration_s, count, call, arguments) for instant, count, call, arguments in self._queue
        ]
        for clock in self.clocks:
            clock.skip(duration_s)

    def tell(self, who: str, what: str) -> None:
        """Adds a line to the story; rare events only, heartbeats are told by `tracing` alone."""
        self.told += 1
        self.note(who, what)

    def note(self, who: str, what: str) -> None:
        """A line of what goes on in quiet times as well."""
        self.story.append(f"{self.now:12.4f} {who:12} {what}")


class Clock:
    """A process's clocks: a monotonic one that drifts, and a wall clock on top that may jump.

    `rate` is local seconds a real second. Cores are given monotonic time only; wall time is there to prove that a jump
    of it harms nothing (and to be taken by mistake in a planted bug).
    """

    def __init__(self, world: World, offset_s: float, rate: float) -> None:
        self._world = world
        self._real = world.now
        self._local = offset_s
        self.rate = rate
        self.wall_offset_s = 0.0
        world.clocks.append(self)

    def skip(self, duration_s: float) -> None:
        """Real time has passed, local time has not."""
        self._real += duration_s

    def now(self) -> float:
        """Monotonic local time, in seconds."""
        return self._local + (self._world.now - self._real) * self.rate

    def wall(self) -> float:
        """Wall time, in seconds: jumps."""
        return self._monotonic() + self.wall_offset_s

    def _monotonic(self) -> float:
        return self._local + (self._world.now - self._real) * self.rate

    def drift(self, rate: float) -> None:
        """Runs at another rate from now on."""
        self._local = self._monotonic()
        self._real = self._world.now
        self.rate = rate


class Process:
    """Something that crashes, freezes and restarts; the base of every simulated service."""

    def __init__(self, world: World, name: str, clock: Clock) -> None:
        self.world = world
        self.name = name
        self.clock = clock
        #: Grows with each crash; calls planned in an earlier life never happen.
        self.life = 0
        self.alive = False
        self.frozen = False
        self._backlog: list[tuple[int, Call, tuple[Any, ...]]] = []

    def tell(self, what: str) -> None:
        """Adds a line to the world's story."""
        self.world.tell(self.name, what)

    def note(self, what: str) -> None:
        """A line that makes no time less quiet."""
        self.world.note(self.name, what)

    def timer(self, delay_s: float, call: Call, *arguments: Any) -> None:
        """Plans a call in `delay_s` seconds of the process's own clock, in this life only."""
        world = self.world
        delay = delay_s / self.clock.rate
        world.at(world.now + (delay if delay > 0 else 0.0), self.run, self.life, call, arguments)

    def run(self, life: int, call: Call, arguments: tuple[Any, ...]) -> None:
        """Calls now if that life still goes on; a frozen process does it when it thaws."""
        if life != self.life:
            return
        if self.frozen:
            self._backlog.append((life, call, arguments))
            return
        call(*arguments)

    def start(self) -> None:
        """Begins a life."""
        self.alive = True
        self.tell("starts")
        self.on_start()

    def crash(self) -> None:
        """Ends the life at once (kill -9, power cut): memory is lost, disks keep what was synced."""
        if not self.alive:
            return
        self.tell("crashes")
        self.life += 1
        self.alive = False
        self.frozen = False
        self._backlog.clear()
        self.on_crash()

    def freeze(self) -> None:
        """Stops running without dying."""
        if self.alive:
            self.tell("freezes")
            self.frozen = True

    def thaw(self) -> None:
        """Runs on, first with everything that was missed."""
        if not self.frozen:
            return
        self.tell("thaws")
        self.frozen = False
        backlog, self._backlog = self._backlog, []
        for life, call, arguments in backlog:
            self.run(life, call, arguments)

    def on_start(self) -> None:
        """What a life begins with."""

    def on_crash(self) -> None:
        """What the world sees of a crash."""

    def accept(self, kind: str, end: Any, opening: Any) -> None:
        """Takes a connection of that kind; `opening` is the first message."""
        raise NotImplementedError(kind)
