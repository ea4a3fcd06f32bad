"""The log's store as its engines behave, from outside: what is compared, what comes late, and what nobody is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from services.pusher.log.fencing.fence import Fence


class BrokenPromiseError(AssertionError):
    """What must never be."""


class Engine(NamedTuple):
    """One kind of store.

    Attributes:
        is_remote: Calls and answers are lost, and both come late; else only the disk is slow.
        settles: A look-up changes what writes compare: one that comes later is refused (the row of PostgreSQL's fence).
            Else it only reads, and a write that it did not find may still come to pass (a stream's last sequence).
    """

    name: str
    is_remote: bool
    settles: bool


ENGINES = (Engine("sqlite", False, True), Engine("postgresql", True, True), Engine("jetstream", True, False))


class MovedError(Exception):
    """What a write compares is another than it names: nothing was changed."""


class Standing(NamedTuple):
    """What a writer has to know."""

    fence: Fence
    #: Changes with each claim and write: what the next one has to name.
    sequence: int
    records: tuple[str, ...]


@dataclass
class ModelStore:
    """What keeps a writer from writing is what is compared here, in one step with the write, and nothing else.

    `bugs`: what a planted one leaves out. `wrote`: told of what was put where, and what had stood there.
    """

    engine: Engine
    bugs: frozenset[str]
    wrote: Callable[[int, list[str], list[str]], None]
    log_id: str
    records: list[str] = field(default_factory=list)
    fence: Fence = field(default_factory=lambda: Fence(0, "", 0))
    sequence: int = 0

    def _standing(self) -> Standing:
        return Standing(self.fence, self.sequence, tuple(self.records))

    def read(self) -> Standing:
        """As it is now."""
        return self._standing()

    def claim(self, epoch: int, holder: str) -> Standing:
        """Raises DeposedError where another claim is as new."""
        if "claim of another's epoch" in self.bugs and epoch == self.fence.epoch:
            self.fence = self.fence._replace(holder=holder)
        self.fence = self.fence.claimed(epoch, holder)
        self.sequence += 1
        return self._standing()

    def check(self, own: Fence | None) -> None:
        """Raises DeposedError where another claim is the newest."""
        self.fence.check(own)

    def write(self, own: Fence | None, sequence: int, behind: int, update_ids: list[str]) -> int:
        """Puts them behind that position; returns the sequence then. Raises DeposedError, MovedError."""
        if not self.bugs & {"fence left out", "epoch read before the write"}:
            self.fence.check(own)
            if sequence != self.sequence:
                raise MovedError
        before = self.records[behind:]
        self.records[behind:] = update_ids
        self.sequence += 1
        self.wrote(behind, update_ids, before)
        return self.sequence

    def look_up(self, own: Fence | None) -> Standing:
        """What stands there, for whoever does not know what became of its write. Raises DeposedError."""
        self.fence.check(own)
        if self.engine.settles:
            self.sequence += 1
        return self._standing()
