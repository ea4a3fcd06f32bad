"""One new tree on its way, and how far it is.

| phase | updates | what goes on |
|---|---|---|
| ASKED | applied | it waits for its turn |
| BUILDING | applied | its shell makes the tree |
| WAITING | applied | the live tree is not yet where the import's file was taken |
| OFFERING | applied | the updates that were held at the file's position are found, and offered to the new tree |
| CATCHING_UP | applied | the log is read into it, up to where the live tree was as the reading began |
| LEVELLING | paused | what the live tree has more is read: a few thousand updates at most |
| COMPARING | paused | both stand at one position; is the new one too different? |
| SWAPPING | paused | it waits for the writer's turn in the gate |
| ENDED | applied | it was taken, or came to nothing |

What leads from phase to phase is the cutover's to decide (`cutover.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from services.treenode.node.cutover_events import (
    BuildAction,
    BuildEvent,
    BuildFailed,
    BuildRefused,
    Cancelled,
    CarriedFound,
    CarriedOffered,
    Compared,
    InGate,
    LogRead,
    LogReadFailed,
    TreeBuilt,
    Way,
)
from services.treenode.node.search import PeerSnapshot


class Phase(Enum):
    """How far a build is; see the table above."""

    ASKED = "waits for its turn"
    BUILDING = "is made"
    WAITING = "waits for the live tree"
    OFFERING = "is offered what it carries"
    CATCHING_UP = "catches up"
    LEVELLING = "is levelled"
    COMPARING = "is compared"
    SWAPPING = "waits for the gate"
    ENDED = "has ended"


_P = Phase

TreeT_co = TypeVar("TreeT_co", covariant=True)

#: From each phase, those that may follow; from every one but the last, ENDED may too.
TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    _P.ASKED: frozenset({_P.BUILDING, _P.CATCHING_UP, _P.SWAPPING, _P.ENDED}),
    _P.BUILDING: frozenset({_P.WAITING, _P.OFFERING, _P.CATCHING_UP, _P.ENDED}),
    _P.WAITING: frozenset({_P.OFFERING, _P.ENDED}),
    _P.OFFERING: frozenset({_P.CATCHING_UP, _P.ENDED}),
    _P.CATCHING_UP: frozenset({_P.CATCHING_UP, _P.LEVELLING, _P.ENDED}),
    _P.LEVELLING: frozenset({_P.LEVELLING, _P.CATCHING_UP, _P.COMPARING, _P.SWAPPING, _P.ENDED}),
    _P.COMPARING: frozenset({_P.LEVELLING, _P.CATCHING_UP, _P.SWAPPING, _P.ENDED}),
    _P.SWAPPING: frozenset({_P.LEVELLING, _P.CATCHING_UP, _P.ENDED}),
    _P.ENDED: frozenset(),
}
#: In which phase each word about a build may come; whoever asked may go away in any.
EXPECTED: dict[type[BuildEvent], frozenset[Phase]] = {
    TreeBuilt: frozenset({_P.BUILDING}),
    BuildRefused: frozenset({_P.BUILDING}),
    BuildFailed: frozenset({_P.BUILDING}),
    CarriedFound: frozenset({_P.OFFERING}),
    CarriedOffered: frozenset({_P.OFFERING}),
    LogRead: frozenset({_P.CATCHING_UP, _P.LEVELLING}),
    LogReadFailed: frozenset({_P.OFFERING, _P.CATCHING_UP, _P.LEVELLING}),
    Compared: frozenset({_P.COMPARING}),
    InGate: frozenset({_P.SWAPPING}),
    Cancelled: frozenset(Phase) - {_P.ENDED},
}
#: In these, nothing is applied to the live tree.
PAUSED_PHASES = frozenset({_P.LEVELLING, _P.COMPARING, _P.SWAPPING})


class IllegalPhaseError(AssertionError):
    """A phase or a word that can't follow: a defect of this program or of its shell."""


@dataclass(slots=True)
class Build:
    """One new tree on its way."""

    number: int
    way: Way
    import_id: int
    #: The log that its positions count in; empty where nobody knew when it was asked for.
    log_id: str
    #: Where the new tree stands, or will: an import's file has a position before there is a tree.
    position: int = 0
    #: What it carries; None for a relayout, and while nobody has said.
    carried: tuple[int, ...] | None = None
    #: Whether a new import is taken without what it carries, since no node can say that.
    as_it_comes: bool = False
    #: The import whose tree says what it carries; None where that was said, or may be any's.
    carried_of: int | None = None
    #: Whether the import was in force when it was asked for.
    was_in_force: bool = False
    #: Where the log ended when a new import was asked for: it is read to there before it takes its place (rule 3).
    reach: int = 0
    #: What was read of a peer, where that fitted as it was read.
    found: PeerSnapshot | None = None
    #: Whether it is to be compared with the live tree before it takes its place.
    to_compare: bool = False
    phase: Phase = _P.ASKED
    #: The last position that is being read, or was.
    reading_to: int = 0
    #: When the phase has lasted for too long; None where it may last.
    until_s: float | None = None

    def enter(self, phase: Phase, until_s: float | None = None) -> None:
        """Goes on to another phase, for so long at most. Raises IllegalPhaseError where the table has no such step."""
        if phase not in TRANSITIONS[self.phase]:
            raise IllegalPhaseError(f"a build that {self.phase.value} now {phase.value}: {self}")
        self.phase, self.until_s = phase, until_s

    @property
    def falls_short(self) -> bool:
        """Whether its tree lacks records that have to be in it, wherever the live one is."""
        return self.position < self.reach and not self.to_compare

    def why_other_tree(self, import_id: int, in_force: int) -> str:
        """Why a node whose tree is of that import can't say what this one carries; empty where it can, or need not."""
        if self.carried_of is None:
            return ""
        if in_force > self.carried_of:
            return f"import {in_force} came in force after {self.carried_of}; ask again"
        if self.carried is None and import_id != self.carried_of:
            return f"the node's tree is of import {import_id}, not of import {self.carried_of}; ask again"
        return ""

    def why_late(self, position: int, pause_s_max: float) -> str:
        """What it waited for in vain, in a node that stands there."""
        if self.phase is _P.WAITING:
            stands = f"the node is at position {position}, the file at {self.position}"
            return f"{stands}: it can't tell which updates were held then"
        return f"the log gave no answer for {pause_s_max:g} s while updates were paused"

    def validate(self) -> None:
        """Raises AssertionError where it has no deadline and needs one, or the other way round."""
        if (self.until_s is not None) != (self.phase in (_P.WAITING, _P.LEVELLING)):
            raise AssertionError(f"a build that {self.phase.value} until {self.until_s}")

    def expect(self, event: BuildEvent) -> None:
        """Raises IllegalPhaseError where the word can't come in this phase."""
        if self.phase not in EXPECTED[type(event)]:
            raise IllegalPhaseError(f"{event} for a build that {self.phase.value}: {self}")


class BuildShell(Protocol[TreeT_co]):
    """Who does the work of one build (`services/treenode/replication/build_runner.py`)."""

    @property
    def tree(self) -> TreeT_co:
        """The new tree, once it was made."""

    @property
    def last_record(self) -> tuple[int, int]:
        """Position and checksum of the newest record that was read into it; (0, 0): none."""

    @property
    def percent(self) -> int:
        """How much of the way is done."""

    def perform(self, action: BuildAction) -> None:
        """Begins what the core asks for, or ends it. Never waits."""
