"""What the fan-out core is told (events) and what it asks for (actions): see `replication.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from services.shared.cores import Tick


@dataclass(frozen=True, slots=True)
class NodesKnown:
    """The nodes to feed, by address: all and only those."""

    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeAppeared:
    """A node was heard of (the coordinator sees it): its back-off is over."""

    node: str


@dataclass(frozen=True, slots=True)
class Appended:
    """Everything up to `position` is durable."""

    position: int


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The log begins at `first_position` now."""

    first_position: int


@dataclass(frozen=True, slots=True)
class LogEndChanged:
    """Another import is in force: every node hears it now."""

    import_id: int


@dataclass(frozen=True, slots=True)
class SkipsChanged:
    """An operator's decision to skip an update is durable: every node hears of it by a new hello."""


@dataclass(frozen=True, slots=True)
class LogReplaces:
    """An operator put this log, under this id, in the place of others: every node hears it now."""

    log_id: str


@dataclass(frozen=True, slots=True)
class Stood:
    """The node said where it stands: after the hello, or after it took an import or a snapshot."""

    node: str
    session: int
    log_id: str
    position: int
    import_id: int
    #: Position of a record that the node has, and that the log has otherwise; 0: none is known.
    differs_at: int = 0
    #: The update before which it has halted, and the one at fault; 0: it goes on, and none is.
    halted_before: int = 0
    fault_position: int = 0
    #: What it says of that.
    halt_reason: str = ""


@dataclass(frozen=True, slots=True)
class FileRules:
    """A node's tree has volume types and periods of its import's file that the rules have not."""

    import_id: int
    volume_types: tuple[str, ...]
    periods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionKnown:
    """A node says which is the newest version of the rules that it knows; 0: a build from before there were any."""

    node: str
    version: int


class KnownOutcome(Enum):
    """What a node made of an update."""

    UNKNOWN = "unknown"
    APPLIED = "applied"
    HELD = "held"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Applied:
    """Every update up to `position` is in the node's tree, held or rejected."""

    node: str
    session: int
    position: int
    #: Those that were held or rejected since its last word.
    not_applied: tuple[tuple[int, KnownOutcome], ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """A `Send` hands records up to `last_position` to the transport now. Comes before the node can have seen them."""

    node: str
    session: int
    last_position: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Writable:
    """The transport took what the last `Send` or `SendLogEnd` gave it."""

    node: str
    session: int


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """The records of the last `Send` could not be read from the log. Tried again after a back-off.

    `damaged_position`: a record that is damaged for good; 0 where it was something else.
    """

    node: str
    session: int
    reason: str
    damaged_position: int = 0


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The stream is over, or could not be opened."""

    node: str
    session: int
    reason: str


ReplicationEvent = (
    NodesKnown
    | NodeAppeared
    | Appended
    | Trimmed
    | LogEndChanged
    | SkipsChanged
    | LogReplaces
    | Stood
    | Applied
    | Sent
    | Writable
    | ReadFailed
    | StreamEnded
    | Tick
)


# --- actions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a stream and send the hello with the log's end."""

    node: str
    session: int


@dataclass(frozen=True, slots=True)
class EndStream:
    """End this stream. The core has done with it: its events are ignored from now on."""

    node: str
    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send records from `first_position`, to `last_position` or to `bytes_max` (at least one), with the log's end."""

    node: str
    session: int
    first_position: int
    last_position: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class SendLogEnd:
    """Send the log's end alone (a heartbeat). Answer with `Writable`."""

    node: str
    session: int


@dataclass(frozen=True, slots=True)
class NodeConfirmed:
    """A node has every update up to `position`; `not_applied` says of which it held or rejected."""

    node: str
    position: int
    not_applied: tuple[tuple[int, KnownOutcome], ...] = ()


class Past(Enum):
    """Where a node's state comes from."""

    #: It has not said.
    UNKNOWN = "unknown"
    #: This log, or nothing at all.
    OURS = "ours"
    OTHER_LOG = "another log"
    #: This log, as it was before it lost updates.
    AHEAD = "ahead of this log"


@dataclass(frozen=True, slots=True)
class NodeStands:
    """How a node is now, for whoever else goes by it; one that is gone from the cluster is neither.

    `past`, `log_id` and `applied_position` are its last word, kept while it is away.
    """

    node: str
    connected: bool
    in_step: bool
    applied_position: int
    import_id: int
    past: Past = Past.UNKNOWN
    #: The log that it counts in.
    log_id: str = ""
    #: Whether records bring it on; not so one that needs a base, or whose state is of another log.
    follows_log: bool = True


ReplicationAction = Connect | EndStream | Send | SendLogEnd | NodeStands | NodeConfirmed
