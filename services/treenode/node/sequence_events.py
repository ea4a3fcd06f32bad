"""What the order of records is told (events) and what it asks for (actions): see `sequence.py`."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LogEnd:
    """How far a log goes, as a pusher said at `sent_at_s` (seconds since 1970 by the pusher's clock; 0 unknown)."""

    first_position: int
    position: int
    import_id: int
    sent_at_s: float = 0.0


@dataclass(frozen=True)
class Halt:
    """The node takes no record from `before` on."""

    before: int
    #: The update at fault: that one, or a held one that it would release.
    fault_position: int
    reason: str


@dataclass(frozen=True)
class PusherHello:
    """A pusher introduces itself. `skipped`: every update that an operator decided to skip, by position."""

    log_id: str
    log_end: LogEnd
    skipped: tuple[int, ...] = ()
    #: The logs in whose place an operator has put this one, and why.
    replaced_log_ids: tuple[str, ...] = ()
    adopted_reason: str = ""
    #: Of one of several pushers, in which it is active; 0: it is the only one.
    epoch: int = 0


@dataclass(frozen=True)
class LogEndHeard:
    """A later word on how far the log goes."""

    log_end: LogEnd


@dataclass(frozen=True)
class RecordsReceived:
    """Records at hand, whose checksums were found good."""

    positions: Sequence[int]


@dataclass(frozen=True)
class RecordsApplied:
    """The engine has every record up to this position."""

    position: int


@dataclass(frozen=True)
class TreeTaken:
    """The tree was replaced as a whole, by a snapshot's or an import's.

    `log_id` is empty where the tree does not know its log (an import before the first contact).
    """

    log_id: str
    import_id: int
    position: int
    #: It has neither an import nor a member (node.py, rule 1).
    bare: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class LogUnreadable:
    """The import can't be built here: a record that it needs is damaged in the log."""

    import_id: int
    reason: str


@dataclass(frozen=True)
class UpdateFailed:
    """The engine failed at a record. The tree stands at `position`, before it, and has nothing of it."""

    halt: Halt
    position: int


@dataclass(frozen=True)
class StateLost:
    """The tree can't be trusted, and nothing here can take its place. `halt`: what broke it, and is not tried again."""

    reason: str
    halt: Halt | None = None


@dataclass(frozen=True)
class ApplyRecords:
    """Apply the records [first, first + count) of those received; the ones before are repeats."""

    first: int
    count: int


@dataclass(frozen=True)
class SetAside:
    """Keep the state's files out of the way and go on with an empty tree of this log; before any further record."""

    reason: str
    log_id: str


@dataclass(frozen=True)
class GoOver:
    """Go on with an empty tree of this log, before any further record; what is served stays until `DropOldTree`."""

    reason: str
    log_id: str


@dataclass(frozen=True)
class DropOldTree:
    """The tree that updates go to is served from now on; the one of the log before is not needed any more."""


@dataclass(frozen=True)
class FindBase:
    """Look for a snapshot or an import to start from."""

    reason: str


@dataclass(frozen=True)
class RefusePusher:
    """End the pusher's stream with FAILED_PRECONDITION."""

    reason: str


@dataclass(frozen=True)
class AnswerStatus:
    """Tell the pusher where the node stands: it goes on from there."""


SequenceEvent = (
    PusherHello | LogEndHeard | RecordsReceived | RecordsApplied | TreeTaken | LogUnreadable | UpdateFailed | StateLost
)
SequenceAction = ApplyRecords | SetAside | GoOver | DropOldTree | FindBase | RefusePusher | AnswerStatus
