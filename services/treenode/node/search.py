"""Who is asked for a snapshot, and which one is taken: the search for a base.

A part of the cutover's core (`services/treenode/node/cutover.py`), which tells it what happens and when it may
begin. The rules:

1. It goes on for as long as the node needs a base (sequence.py, rule 4), and no longer. It doesn't begin while an
   import is on its way, which would be the base too; beside one that comes later it goes on.
2. One round asks one peer after another, the furthest first, until one has what fits. Then the snapshot is a build of
   the cutover's; where that comes to nothing, the next peer is asked. Where no peer has any, and there is a place that
   snapshots are stored in (`services/treenode/snapshots/stored`), those there are asked for as peers are, the newest
   first: a place that is away costs nobody time who has a peer. After a round in vain it rests, longer each time.
3. A snapshot fits if it brings this node on: it is of this node's log, the log goes on where it ends, its import is
   none that the node is past, and it is not larger than the node may fetch. Where records wait for it, it is further on
   than the node then: the log begins only behind that. Where they don't, it follows the log to where the node is. Where
   an import is in force, a bare one (node.py, rule 1) does not fit: the node would have nothing to serve, and look for
   nothing better. What was offered is judged, and judged again when it is to be taken: the node may be elsewhere by
   then, and only what was read shows whether it is bare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from services.shared.backoff import Backoff, Waits
from services.treenode.node.sequence import SequenceCore
from services.treenode.node.settings import SearchSettings


@dataclass(frozen=True, slots=True)
class PeerSnapshot:
    """A snapshot as the peer that has it describes it."""

    log_id: str
    import_id: int
    position: int
    size_bytes: int = 0
    #: It has neither an import nor a member: known once it was read.
    bare: bool = field(default=False, kw_only=True)


# --- events: by the number of the search that the action had ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeersFound:
    """Who may be asked, best first. `has_store`: after them, what is stored is to be found (rule 2)."""

    search: int
    peers: tuple[str, ...]
    has_store: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotOffered:
    """The peer that was asked has this."""

    search: int
    snapshot: PeerSnapshot


@dataclass(frozen=True, slots=True)
class SnapshotRead:
    """What was fetched is a tree in memory: it goes on as a build of that number, unless it doesn't fit any more."""

    search: int
    build: int
    snapshot: PeerSnapshot
    carried: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerFailed:
    """The peer that was asked has nothing, or nothing that is whole."""

    search: int
    reason: str


# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FindPeers:
    """Find out who may be asked; answered by `PeersFound`."""

    search: int


@dataclass(frozen=True, slots=True)
class FindStored:
    """Find out which snapshots are stored; answered by `PeersFound`, in which each of them is a peer."""

    search: int


@dataclass(frozen=True, slots=True)
class AskPeer:
    """Ask for the peer's newest snapshot; answered by `SnapshotOffered` or `PeerFailed`."""

    search: int
    peer: str


@dataclass(frozen=True, slots=True)
class FetchSnapshot:
    """Fetch and read what the peer offered; answered by `SnapshotRead` or `PeerFailed`."""

    search: int
    peer: str


@dataclass(frozen=True, slots=True)
class PassOver:
    """Nothing is taken from this peer; for the node's log."""

    search: int
    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class StopSearch:
    """Whatever goes on for the search ends."""

    search: int


SearchEvent = PeersFound | SnapshotOffered | SnapshotRead | PeerFailed
SearchAction = FindPeers | FindStored | AskPeer | FetchSnapshot | PassOver | StopSearch


class Stage(Enum):
    """How far a search is."""

    RESTING = "nobody is asked"
    LISTING = "finds out whom to ask"
    ASKING = "asks a peer"
    FETCHING = "fetches its snapshot"
    HANDED_OVER = "the snapshot is a build"


def why_unfit(snapshot: PeerSnapshot, sequence: SequenceCore, bytes_max: int) -> str:
    """Why the snapshot would not bring the node on (rule 3); empty where it would."""
    log_end = sequence.log_end
    if sequence.log_id and snapshot.log_id != sequence.log_id:
        return f"its snapshot is of log {snapshot.log_id}, this node's is {sequence.log_id}"
    if log_end is not None and snapshot.position + 1 < log_end.first_position:
        return f"its snapshot ends at {snapshot.position}, the log begins at {log_end.first_position}"
    if snapshot.import_id < sequence.base_import_id:
        return f"its snapshot of import {snapshot.import_id} at {snapshot.position} is too old for this node"
    if snapshot.bare and log_end is not None and log_end.import_id > 0:
        before = f"its snapshot at {snapshot.position} is of before the first import and the first member"
        return f"{before}, and import {log_end.import_id} is in force"
    if snapshot.size_bytes > bytes_max:
        return f"its snapshot has {snapshot.size_bytes} bytes: more than treenode.snapshot_bytes_max"
    return ""


