"""The seat, behind a door of its own. Short form of a move: its name in small letters, and who holds the seat then."""

from __future__ import annotations

from dataclasses import dataclass

from services.coordinator.election.events import Heartbeat, NodeState
from services.coordinator.election.leases import NodeLease
from services.coordinator.election.seat import Holder, IllegalMoveError, Move, Seat
from tests.scenarios.driver import Table, Timeless, of_folder


@dataclass(frozen=True)
class Start:
    """A seat is vacant at first."""


@dataclass(frozen=True)
class Moved:
    """The seat makes a move; a node holds it then."""

    move: Move
    holder: str = ""


class MovedSeat:
    """The seat as a core: each move an event, and nothing comes of it but the seat's state."""

    def __init__(self) -> None:
        self.seat = Seat()

    def handle(self, event: Moved) -> list[object]:
        """Raises IllegalMoveError where the table has nothing."""
        holder = Holder(event.holder, f"{event.holder}1", 1, 0.0, 1.0) if event.holder else None
        self.seat.move(event.move, holder)
        return []

    def validate(self) -> None:
        """The seat's own."""
        self.seat.validate()


def short(words: list[str], core: Timeless[MovedSeat]) -> object | None:
    name, *holder = words
    return Moved(Move[name.upper()], *holder) if name.upper() in Move.__members__ else None


def state(timeless: Timeless[MovedSeat], now_s: float) -> str:
    """The seat, and who is told that it is primary."""
    seat = timeless.core.seat
    holder = f" by {seat.holder.node}" if seat.holder else ""
    told = [process for process in ("a1", "a2", "b1") if seat.is_granted_to(_lease(process))]
    return f"{seat.state.value}{holder}, primary {seat.primary or '-'}, granted to {','.join(told) or 'nobody'}"


def _lease(process: str) -> NodeLease:
    heartbeat = Heartbeat(node=process[0], incarnation=process, sequence=1, state=NodeState.PASSIVE)
    return NodeLease(last=heartbeat, heard_at=0.0, ends_at=1.0)


TABLE = Table(
    start=Start(),
    make=lambda _: Timeless(MovedSeat()),
    events=(Moved,),
    state=state,
    errors=(IllegalMoveError,),
    short=short,
)

test_the_core_does_what_the_file_says = of_folder(__file__, TABLE)
