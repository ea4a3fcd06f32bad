"""What the cutover's core is told (events) and what it asks for (actions): see `cutover.py`.

A *build* is one new tree on its way, by the number that its shell gave it. Words about one that the core has done with
are ignored: its shell may have been about to say them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from services.shared.cores import Tick
from services.treenode.node.search import SearchAction, SearchEvent
from services.treenode.node.sequence_events import (
    LogUnreadable,
)


class Way(StrEnum):
    """How a tree comes to stand beside the live one."""

    IMPORT = "import"
    SNAPSHOT = "a peer's snapshot"
    RELAYOUT = "relayout"


class Cause(Enum):
    """Why a build came to nothing; the values are what the caller's error names as its reason."""

    #: Its shell could not make the tree, and knows why.
    NOT_BUILT = "IMPORT_NOT_LOADED"
    LOG_NOT_READ = "LOG_NOT_READ"
    NODE_BEHIND = "NODE_BEHIND"
    OTHER_LOG = "OTHER_LOG"
    #: The tree that it was made of, or for, is no longer the live one.
    REPLACED = "TREE_REPLACED"
    #: The process is asked to end.
    NODE_ENDS = "UNAVAILABLE"


# --- events: builds --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImportAsked:
    """The pusher asks the node to take an import. `carried`: None until a node has taken it. `as_it_comes`: no node can
    say what it carries. `log_id`: the log that it is of; empty: whichever the node's is. `carried_of`: the import whose
    tree says what it carries, where nobody has said; None: whichever the node's is.
    """

    build: int
    import_id: int
    as_of_position: int
    carried: tuple[int, ...] | None = None
    as_it_comes: bool = False
    log_id: str = ""
    carried_of: int | None = None


@dataclass(frozen=True, slots=True)
class RelayoutAsked:
    """Enough has changed for a new layout."""

    build: int


@dataclass(frozen=True, slots=True)
class TreeBuilt:
    """The new tree is there, at this position: its file's, or the one at which the live tree was copied."""

    build: int
    position: int


@dataclass(frozen=True, slots=True)
class BuildRefused:
    """The file is bad."""

    build: int
    reason: str


@dataclass(frozen=True, slots=True)
class BuildFailed:
    """The tree could not be made, for no fault of the file."""

    build: int
    reason: str


@dataclass(frozen=True, slots=True)
class CarriedFound:
    """Which updates the live tree held at the position that was asked about."""

    build: int
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CarriedOffered:
    """The new tree was offered the carried updates."""

    build: int


@dataclass(frozen=True, slots=True)
class LogRead:
    """The new tree has taken what the log gave, up to this position."""

    build: int
    position: int


@dataclass(frozen=True, slots=True)
class LogReadFailed:
    """The log could not be read, or not into the new tree. `damaged`: a record that was asked for is, so that asking
    again is in vain. `engine_failed`: the engine can't take an update in it; so is it then."""

    build: int
    reason: str
    damaged: bool = False
    engine_failed: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """The two trees were compared. `refusal`: why they differ too much; empty where they don't."""

    build: int
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class InGate:
    """The build's writer is alone in the gate: what comes of this is done before it leaves."""

    build: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Whoever asked for the build went away."""

    build: int


# --- events: the node ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeMoved:
    """The node stands elsewhere than before, or needs something else than before (sequence.py)."""


@dataclass(frozen=True, slots=True)
class LiveTreeReplaced:
    """The live tree was replaced as a whole, by a build's or by the node's own snapshot."""


@dataclass(frozen=True, slots=True)
class NodeEnds:
    """The process is asked to end: nothing is taken any more."""


BuildEvent = (
    ImportAsked
    | RelayoutAsked
    | TreeBuilt
    | BuildRefused
    | BuildFailed
    | CarriedFound
    | CarriedOffered
    | LogRead
    | LogReadFailed
    | Compared
    | InGate
    | Cancelled
)
CutoverEvent = BuildEvent | SearchEvent | NodeMoved | LiveTreeReplaced | NodeEnds | Tick


# --- actions: builds -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MakeTree:
    """Make the new tree; answered by `TreeBuilt`, `BuildRefused` or `BuildFailed`."""

    build: int


@dataclass(frozen=True, slots=True)
class FindCarried:
    """Ask the live tree which updates it held at that position; answered by `CarriedFound`."""

    build: int
    as_of_position: int


@dataclass(frozen=True, slots=True)
class OfferCarried:
    """Read these updates from the log and offer them to the new tree; answered by `CarriedOffered` or
    `LogReadFailed`."""

    build: int
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read the log from first to last into the new tree; answered by `LogRead` or `LogReadFailed`."""

    build: int
    first_position: int
    last_position: int


@dataclass(frozen=True, slots=True)
class PauseApplying:
    """Apply nothing to the live tree from now on: its position stands still. Done before anything else happens."""


@dataclass(frozen=True, slots=True)
class ResumeApplying:
    """Apply updates again."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare the new tree with the live one, which both stand at one position; answered by `Compared`."""

    build: int


@dataclass(frozen=True, slots=True)
class EnterGate:
    """Wait for the writer's turn in the gate; then say `InGate`, inside."""

    build: int


@dataclass(frozen=True, slots=True)
class TakeTree:
    """The new tree is the live one, in this step. `log_id`: empty where the tree's maker doesn't know it. `carried`:
    of the tree; None where those of the tree before stay."""

    build: int
    log_id: str
    import_id: int
    position: int
    carried: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Stop:
    """Whatever goes on for the build ends: nothing of it is wanted any more. Comes before word to whoever asked."""

    build: int
    reason: str


# --- actions: word to whoever asked; each is a build's last ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """The node serves from the new tree. `carried`: what an import carried."""

    build: int
    carried: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Had:
    """The node serves from that import, or a newer one, already. `same`: from that very one, with what it carried."""

    build: int
    same: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """The file is bad, or differs too much from the live tree."""

    build: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The build came to nothing; asked again, it may come to more."""

    build: int
    cause: Cause
    reason: str


# --- actions: the node's life ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadBegun:
    """A tree is being read or made. Beside a live tree that changes nothing."""

    why: str


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """Nothing is being read or made any more. Where a tree came of it, that changes nothing."""

    why: str


BuildAction = (
    MakeTree
    | FindCarried
    | OfferCarried
    | ReadLog
    | Compare
    | EnterGate
    | TakeTree
    | Stop
    | Taken
    | Had
    | Refused
    | Failed
)
CutoverAction = BuildAction | SearchAction | PauseApplying | ResumeApplying | LoadBegun | LoadFailed | LogUnreadable
