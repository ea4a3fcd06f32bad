"""How far one node is: the state of its stream, and the window of what is sent and not yet applied.

Which state comes when, and what is sent next, is the fan-out core's to say: see `replication.py`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from services.pusher.fanout.events import NodeStands, Past, Send
from services.pusher.fanout.settings import ReplicationSettings


class ReplicationBrokenError(Exception):
    """A rule of the fan-out was broken: a fault of the program, never of a node. Says the node and its story."""


class NodeStream(StrEnum):
    """The state of the stream to one node."""

    AWAY = "away"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    BEHIND_LOG = "behind_log"
    NEEDS_IMPORT = "needs_import"
    OTHER_LOG = "other_log"
    AHEAD_OF_LOG = "ahead_of_log"


#: What two of the states say of where the node's state comes from; in the others, it is this log's.
PASTS = {NodeStream.OTHER_LOG: Past.OTHER_LOG, NodeStream.AHEAD_OF_LOG: Past.AHEAD}

#: The states in which the node has said where it stands.
STOOD = frozenset(set(NodeStream) - {NodeStream.AWAY, NodeStream.CONNECTING})

#: From each state, the states that may follow it. A node that has said where it stands may say so again at any time.
TRANSITIONS: dict[NodeStream, frozenset[NodeStream]] = {
    NodeStream.AWAY: frozenset({NodeStream.CONNECTING}),
    NodeStream.CONNECTING: STOOD | {NodeStream.AWAY},
    **{state: STOOD | {NodeStream.AWAY} for state in STOOD},
}


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
    past: Past = Past.UNKNOWN
    log_id: str = ""
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
    #: The update before which the node has halted, and the one at fault, by its last word; 0: it goes on, and none is.
    halted_before: int = 0
    fault_position: int = 0
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

    def stands(self) -> NodeStands:
        """How it is now, for whoever else goes by it: with the state of another log, it is as if it were away."""
        connected = self.connected and self.state is not NodeStream.OTHER_LOG
        return NodeStands(
            self.node,
            connected,
            self.in_step,
            self.applied_position,
            self.import_id,
            self.past,
            self.log_id,
            follows_log=self.state is NodeStream.STREAMING,
        )

    @property
    def owes(self) -> bool:
        """Whether something is due from the node: an answer, or room to write."""
        return self.writing or bool(self.in_flight)

    def move(self, state: NodeStream, why: str) -> None:
        """Goes to another state. Raises ReplicationBrokenError where the table has nothing."""
        if state not in TRANSITIONS[self.state]:
            story = "; ".join(self.story)
            raise ReplicationBrokenError(f"{self.node}: {self.state} cannot become {state} ({why}); before: {story}")
        self.story.append(f"{self.state} -> {state}: {why}")
        self.state = state

    # -- the window

    def last_wanted(self, log_position: int) -> int:
        """The last position that the node would take now."""
        return min(log_position, self.halted_before - 1) if self.halted_before else log_position

    def batch_end(self, log_position: int, settings: ReplicationSettings) -> int | None:
        """The last position of the next batch; None where the window is full, or a small batch has to wait.
        `log_position`: the last one that may be sent."""
        window_left = settings.window_updates - (self.next_position - 1 - self.applied_position)
        if window_left <= 0 or self.in_flight_bytes >= settings.window_bytes:
            return None
        small = log_position + 1 - self.next_position < min(settings.small_updates, settings.batch_updates_max)
        if small and len(self.in_flight) >= settings.small_batches_max:
            return None  # the node's answer is due, and takes with it what gathers meanwhile
        return min(log_position, self.next_position - 1 + min(window_left, settings.batch_updates_max))

    def take_sent(self, last_position: int, size_bytes: int) -> None:
        """Records up to there are on their way."""
        self.sent_position = max(self.sent_position, last_position)
        if self.next_position <= last_position:
            self.next_position = last_position + 1
            self.in_flight.append((last_position, size_bytes))
            self.in_flight_bytes += size_bytes

    def take_applied(self, position: int) -> None:
        """The node has everything up to there."""
        self.applied_position = position
        self.next_position = max(self.next_position, position + 1)  # it had some from before it stood anew
        while self.in_flight and self.in_flight[0][0] <= position:
            self.in_flight_bytes -= self.in_flight.popleft()[1]

    def forget_sent(self) -> None:
        """What is on its way counts no more: the node says, or will say, where it stands."""
        self.sending = None
        self.in_flight.clear()
        self.in_flight_bytes = 0

    def mark_in_step(self, log_position: int) -> bool:
        """True when the node has just come into step."""
        if self.in_step or self.state is not NodeStream.STREAMING or self.applied_position < log_position:
            return False
        if self.halted_before:
            return False
        self.in_step = True
        return True

    # -- time, and what must hold

    def due_at(self, settings: ReplicationSettings, now_s: float) -> float:
        """When it has to be connected, fed again, given up, or sent a heartbeat; infinite while it has not."""
        if self.state is NodeStream.AWAY:
            return self.retry_at
        if self.state is NodeStream.CONNECTING:
            return self.connected_at + settings.connect_timeout_s
        times = [self.progress_at + settings.stall_timeout_s] if self.owes else []
        if not self.writing:
            if self.shares_log:
                times.append(self.written_at + settings.heartbeat_s)
            if self.state is NodeStream.STREAMING and self.retry_at > now_s:
                times.append(self.retry_at)
        return min(times, default=math.inf)

    def overdue(self, settings: ReplicationSettings, now_s: float) -> str:
        """Why the stream has to end; empty if it may go on."""
        if self.state is NodeStream.CONNECTING:
            if now_s >= self.connected_at + settings.connect_timeout_s:
                return f"no answer to the hello for {settings.connect_timeout_s:g} s"
            return ""
        if self.owes and now_s >= self.progress_at + settings.stall_timeout_s:
            return f"nothing applied for {settings.stall_timeout_s:g} s"
        return ""

    def problem(self, log_position: int, settings: ReplicationSettings) -> str:
        """The first rule that does not hold; empty where all do. Asked after every event of a simulation: quick."""
        window = self.next_position - 1 - self.applied_position
        if self.in_flight:
            if self.in_flight_bytes != sum([size for _, size in self.in_flight]):
                return "bytes in flight do not add up"
            if window > settings.window_updates:
                return "more in flight than the window"
            if self.in_flight[-1][0] != self.next_position - 1:
                return "the last batch is another"
        elif self.in_flight_bytes:
            return "bytes in flight do not add up"
        if self.sending is not None and not self.writing:
            return "sends without writing"
        if self.state is NodeStream.STREAMING:
            if window < 0:
                return "applied beyond what was sent"
            return "sent beyond the log" if self.next_position > log_position + 1 else ""
        if self.in_step:
            return "in step without a stream"
        if self.state is NodeStream.AWAY and self.owes:
            return "away, yet something is sent"
        return ""