class SnapshotSearch:
    """One search at a time, round after round."""

    def __init__(self, settings: SearchSettings, sequence: SequenceCore, jitter: Callable[[], float]) -> None:
        """`jitter`: draws from [0, 1), so that nodes don't come back in step."""
        self._settings = settings
        self._sequence = sequence
        self._rests = Waits(Backoff(settings.search_backoff_initial_s, settings.search_backoff_max_s, jitter))
        #: Of the search under way, or the last one.
        self.number = 0
        self.stage = Stage.RESTING
        #: Whom to ask still, best first.
        self._peers: list[str] = []
        #: Whether what is stored is to be found after them.
        self._has_store = False
        #: Who is being asked; empty before.
        self.peer = ""
        #: When the next round may begin; None while nothing is wanted, or a round is under way.
        self.rests_until_s: float | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a round goes on, or the next one is planned."""
        return self.stage is not Stage.RESTING or self.rests_until_s is not None

    @property
    def has_hope(self) -> bool:
        """Whether a peer is asked, or its snapshot is on its way."""
        return self.stage in (Stage.ASKING, Stage.FETCHING, Stage.HANDED_OVER)

    def go_on(self, now_s: float, *, wanted: bool, may_begin: bool) -> list[SearchAction]:
        """Begins or ends, as the node's need says. `may_begin`: no import is on its way."""
        if not wanted:
            return self._end()
        if self.stage is not Stage.RESTING or not may_begin:
            return []
        if self.rests_until_s is not None and now_s < self.rests_until_s:
            return []
        self.rests_until_s = None
        self.number += 1
        self.stage = Stage.LISTING
        return [FindPeers(self.number)]

    def peers_found(self, found: PeersFound, now_s: float) -> list[SearchAction]:
        """Whom to ask in this round."""
        if self.stage is not Stage.LISTING:
            return []
        self._peers, self._has_store = list(found.peers), found.has_store
        return self._ask_next(now_s)

    def offered(self, snapshot: PeerSnapshot, now_s: float) -> list[SearchAction]:
        """The peer that is asked has this."""
        if self.stage is not Stage.ASKING:
            return []
        if reason := self.why_unfit(snapshot):
            return self.failed(reason, now_s)
        self.stage = Stage.FETCHING
        return [FetchSnapshot(self.number, self.peer)]

    def why_unfit(self, snapshot: PeerSnapshot) -> str:
        """Rule 3."""
        return why_unfit(snapshot, self._sequence, self._settings.snapshot_bytes_max)

    def hand_over(self) -> bool:
        """The snapshot is a build of the cutover's from now on; False where none was being fetched."""
        if self.stage is not Stage.FETCHING:
            return False
        self.stage = Stage.HANDED_OVER
        return True

    def failed(self, reason: str, now_s: float) -> list[SearchAction]:
        """The peer, or the build out of its snapshot, came to nothing: the next one is asked."""
        if self.stage not in (Stage.ASKING, Stage.FETCHING, Stage.HANDED_OVER):
            return []
        return [PassOver(self.number, self.peer, reason), *self._ask_next(now_s)]

    def _ask_next(self, now_s: float) -> list[SearchAction]:
        if self._peers:
            self.peer = self._peers.pop(0)
            self.stage = Stage.ASKING
            return [AskPeer(self.number, self.peer)]
        if self._has_store:
            self._has_store = False
            self.stage = Stage.LISTING
            return [FindStored(self.number)]
        self.stage = Stage.RESTING
        self.rests_until_s = now_s + self._rests.next_s()
        return []

    def _end(self) -> list[SearchAction]:
        self._rests.reset()
        self.rests_until_s = None
        stage, self.stage = self.stage, Stage.RESTING
        if stage in (Stage.RESTING, Stage.HANDED_OVER):
            return []
        return [StopSearch(self.number)]

    def validate(self) -> None:
        """Raises AssertionError on a broken invariant."""
        if (self.rests_until_s is not None) and self.stage is not Stage.RESTING:
            raise AssertionError(f"a search rests until {self.rests_until_s}, and {self.stage.value}")
