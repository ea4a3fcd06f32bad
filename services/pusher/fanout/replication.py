"""How far each node is, and what it is sent next: the fan-out of the log, without any I/O.

The rules
---------
A node is known by the address of its instant port. It is in one of seven states (`TRANSITIONS` below):

- *away*: no stream. A `Connect` goes out when its back-off has passed; every stream has a session number of its own,
  and events of an older session are ignored: they are late, not wrong.
- *connecting*: the stream was asked for, and a hello was sent. The node has `connect_timeout_s` to say where it stands.
- *streaming*: records flow from `next_position` on. This is the only state in which records are sent.
- *behind_log*: the log no longer keeps what the node lacks, or a record among it is damaged. It hears heartbeats,
  which tell it where the log begins (behind the damage), and takes a snapshot or an import; then it says anew where it
  stands.
- *needs_import*: the node is empty, and an import is in force: it takes no records before it has that, or a peer's
  snapshot, since it could only hold them all. It hears heartbeats.
- *other_log*: the node has the state of another log, and refuses this one: it serves what it has. Nothing is sent. Once
  an operator has put this log in that one's place (`LogReplaces`), the next hello says so, and the node goes over.
- *ahead_of_log*: the node has updates that the log lacks, so the log has lost some. Nothing is sent: new updates
  under the positions that the node has taken already would make it differ from the others in silence. It stays so
  while the log grows past it, until it stands at or before the log's end of that time. Where the log had grown past it
  before they met, the checksum of the node's last record tells it. It hears no heartbeats, and serves what it has.

What binds them:

1. A node is sent positions in order, without gaps, each once between two of its words about where it stands: after each
   word it is sent what follows that. (A node drops records while it looks for a base, so what was on its way before the
   word may be gone; what is not gone is a repeat to it.) Only durable positions: `Appended` comes after the disk has
   them.
2. At most one `Send` is under way for a node. The shell answers it with `Sent` as soon as it knows which records it
   hands to the transport, before it does so, and with `Writable` once the transport has taken them. So a node that
   doesn't read costs one message, whatever it lacks. A `Send` that is no longer the node's `sending` once its records
   are read (the node stood anew meanwhile) is dropped: only `Writable` follows.
3. At most `window_updates` updates and `window_bytes` bytes (and one more batch) are sent and not yet applied. The
   window is the node's own: a slow node holds up nobody else.
   A node that has halted before an update (sequence.py, rule 7) says so, and is sent nothing from there on.
   A few updates wait while `small_batches_max` messages are on their way: each message costs both sides far more than
   an update in it.
4. A stream on which something is owed (an answer, or room to write) and nothing moves for `stall_timeout_s` is ended. A
   heartbeat that leaves is no answer to records.
5. Back-off doubles with each failure in a row. It starts again from the bottom once the node has applied something, or
   when the stream stood for `steady_after_s`. Jitter comes from outside, so that a run can be repeated from its seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from services.pusher.fanout.events import (
    Appended,
    Applied,
    Connect,
    EndStream,
    LogEndChanged,
    LogReplaces,
    NodeAppeared,
    NodeConfirmed,
    NodesKnown,
    NodeStands,
    Past,
    ReadFailed,
    ReplicationAction,
    ReplicationEvent,
    Send,
    SendLogEnd,
    Sent,
    SkipsChanged,
    Stood,
    StreamEnded,
    Trimmed,
    Writable,
)
from services.pusher.fanout.progress import (
    PASTS,
    NodeReplication,
    NodeStream,
    ReplicationBrokenError,
)
from services.pusher.fanout.settings import ReplicationSettings
from services.shared.backoff import Backoff
from services.shared.cores import Tick


class Replication:
    """The fan-out core: events in, actions out, in the order in which they are to be done."""

    def __init__(
        self,
        settings: ReplicationSettings,
        *,
        log_id: str,
        first_position: int,
        position: int,
        jitter: Callable[[], float],
        import_id: int,
    ) -> None:
        """`position`: newest durable; `first_position`: oldest kept; `import_id`: in force; `jitter()`: from 0 to 1."""
        self.settings = settings
        self.log_id = log_id
        #: The oldest position that can be sent: the log's beginning, or what follows the last damage found in it.
        self.first_position = first_position
        self.position = position
        self.import_id = import_id
        self.nodes: dict[str, NodeReplication] = {}
        self._backoff = Backoff(settings.backoff_initial_s, settings.backoff_max_s, jitter)
        #: Over all nodes, so that a node that leaves and comes back never has the number of an old stream again.
        self._sessions = 0
        #: The newest time that it was told.
        self._now_s = -math.inf

    def handle(self, event: ReplicationEvent, now_s: float) -> list[ReplicationAction]:
        """Takes one event; `now_s` in seconds, never less than before."""
        self._now_s = now_s
        match event:
            case Tick():
                return self._pass_time(now_s)
            case Appended(position):
                return self._appended(position, now_s)
            case NodesKnown(nodes):
                return self._nodes_known(nodes, now_s)
            case Trimmed(first_position):
                self.first_position = max(self.first_position, first_position)
                return []
            case LogEndChanged(import_id):
                return self._log_end_changed(import_id, now_s)
            case SkipsChanged():
                return self._begin_anew(now_s)
            case LogReplaces(log_id):
                self.log_id = log_id
                for each in self.nodes.values():
                    each.forked_at = None
                return self._begin_anew(now_s)
            case NodeAppeared(address):
                known = self.nodes.get(address)
                return [] if known is None or known.state is not NodeStream.AWAY else self._connect(known, now_s)
        node = self.nodes.get(event.node)
        if node is None or event.session != node.session or node.state is NodeStream.AWAY:
            return []
        match event:
            case Applied():
                actions = self._applied(node, event.position, now_s)
                # First what became of the updates, then that the node is in step by them: receipts wait for either.
                told = [NodeConfirmed(node.node, event.position, event.not_applied)] if node.shares_log else []
                return [*told, *actions]
            case Sent(last_position=last_position, size_bytes=size_bytes):
                return self._sent(node, last_position, size_bytes, now_s)
            case Writable():
                node.writing = False
                return self._feed(node, now_s)
            case Stood():
                return self._stood(node, event, now_s)
            case ReadFailed():
                return self._read_failed(node, event, now_s)
            case StreamEnded(reason=reason):
                return self._lost(node, reason, now_s)

    @property
    def deadline_s(self) -> float | None:
        """When a node has to be connected, fed again, heard from, or sent a heartbeat; None while nobody has to."""
        due_at = min([node.due_at(self.settings, self._now_s) for node in self.nodes.values()], default=math.inf)
        return due_at if due_at < math.inf else None

    def _pass_time(self, now_s: float) -> list[ReplicationAction]:
        """Reconnects, heartbeats, time-outs."""
        actions: list[ReplicationAction] = []
        for node in list(self.nodes.values()):
            if node.state is NodeStream.AWAY:
                if now_s >= node.retry_at:
                    actions += self._connect(node, now_s)
                continue
            reason = node.overdue(self.settings, now_s)
            if reason:
                actions.append(EndStream(node.node, node.session, reason))
                actions += self._lost(node, reason, now_s)
                continue
            actions += self._feed(node, now_s)
            if now_s >= node.written_at + self.settings.heartbeat_s:
                actions += self._heartbeats([node], now_s)
        return actions

    # -- nodes come and go

    def _nodes_known(self, nodes: tuple[str, ...], now_s: float) -> list[ReplicationAction]:
        actions: list[ReplicationAction] = []
        for address in [known for known in self.nodes if known not in nodes]:
            gone = self.nodes.pop(address)
            if gone.state is not NodeStream.AWAY:
                actions.append(EndStream(address, gone.session, "the node is no longer in the cluster"))
            actions.append(NodeStands(address, connected=False, in_step=False, applied_position=0, import_id=0))
        for address in nodes:
            if address not in self.nodes:
                self.nodes[address] = NodeReplication(address)
                actions += self._connect(self.nodes[address], now_s)
        return actions

    def _connect(self, node: NodeReplication, now_s: float) -> list[ReplicationAction]:
        node.move(NodeStream.CONNECTING, "back-off is over")
        self._sessions += 1
        node.session = self._sessions
        node.sent_position = 0
        node.connected_at = node.progress_at = node.written_at = node.retry_at = now_s
        return [Connect(node.node, node.session)]

    def _begin_anew(self, now_s: float) -> list[ReplicationAction]:
        """Every stream begins with a new hello."""
        actions: list[ReplicationAction] = []
        for node in self.nodes.values():
            if node.state is not NodeStream.AWAY:
                actions.append(EndStream(node.node, node.session, "a new hello is due"))
                actions += self._lost(node, "a new hello is due", now_s)
            node.failures = 0
            actions += self._connect(node, now_s)
        return actions

    def _lost(self, node: NodeReplication, reason: str, now_s: float) -> list[ReplicationAction]:
        if node.connected and now_s >= node.connected_at + self.settings.steady_after_s:
            node.failures = 0
        node.move(NodeStream.AWAY, reason)
        node.note = reason
        node.in_step = node.writing = False
        node.forget_sent()
        node.retry_at = now_s + self._failed(node)
        return [node.stands()]

    def _failed(self, node: NodeReplication) -> float:
        """Counts a failure; returns how long to wait after it, in seconds."""
        node.failures += 1
        return self._backoff.wait_s(node.failures - 1)

    # -- a node speaks

    def _stood(self, node: NodeReplication, event: Stood, now_s: float) -> list[ReplicationAction]:
        node.ever_stood = True
        node.import_id = event.import_id
        node.seen_at = node.progress_at = now_s
        state, note = self._where(node, event)
        if state is not node.state:
            node.move(state, note or f"stands at {event.position}")
        node.halted_before, node.fault_position = event.halted_before, event.fault_position
        node.note = note or event.halt_reason
        node.past, node.log_id = PASTS.get(state, Past.OURS), event.log_id
        node.applied_position = event.position
        node.next_position = event.position + 1
        node.sent_position = max(node.sent_position, event.position)
        node.forget_sent()
        if state is not NodeStream.STREAMING or node.halted_before:
            node.in_step = False
        node.mark_in_step(self.position)
        return [node.stands(), *self._feed(node, now_s)]

    def _where(self, node: NodeReplication, event: Stood) -> tuple[NodeStream, str]:
        """The state that a node's word about itself puts it in, and the note that explains it."""
        if event.log_id != self.log_id and (event.log_id or event.position):
            note = f"holds the state of another log ({event.log_id or 'unnamed'}) at {event.position}, and serves that"
            return NodeStream.OTHER_LOG, note
        if event.differs_at:
            note = f"has another update {event.differs_at} than the log: the log has lost some, and taken others"
            return NodeStream.AHEAD_OF_LOG, note
        fork = self.position if node.forked_at is None else node.forked_at
        node.forked_at = fork if event.position > fork else None
        if node.forked_at is not None:
            return (
                NodeStream.AHEAD_OF_LOG,
                f"has updates up to {event.position}, but the log ended at {fork}: the log has lost some",
            )
        if event.position + 1 < self.first_position:
            return (
                NodeStream.BEHIND_LOG,
                f"needs updates from {event.position + 1}, but the log begins at {self.first_position}",
            )
        if not event.position and not event.import_id and self.import_id:
            return NodeStream.NEEDS_IMPORT, f"is empty, and import {self.import_id} is in force"
        return NodeStream.STREAMING, ""

    def _applied(self, node: NodeReplication, position: int, now_s: float) -> list[ReplicationAction]:
        if position > node.sent_position and node.state is NodeStream.STREAMING:
            # A confirmation of what was never sent: the two disagree about what the log is. Start over.
            reason = f"confirmed {position}, but was sent only up to {node.sent_position}"
            return [EndStream(node.node, node.session, reason), *self._lost(node, reason, now_s)]
        node.seen_at = now_s
        if position <= node.applied_position or node.state is not NodeStream.STREAMING:
            return []
        node.take_applied(position)
        node.progress_at = now_s
        node.failures = 0
        changed: list[ReplicationAction] = [node.stands()] if node.mark_in_step(self.position) else []
        return changed + self._feed(node, now_s)

    # -- sending

    def _appended(self, position: int, now_s: float) -> list[ReplicationAction]:
        self.position = max(self.position, position)
        actions: list[ReplicationAction] = []
        for node in self.nodes.values():
            actions += self._feed(node, now_s)
        return actions

    def _feed(self, node: NodeReplication, now_s: float) -> list[ReplicationAction]:
        """The next `Send`, if the node may have one now."""
        last_wanted = node.last_wanted(self.position)
        if node.state is not NodeStream.STREAMING or node.writing or node.next_position > last_wanted:
            return []
        if now_s < node.retry_at:
            return []
        if node.next_position < self.first_position:
            note = f"needs updates from {node.next_position}, but the log begins at {self.first_position}"
            return self._fall_behind(node, note)
        last = node.batch_end(last_wanted, self.settings)
        if last is None:
            return []
        if not node.in_flight:
            node.progress_at = now_s  # from here on, an answer is owed
        node.writing = True
        node.sending = Send(node.node, node.session, node.next_position, last, self.settings.batch_bytes_max)
        return [node.sending]

    def is_due(self, send: Send) -> bool:
        """Whether records that were read are still to be sent: not where the node stood anew meanwhile (rule 2)."""
        node = self.nodes.get(send.node)
        return node is not None and node.sending is send

    def _sent(
        self, node: NodeReplication, last_position: int, size_bytes: int, now_s: float
    ) -> list[ReplicationAction]:
        sending = node.sending
        if sending is None:
            return []  # the node stood anew while the records were read
        node.sending = None
        if not sending.first_position <= last_position <= sending.last_position:
            raise ReplicationBrokenError(f"{node.node}: asked to send {sending}, but {last_position} was sent last")
        node.written_at = now_s
        node.take_sent(last_position, size_bytes)
        return []

    def _fall_behind(self, node: NodeReplication, note: str) -> list[ReplicationAction]:
        node.move(NodeStream.BEHIND_LOG, note)
        node.note = note
        node.in_step = False
        node.forget_sent()
        return [node.stands()]

    def _read_failed(self, node: NodeReplication, event: ReadFailed, now_s: float) -> list[ReplicationAction]:
        node.writing = False
        node.sending = None
        node.note = event.reason
        self.first_position = max(self.first_position, event.damaged_position + 1)
        if node.state is NodeStream.STREAMING and node.next_position < self.first_position:
            # No retry mends it: every node that still needs the record has to come by another way.
            return [*self._fall_behind(node, event.reason), *self._heartbeats([node], now_s)]
        node.retry_at = now_s + self._failed(node)
        return [node.stands()]

    def _heartbeats(self, nodes: Iterable[NodeReplication], now_s: float) -> list[ReplicationAction]:
        """A log end for each node that can take one; a batch under way brings its own."""
        actions: list[ReplicationAction] = []
        for node in nodes:
            if node.connected and not node.writing and node.shares_log:
                node.writing = True
                node.written_at = now_s
                if not node.in_flight:
                    node.progress_at = now_s
                actions.append(SendLogEnd(node.node, node.session))
        return actions

    def _log_end_changed(self, import_id: int, now_s: float) -> list[ReplicationAction]:
        self.import_id = max(self.import_id, import_id)
        actions: list[ReplicationAction] = []
        for node in self.nodes.values():
            idle = node.state is NodeStream.STREAMING and node.next_position == 1 and not node.sending
            if idle and not node.import_id and self.import_id:
                node.move(NodeStream.NEEDS_IMPORT, "an import is in force")
                node.note = f"is empty, and import {self.import_id} is in force"
                node.in_step = False
                actions.append(node.stands())
        return actions + self._heartbeats(self.nodes.values(), now_s)

    def validate(self) -> None:
        """Raises `ReplicationBrokenError` if a rule of this file does not hold."""
        for node in self.nodes.values():
            problem = node.problem(self.position, self.settings)
            if problem:
                raise ReplicationBrokenError(f"{node.node}: {problem}; before: {'; '.join(node.story)}")
