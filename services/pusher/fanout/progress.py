"""What the fan-out core keeps of one node, and the states that its stream may be in: see `replication.py`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from services.pusher.fanout.events import NodeStands, Send


class ReplicationBrokenError(Exception):
    """A rule above was broken: a fault of the program, never of a node. Says the node and its story."""


class NodeStream(StrEnum):
    """The state of the stream to one node."""

    AWAY = "away"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    BEHIND_LOG = "behind_log"
    NEEDS_IMPORT = "needs_import"
    OTHER_LOG = "other_log"
    AHEAD_OF_LOG = "ahead_of_log"


#: The states in which the node has said where it stands.
STOOD = frozenset(set(NodeStream) - {NodeStream.AWAY, NodeStream.CONNECTING})

#: From each state, the states that may follow it. A node that has said where it stands may say so again at any time.
TRANSITIONS: dict[NodeStream, frozenset[NodeStream]] = {
    NodeStream.AWAY: frozenset({NodeStream.CONNECTING}),
    NodeStream.CONNECTING: STOOD | {NodeStream.AWAY},
    **{state: STOOD | {NodeStream.AWAY} for state in STOOD},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicationSettings:
    """Limits of the fan-out. Times are seconds."""

    batch_updates_max: int = 2000
    batch_bytes_max: int = 1 << 20
    window_updates: int = 20_000
    window_bytes: int = 8 << 20
    small_updates: int = 100
    small_batches_max: int = 1
    heartbeat_s: float = 0.5
    connect_timeout_s: float = 3.0
    stall_timeout_s: float = 10.0
    steady_after_s: float = 5.0
    backoff_initial_s: float = 0.05
    backoff_max_s: float = 1.0


@dataclass(slots=True)
class NodeReplication:
    """One node's progress. Read it; only the core writes it."""

    node: str
    state: NodeStream = NodeStream.AWAY
    #: Number of the newest stream; no two streams of any nodes have the same.
    session: int = 0
    #: Next position to send. Beyond `applied_position` in every state but away and connecting.
    next_position: int = 1
    #: The highest position that was ever sent, or that the node had, in this session.
    sent_position: int = 0
    #: The node's last word, kept while it is away.
    applied_position: int = 0
    import_id: int = 0
    #: Whether the node ever said where it stands, to this process.
    ever_stood: bool = False
    #: Whether its stream stands, and it had every durable update at some time since the stream began.
    in_step: bool = False
    #: Last position and bytes of each batch that is sent and not yet applied, oldest first.
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)
    #: Sum of the bytes in `in_flight`.
    in_flight_bytes: int = 0
    #: The one `Send` or `SendLogEnd` that the shell has not answered, and whether its `Sent` is still to come.
    writing: bool = False
    sending: Send | None = None
    #: When the stream was asked for; when the node last moved; when it last was sent something.
    connected_at: float = 0.0
    progress_at: float = 0.0
    written_at: float = 0.0
    #: When to connect (while away), or to read again (after `ReadFailed`).
    retry_at: float = 0.0
    failures: int = 0
    #: The log's end when the node was found ahead of it; None while it was not.
    forked_at: int | None = None
    #: When it was last known to be there; None if never.
    seen_at: float | None = None
    #: Why it is not in step; empty where all is well.
    note: str = ""
    #: Its last changes of state, oldest first.
    story: deque[str] = field(default_factory=lambda: deque(maxlen=12))

    @property
    def shares_log(self) -> bool:
        """Whether its positions mean what the log's do: only then does it confirm updates."""
        return self.connected and self.state not in (NodeStream.OTHER_LOG, NodeStream.AHEAD_OF_LOG)

    @property
    def connected(self) -> bool:
        """Whether the node has answered on its present stream."""
        return self.state in STOOD


def stands(address: str, node: NodeReplication | None) -> NodeStands:
    """How a node is now; None: it is no longer in the cluster."""
    if node is None:
        return NodeStands(address, connected=False, in_step=False, applied_position=0, import_id=0)
    return NodeStands(address, node.connected, node.in_step, node.applied_position, node.import_id)
