"""What the core keeps of a message and of its letters, as long as they are not over."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.datatrax.messages.events import Opened, Phase, Waiting
from services.datatrax.messages.pace import Pace


@dataclass(frozen=True, slots=True)
class Lane:
    """How a channel's letters go."""

    #: Letters at a time that are handed over and not noted yet, those between two tries among them.
    window: int = 64
    limit_a_minute: int = 0
    attempts_max: int = 8
    retry_initial_s: float = 1.0
    retry_max_s: float = 300.0


@dataclass(slots=True)
class Flying:
    """A letter in the window."""

    #: How often it was handed over.
    attempts: int = 1
    #: When it is tried again; None: it is with its sender, or its note is being written.
    again_s: float | None = None
    noting: bool = False
    opted_out: bool = False


@dataclass(slots=True)
class Message:
    """One that is not over."""

    opened: Opened
    phase: Phase
    paused: bool
    pace: Pace
    ready: deque[Waiting] = field(default_factory=deque)
    flying: dict[int, Flying] = field(default_factory=dict)
    #: The last number that was loaded; whether the journal may have more behind it, and is being read.
    cursor: int = 0
    more: bool = True
    loading: bool = False
    #: What is being read was asked for before letters waited anew.
    stale: bool = False
    #: Until when it waits for its time or for the end of quiet hours, by the shell's clock and by the wall's.
    gate_s: float = -math.inf
    gate_wall_s: float = 0.0
    #: Of its gathering: under way, failed so often, tried again at.
    gathering: bool = False
    gather_failures: int = 0
    gather_s: float = -math.inf

    @property
    def is_over(self) -> bool:
        """Nothing of it waits or is under way."""
        return not (self.more or self.loading or self.ready or self.flying)

    def let_go(self) -> None:
        """It waits for long: what waits for another try makes room for other messages, and is read again later."""
        waiting = [number for number, each in self.flying.items() if each.again_s is not None]
        for number in waiting:
            del self.flying[number]
        if waiting:
            self.begin_again()

    def begin_again(self) -> None:
        """The journal is read from its beginning."""
        self.cursor, self.more, self.stale = 0, True, self.loading
        self.ready.clear()

    def retries(self, now_s: float) -> Iterator[int]:
        """Those whose wait is over."""
        return (number for number, each in self.flying.items() if each.again_s is not None and each.again_s <= now_s)
