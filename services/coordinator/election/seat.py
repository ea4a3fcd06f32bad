"""The primary's seat: its states, and which moves between them are legal.

| seat | meaning |
|---|---|
| VACANT | no process holds a grant that is still good (shortly after a start: except the recorded one) |
| ELECTING | a winner is chosen and being written down; nobody has been told |
| HELD | the winner is written down and told; each of its heartbeats renews its lease |
| LEAVING | the holder was told PASSIVE; its last grant may still run, and is not renewed |

There is one seat, and at most one holder: the only process that may believe that it is primary, and known until when.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum

from services.coordinator.election.leases import NodeLease


class SeatState(Enum):
    """See the table above."""

    VACANT = "vacant"
    ELECTING = "electing"
    HELD = "held"
    LEAVING = "leaving"


class Move(Enum):
    """What can happen to the seat."""

    CHOSEN = "a winner was chosen"
    WRITTEN = "the winner is written down and told"
    DROPPED = "the winner could not be written down, or was gone before it was told"
    RENEWED = "the recorded primary goes on in its epoch"
    TOLD = "the holder was told to stop"
    EMPTIED = "the holder stepped down, or its lease ran out"


#: Every legal move; any other raises IllegalMoveError.
TRANSITIONS: dict[tuple[SeatState, Move], SeatState] = {
    (SeatState.VACANT, Move.CHOSEN): SeatState.ELECTING,
    (SeatState.VACANT, Move.RENEWED): SeatState.HELD,
    (SeatState.ELECTING, Move.WRITTEN): SeatState.HELD,
    (SeatState.ELECTING, Move.DROPPED): SeatState.VACANT,
    (SeatState.HELD, Move.TOLD): SeatState.LEAVING,
    (SeatState.HELD, Move.EMPTIED): SeatState.VACANT,
    (SeatState.LEAVING, Move.EMPTIED): SeatState.VACANT,
}


class ElectionError(AssertionError):
    """The core broke a rule, or its shell broke the order of things; the message tells what led there."""


class IllegalMoveError(ElectionError):
    """A move that the table does not have."""


@dataclass
class Holder:
    """The process that may hold a grant."""

    node: str
    incarnation: str
    epoch: int
    elected_at: float
    #: No grant of it is good from then on: the end of its lease as of the newest heartbeat answered with PRIMARY.
    right_until: float
    #: Whether it has said that it is primary in this epoch.
    acknowledged: bool = False

    def is_process(self, lease: NodeLease) -> bool:
        """Whether the lease is this very process's."""
        return (self.node, self.incarnation) == (lease.node, lease.incarnation)

    def why_over(self, lease: NodeLease | None, lease_s: float, now_s: float) -> str:
        """Whose lease, and how late: a coordinator that was held up itself says that, too."""
        heard = "" if lease is None else f": nothing was heard of it for {now_s - lease.heard_at:.2f} s"
        late_s = now_s - self.right_until
        own = f"; this coordinator looked {late_s:.2f} s late" if late_s > lease_s / 10 else ""
        return f"its lease of {lease_s:g} s is over{heard}{own}"


@dataclass(frozen=True)
class Lost:
    """A holder that is not primary any more, for the log."""

    node: str
    epoch: int
    why: str
    #: Whether an operator wanted it.
    asked: bool


class Seat:
    """The seat, its holder, and the story that led there."""

    def __init__(self) -> None:
        self.state = SeatState.VACANT
        #: Set in HELD and LEAVING, and only there.
        self.holder: Holder | None = None
        #: The last one who left HELD.
        self.lost: Lost | None = None
        #: Lines, and events with their times: those become lines only where somebody reads them.
        self._story: deque[str | tuple[float, object]] = deque(maxlen=24)

    @property
    def primary(self) -> str:
        """The primary's name: the holder in HELD, else nobody."""
        return self.holder.node if self.holder is not None and self.state is SeatState.HELD else ""

    def is_granted_to(self, lease: NodeLease) -> bool:
        """Whether this process is to be told PRIMARY."""
        return self.state is SeatState.HELD and self.holder is not None and self.holder.is_process(lease)

    def tell(self, line: str) -> None:
        """Adds a line to the story that an error would tell."""
        self._story.append(line)

    def hear(self, now_s: float, event: object) -> None:
        """Adds an event to that story."""
        self._story.append((now_s, event))

    def lose(self, move: Move, why: str, *, asked: bool = False) -> None:
        """TOLD or EMPTIED, with the reason. Raises IllegalMoveError."""
        if self.holder is not None and self.state is SeatState.HELD:
            self.lost = Lost(self.holder.node, self.holder.epoch, why, asked)
        self.move(move)

    def move(self, move: Move, holder: Holder | None = None) -> None:
        """Makes a move; `holder` with WRITTEN and RENEWED. Raises IllegalMoveError."""
        state = TRANSITIONS.get((self.state, move))
        if state is None:
            raise IllegalMoveError(self.with_story(f"the seat is {self.state.value}, and {move.value}"))
        self.tell(f"{self.state.value} -> {state.value}: {move.value}")
        self.state = state
        if state is SeatState.HELD:
            self.holder = holder
        elif state is not SeatState.LEAVING:
            self.holder = None

    def with_story(self, message: str) -> str:
        """The message, and what led there."""
        told = [line if isinstance(line, str) else f"{line[0]:.3f} {line[1]}" for line in self._story]
        return "\n  ".join([message, *told])

    def validate(self) -> None:
        """Raises ElectionError where the holder does not fit the state."""
        if (self.holder is not None) != (self.state in (SeatState.HELD, SeatState.LEAVING)):
            raise ElectionError(self.with_story(f"the seat is {self.state.value} with holder {self.holder}"))
