"""What happens to messages, and what is to be done about it. A letter is known by its number in its message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from services.datatrax.messages.quiet import QuietHours
from services.shared.cores import Tick


class Phase(Enum):
    """Where a message stands. Its numbers are those of the journal."""

    GATHERING = 1
    SENDING = 2
    DONE = 3
    CANCELLED = 4
    FAILED = 5


class Fate(Enum):
    """Where a letter stands; likewise."""

    WAITING = 0
    SENT = 1
    DEAD = 2
    OPTED_OUT = 3


class Word(Enum):
    """What a sender says of a letter."""

    TAKEN = 1
    #: For good.
    REFUSED = 2
    #: Not now; or nobody knows, because its answer was lost.
    AGAIN = 3


@dataclass(frozen=True, slots=True)
class Opened:
    """A message was taken, or is found unfinished at a start; or letters of it wait anew."""

    message_id: str
    channel: str
    phase: Phase = Phase.SENDING
    paused: bool = False
    #: By the wall clock, in seconds since 1970.
    not_before_s: float = 0.0
    quiet: QuietHours | None = None
    limit_a_minute: int = 0


@dataclass(frozen=True, slots=True)
class Gathered:
    """All its letters are in the journal."""

    message_id: str


@dataclass(frozen=True, slots=True)
class GatherFailed:
    """They are not. `again`: another try may do better."""

    message_id: str
    reason: str
    again: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A letter of the journal that was not handed over yet, as far as is known."""

    number: int
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was asked for by `Load`; fewer than asked for: there are no more."""

    message_id: str
    letters: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A sender has said what becomes of a letter. `after_s`: when to try again, where it said that; else 0."""

    message_id: str
    number: int
    word: Word
    reason: str = ""
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Noted:
    """The journal has them, on disk."""

    message_id: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OptedOut:
    """Members of loaded letters want none any more."""

    message_id: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Paused:
    """Somebody paused a message; the journal has it."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """It goes on; likewise."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nothing more of it goes out; likewise."""

    message_id: str


@dataclass(frozen=True, slots=True)
class WallClock:
    """How far the wall clock is ahead of the shell's."""

    ahead_s: float


Event: TypeAlias = (
    Tick
    | Opened
    | Gathered
    | GatherFailed
    | Loaded
    | Answered
    | Noted
    | OptedOut
    | Paused
    | Resumed
    | Cancelled
    | WallClock
)


@dataclass(frozen=True, slots=True)
class Gather:
    """Write the audience's letters into the journal, all or none."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Load:
    """Read so many waiting letters of the journal, those behind a number, in their order."""

    message_id: str
    after: int
    count: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """Give the letter to its channel's sender. Whatever becomes of it is told by `Answered`, once."""

    message_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Note:
    """Write into the journal what became of a letter, and tell by `Noted` once it is on disk."""

    message_id: str
    number: int
    fate: Fate
    attempts: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finish:
    """Write into the journal that a message is over; not where letters of it wait anew."""

    message_id: str
    phase: Phase
    reason: str = ""


Action: TypeAlias = Gather | Load | HandOver | Note | Finish
