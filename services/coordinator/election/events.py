"""What the election core is told (events), and what it asks of its shell (actions).

Times are seconds of one monotonic clock, the coordinator's own. Names of nodes are unique in the cluster; a *process*
is a name together with its incarnation, because a node that restarts keeps its name.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from services.shared.cores import Tick


class NodeState(IntEnum):
    """A node's life cycle as its heartbeats tell it; the numbers are those of `fasttree.v1.NodeState`."""

    UNSPECIFIED = 0
    JOINING = 1
    LOADING = 2
    CATCHING_UP = 3
    PASSIVE = 4
    PRIMARY = 5
    DRAINING = 6


#: The states in which a node answers reports.
READY_STATES = frozenset({NodeState.PASSIVE, NodeState.PRIMARY})


class Role(IntEnum):
    """A node's role as the coordinator gives it; the numbers are those of `fasttree.v1.Role`."""

    PASSIVE = 1
    PRIMARY = 2


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What survives the coordinator: written before any grant that depends on it leaves."""

    #: Number of the newest election; never goes down.
    epoch: int = 0
    #: The node that won it; empty before the first one. It alone can hold a lease of this epoch.
    primary: str = ""
    #: Whether an operator has paused elections.
    paused: bool = False
    #: The winner's process: a later process of the same name was promised nothing.
    primary_incarnation: str = ""
    #: Of several pushers: the newest election among them, and who won it (services/coordinator/pushers).
    pusher_epoch: int = 0
    pusher: str = ""
    pusher_incarnation: str = ""
    pusher_address: str = ""
    #: Another node may be elected in the primary's place, and how long coordinators vouch for it otherwise, in
    #: milliseconds; 0: not at all (`vouching.py`).
    contested: bool = False
    vouch_ms: int = 0
    #: The id of the cluster's log: that which the newest pusher that took pushes had. Empty: none is known.
    pusher_log: str = ""


# ---- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """A node's heartbeat has been received."""

    node: str
    incarnation: str
    #: Counts this process's heartbeats, from 1. One that is not above the last one is late or repeated, and ignored.
    sequence: int
    state: NodeState
    import_id: int = 0
    position: int = 0
    #: The epoch in which the node was primary when it sent this; 0 if it was not.
    primary_epoch: int = 0
    #: The highest epoch that the node has ever heard of.
    known_epoch: int = 0
    #: `host:port` of its report port, to find it in the host file.
    address: str = ""
    #: The log that `position` counts in; empty before the node's first contact with a pusher.
    log_id: str = ""


@dataclass(frozen=True, kw_only=True)
class StreamEnded:
    """A node's heartbeat stream has ended. That says nothing about the node: its lease runs on."""

    node: str
    incarnation: str


@dataclass(frozen=True, kw_only=True)
class SwitchoverAsked:
    """An operator wants another primary; empty `to_node`: the best ready node that is not primary."""

    request: int
    to_node: str = ""


@dataclass(frozen=True, kw_only=True)
class PauseAsked:
    """An operator wants no more elections."""

    request: int


@dataclass(frozen=True, kw_only=True)
class ResumeAsked:
    """An operator wants elections again."""

    request: int


@dataclass(frozen=True, kw_only=True)
class PersistDone:
    """What `Persist` asked for is durable."""

    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class PersistFailed:
    """What `Persist` asked for may or may not be durable."""

    recorded: Recorded
    reason: str


@dataclass(frozen=True, kw_only=True)
class HostsChanged:
    """The host file was edited."""

    #: Names of nodes, or `host:port` of their report ports, first choice first.
    hosts_order: tuple[str, ...]


Event = (
    Heartbeat
    | StreamEnded
    | SwitchoverAsked
    | PauseAsked
    | ResumeAsked
    | PersistDone
    | PersistFailed
    | HostsChanged
    | Tick
)


# ---- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Persist:
    """Make this durable, then feed back `PersistDone` (or `PersistFailed`).

    Everything that depends on it comes only after `PersistDone`: no grant of a new epoch leaves before it is on disk.
    What is durable already is written all the same: that shows whether anything can be.
    One write at a time: there is no second `Persist` before the first has been answered.
    """

    recorded: Recorded


@dataclass(frozen=True, kw_only=True)
class OthersReady:
    """How far the ready nodes beside one are, in its log: the newest import and the furthest position of any."""

    #: Whether every ready node is counted.
    complete: bool
    import_id: int
    position: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Tell a node its role. The lease runs `lease_s` from when the node *sent* heartbeat `sequence`."""

    node: str
    incarnation: str
    sequence: int
    role: Role
    epoch: int
    lease_s: float
    #: Name of the primary, empty while there is none.
    primary: str
    #: Not an answer to a heartbeat just received, but sent because the role changed, or to have a heartbeat at once:
    #: a node answers each of these with a heartbeat.
    pushed: bool = False
    #: Only told a node that is not ready (leases.py, rule 7).
    others_ready: OthersReady | None = None


@dataclass(frozen=True, kw_only=True)
class Refuse:
    """End this process's stream: ALREADY_EXISTS, another process holds the node's name."""

    node: str
    incarnation: str
    message: str


@dataclass(frozen=True, kw_only=True)
class SwitchoverDone:
    """The switchover is over, and the wanted node is primary."""

    request: int
    from_node: str
    to_node: str
    epoch: int
    #: From the old primary's demotion to the new one's election; 0 where there was nothing to do.
    took_s: float


class SwitchoverProblem(Enum):
    """Why a switchover did not happen."""

    NO_SUCH_NODE = "no such node"
    NOT_POSSIBLE = "not possible now"
    TOO_LATE = "not in time"


@dataclass(frozen=True, kw_only=True)
class SwitchoverFailed:
    """The switchover is over, and the wanted node is not primary because of it."""

    request: int
    problem: SwitchoverProblem
    #: One line for the operator: what is wrong, and the way out.
    message: str


@dataclass(frozen=True, kw_only=True)
class PauseDone:
    """Elections are durably paused, or on again."""

    request: int
    paused: bool


@dataclass(frozen=True, kw_only=True)
class PauseFailed:
    """The wish could not be made durable."""

    request: int
    message: str


@dataclass(frozen=True, kw_only=True)
class ClusterChanged:
    """Whoever watches wants to know: roles, states, leases, epoch, pause or an import changed."""


Action = Persist | Answer | Refuse | SwitchoverDone | SwitchoverFailed | PauseDone | PauseFailed | ClusterChanged
