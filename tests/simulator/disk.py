"""A process's disk: what was synced survives a crash; what was not is lost, or (the crash came after the platter) not.

Each write is atomic (SQLite's transaction, or a file that is renamed when whole) and takes a while; its end is told
when it is durable, or refused when the disk is full. A process that dies while a write runs never learns its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulator.world import Clock, Process, World

Change = Callable[[], None]


class Disk:
    """Named values. `sync_s` is how long a sync takes at most, in quiet times."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self.sync_s = 0.002
        #: Chance that a sync takes `stall_s` (a busy disk).
        self.stall_chance = 0.0
        self.stall_s = 1.0
        self.full = False
        #: Chance that a write which is said to have failed did happen (its last step alone failed).
        self.unsure_chance = 0.0
        self._files: dict[str, Any] = {}
        #: Writes under way, by number.
        self._writing: dict[int, Change] = {}
        self._count = 0
        self._free_at = 0.0
        #: Called once with the length of the next write when it begins: faults lie in wait here.
        self.ambush: Callable[[float], None] | None = None

    def read(self, name: str, default: Any = None) -> Any:
        """The durable value of a name."""
        return self._files.get(name, default)

    def write(self, name: str, value: Any, done: Callable[[bool], None]) -> None:
        """Writes a value whole and syncs it; see `commit`."""
        self.commit(lambda: self._files.__setitem__(name, value), done)

    def commit(self, change: Change, done: Callable[[bool], None]) -> None:
        """Makes `change` durable; then `done(True)`, or `done(False)` when the disk is full and nothing changed."""
        random = self._world.random.random
        delay = self.sync_s * (0.2 + 0.8 * random())
        if self.stall_chance and random() < self.stall_chance:
            delay += self.stall_s * random()
        # One disk, one queue: a sync never overtakes an earlier one.
        self._free_at = max(self._free_at, self._world.now) + delay
        self._count += 1
        self._writing[self._count] = change
        if self.ambush is not None:
            ambush, self.ambush = self.ambush, None
            ambush(self._free_at - self._world.now)
        self._world.at(self._free_at, self._synced, self._process.life, self._count, done)

    def place(self, name: str, value: Any) -> None:
        """A value that is durable by now."""
        self._files[name] = value

    def named(self, prefix: str) -> list[tuple[str, Any]]:
        """The durable values whose names begin so."""
        return sorted((name, value) for name, value in self._files.items() if name.startswith(prefix))

    def forget(self, name: str) -> None:
        """Removes a durable value (moves a file out of the way)."""
        self._files.pop(name, None)

    def wipe(self) -> None:
        """Removes everything."""
        self._files.clear()

    def damage(self, name: str, harm: Callable[[Any], Any]) -> None:
        """Changes a durable value behind everybody's back."""
        if name in self._files:
            self._files[name] = harm(self._files[name])

    def crash(self) -> None:
        """The machine died: each write under way is durable or lost, in order: none after the first that is lost."""
        writing, self._writing = self._writing, {}
        self._free_at = 0.0
        for change in writing.values():
            if self.full or self._world.random.random() < 0.5:
                return
            change()

    def _synced(self, life: int, number: int, done: Callable[[bool], None]) -> None:
        change = self._writing.pop(number, None)
        if change is None:
            return
        room = not self.full
        if room or (self.unsure_chance and self._world.random.random() < self.unsure_chance):
            change()
        self._process.run(life, done, (room,))


class Service(Process):
    """A process with a disk."""

    def __init__(self, world: World, name: str, clock: Clock) -> None:
        super().__init__(world, name, clock)
        self.disk = Disk(self)
