"""Streams the log to every node: performs what the fan-out core (`replication.py`) asks for.

One task a stream reads what the node says, one writes. A batch is the stored bytes of its records with the log's end
behind them; no message object is made for it, and nodes in step share the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import grpc.aio
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from fasttree.v1 import coordinator_pb2, pusher_pb2, treenode_pb2, treenode_pb2_grpc, types_pb2
from services.pusher.fanout.events import (
    Appended,
    Applied,
    Connect,
    EndStream,
    FileRules,
    KnownOutcome,
    LogEndChanged,
    NodeConfirmed,
    NodeStands,
    ReadFailed,
    ReplicationAction,
    ReplicationEvent,
    Send,
    SendLogEnd,
    Sent,
    SkipsChanged,
    Stood,
    StreamEnded,
    VersionKnown,
    Writable,
)
from services.pusher.fanout.last_record import LastRecord
from services.pusher.fanout.members import MembersChanged
from services.pusher.fanout.replication import Replication
from services.pusher.fanout.settings import ReplicationSettings
from services.pusher.log.frames import Run
from services.pusher.log.store import LogDamagedError, LogStore, LogStoreError
from services.pusher.log.tail import LogTail
from services.shared.cores import Tick
from services.shared.rules import NO_RULES, Rules, rules_message
from services.shared.serving.background import Background
from services.shared.serving.channels import open_channel
from services.shared.serving.streams import CallStream, StreamError, open_stream

logger = logging.getLogger(__name__)

#: Told of each batch that was written: the node, its first and last position, when it was begun (`time.perf_counter`).
OnSent = Callable[[str, int, int, float], None]

_METHOD = "/fasttree.v1.TreeNodeService/ApplyUpdates"
#: Time is told to the core when something is due, at least and at most so long after the last time.
_TICK_S_MIN, _TICK_S_MAX = 0.02, 1.0
#: A log end that did not change is told again with its first time for so long: fresh by that much less.
_END_SHARED_S = 0.005
_OUTCOMES = {types_pb2.OUTCOME_HELD: KnownOutcome.HELD, types_pb2.OUTCOME_REJECTED: KnownOutcome.REJECTED}


@dataclass(frozen=True, slots=True)
class PusherIdentity:
    """What the hello says."""

    cluster: str
    #: host:port at which nodes reach the pusher, once it listens.
    address: Callable[[], str]
    #: What held before the log's first record of a rule.
    founding_rules: Rules = NO_RULES
    #: Of one of several pushers, in which it is active.
    epoch: int = 0


@dataclass(slots=True)
class _Link:
    """One stream to one node."""

    node: str
    session: int
    #: Runs the stream, and ends the other two with it.
    reading: asyncio.Task[None] | None = None
    writing: asyncio.Task[None] | None = None
    #: Asks for the node's name, once it has said where it stands.
    naming: asyncio.Task[None] | None = None
    #: What is to be written next. The core asks for one thing at a time.
    outbox: asyncio.Queue[Send | SendLogEnd] = field(default_factory=asyncio.Queue)


def _cancel(*tasks: asyncio.Task[None] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()


class FanOut:
    """The shell of the fan-out core. Everything on one event loop."""

    def __init__(
        self,
        settings: ReplicationSettings,
        identity: PusherIdentity,
        store: LogStore,
        tail: LogTail,
        import_id: int,
        background: Background,
        tell: Callable[[object], None],
        on_sent: OnSent | None = None,
    ) -> None:
        """`import_id`: the import in force; 0 for none. `tell` gets `NodeStands`, `NodeConfirmed`,
        `FileRules` and `VersionKnown`; `on_sent`: each batch that was
        written."""
        first, last = tail.ends
        self._background = background
        self.core = Replication(
            settings,
            log_id=store.log_id,
            first_position=first,
            position=last,
            jitter=random.random,
            import_id=import_id,
        )
        #: What operators decided to skip, for the hello.
        self._skips: tuple[types_pb2.UpdateSkipped, ...] = ()
        #: Names of nodes by address, as they said themselves.
        self.names: dict[str, str] = {}
        self._tell = tell
        self._on_sent = on_sent
        self._identity = identity
        self._store, self._tail = store, tail
        self._import_id = import_id
        self._links: dict[str, _Link] = {}
        #: A node stands otherwise: something may be due sooner.
        self._stands = asyncio.Event()
        #: What `_end_bytes` made last, of which ends, and when.
        self._end = b""
        self._end_key: tuple[int, ...] = ()
        self._end_made_at = 0.0

    def added(self, run: Run) -> None:
        """New records are durable, and in the tail."""
        self.handle(Appended(run.last_position))

    def announce(self, news: LogEndChanged) -> None:
        """Another import is in force."""
        self._import_id = news.import_id
        self.handle(news)

    def skips_known(self, skips: Sequence[types_pb2.UpdateSkipped]) -> None:
        """Every decision to skip an update that is in the log; nodes hear of a new one at once."""
        self._skips = tuple(skips)
        self.handle(SkipsChanged())

    def members_changed(self, news: MembersChanged) -> None:
        """Nodes came or went, or were heard of."""
        self.names.update(news.now.names)
        for event in news.for_fan_out():
            self.handle(event)

    def log_end(self) -> treenode_pb2.LogEnd:
        """How far the log goes now."""
        ends = self._tail.ends
        first, last = max(ends.first, self.core.first_position), ends.last
        seconds, nanos = divmod(time.time_ns(), 10**9)
        sent_at = Timestamp(seconds=seconds, nanos=nanos)
        return treenode_pb2.LogEnd(first_position=first, position=last, import_id=self._import_id, sent_at=sent_at)

    def _end_bytes(self) -> bytes:
        """The log's end as the end of a message. Nodes in step share it, as they share the records."""
        key = (*self._tail.ends, self.core.first_position, self._import_id)
        now = time.monotonic()
        if key != self._end_key or now - self._end_made_at >= _END_SHARED_S:
            self._end_key, self._end_made_at = key, now
            self._end = treenode_pb2.ApplyUpdatesRequest(log_end=self.log_end()).SerializeToString()
        return self._end

    def progress(self, strange: Collection[str] = ()) -> list[pusher_pb2.NodeProgress]:
        """How far every node is. `strange`: the addresses of those that serve an import of somebody else."""
        return [
            pusher_pb2.NodeProgress(
                node=self.names.get(node.node, node.node),
                instant_address=node.node,
                connected=node.connected,
                import_id=node.import_id,
                applied_position=node.applied_position,
                lag_updates=max(0, self.core.position - node.applied_position),
                note=node.note,
                halted_before=node.halted_before,
                fault_position=node.fault_position,
                import_unknown=node.node in strange,
            )
            for node in self.core.nodes.values()
        ]

    def handle(self, event: ReplicationEvent) -> None:
        """Tells the core, and does what it asks for."""
        for action in self.core.handle(event, time.monotonic()):
            self._perform(action)

    def _perform(self, action: ReplicationAction) -> None:
        match action:
            case Send() | SendLogEnd():
                self._links[action.node].outbox.put_nowait(action)
            case Connect(node, session):
                link = self._links[node] = _Link(node, session)
                link.reading = self._background.start(self._run_link(link), f"stream to {node}")
            case EndStream(node, session, reason):
                logger.info("ends the stream to %s: %s", node, reason)
                self._end_link(node, session)
            case NodeStands(node):
                self._stands.set()
                if node not in self.core.nodes:
                    self._links.pop(node, None)
                self._tell(action)
            case NodeConfirmed():
                self._tell(action)

    def _end_link(self, node: str, session: int) -> None:
        link = self._links.get(node)
        if link is not None and link.session == session:
            _cancel(link.reading, link.writing, link.naming)

    async def run(self) -> None:
        """Keeps time for the core, for as long as the pusher runs. Nodes come by `handle(NodesKnown(…))`."""
        while True:
            self._stands.clear()
            due_s = self.core.deadline_s
            wait_s = _TICK_S_MAX if due_s is None else due_s - time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(wait_s, _TICK_S_MIN), _TICK_S_MAX)):
                    await self._stands.wait()
            self.handle(Tick())

    # -- one stream

    async def _run_link(self, link: _Link) -> None:
        reason = "the node ended the stream"
        stream = None
        try:
            stream = await open_stream(link.node, _METHOD)
            await stream.write(self._hello())
            link.writing = self._background.start(self._write(link, stream), f"writes to {link.node}")
            async for message in stream.read():
                response = treenode_pb2.ApplyUpdatesResponse.FromString(message)
                if response.HasField("status"):
                    if response.outcomes:  # the status covers those updates: nobody may take them for applied
                        self._take(link, response)
                    await self._take_status(link, response.status)
                self._take(link, response)
        except StreamError as error:
            reason = str(error)
        except DecodeError:
            reason = "what it answers is no message of a node"
        finally:
            _cancel(link.writing, link.naming)
            if stream is not None:
                await stream.close()
            self.handle(StreamEnded(link.node, link.session, reason))

    def _hello(self) -> bytes:
        hello = treenode_pb2.PusherHello(
            cluster=self._identity.cluster,
            log_id=self.core.log_id,
            pusher_address=self._identity.address(),
            skips=self._skips,
            replaced_log_ids=self._store.replaced_log_ids,
            adopted_reason=self._store.adopted_reason,
            founding_rules=rules_message(self._identity.founding_rules),
            epoch=self._identity.epoch,
        )
        return treenode_pb2.ApplyUpdatesRequest(hello=hello, log_end=self.log_end()).SerializeToString()

    async def _take_status(self, link: _Link, status: coordinator_pb2.NodeStatus) -> None:
        differs_at = await self._differs_at(status)
        self.handle(
            Stood(
                link.node,
                link.session,
                status.log_id,
                status.position,
                status.import_id,
                differs_at,
                status.halted_before,
                status.fault_position,
                status.halt_reason,
            )
        )
        self._tell(VersionKnown(link.node, status.rule_version))
        if status.file_periods or status.file_volume_types:
            brought = FileRules(status.import_id, tuple(status.file_volume_types), tuple(status.file_periods))
            self._tell(brought)
        if link.node not in self.names and link.naming is None:
            link.naming = self._background.start(self._learn_name(link.node), "learns a name")

    async def _differs_at(self, status: coordinator_pb2.NodeStatus) -> int:
        """The position of the node's last known record, where the log has another one there; else 0."""
        last = LastRecord(status.log_id, status.record_position, status.record_crc32)
        if not last.is_in(self.core.log_id, self._tail.ends):
            return 0
        try:
            run = await self._tail.read(last.position, last.position, 1)
        except LogStoreError as error:
            logger.warning("can't compare record %d with a node's: %s", last.position, error)
            return last.differs_at(None)
        return last.differs_at(treenode_pb2.ApplyUpdatesRequest.FromString(run.data).records[0].crc32)

    def _take(self, link: _Link, response: treenode_pb2.ApplyUpdatesResponse) -> None:
        if response.applied_position:
            not_applied = tuple(
                (told.position, _OUTCOMES.get(told.outcome, KnownOutcome.UNKNOWN)) for told in response.outcomes
            )
            self.handle(Applied(link.node, link.session, response.applied_position, not_applied))

    async def _learn_name(self, node: str) -> None:
        try:
            async with open_channel(node) as channel:
                stub = treenode_pb2_grpc.TreeNodeServiceStub(channel)
                answer = await stub.GetNode(treenode_pb2.GetNodeRequest(), timeout=5.0)
        except grpc.aio.AioRpcError as error:
            logger.info("%s does not tell its name: %s", node, error.details())
            return
        if answer.address.name:
            self.names[node] = answer.address.name

    async def _write(self, link: _Link, stream: CallStream) -> None:
        try:
            while True:
                action = await link.outbox.get()
                begun_s = time.perf_counter() if self._on_sent is not None else 0.0
                run = await self._records(action) if isinstance(action, Send) else None
                if isinstance(action, SendLogEnd):
                    await stream.write(self._end_bytes())
                elif run is not None:
                    await stream.write(run.data + self._end_bytes())
                    if self._on_sent is not None:
                        self._on_sent(link.node, run.first_position, run.last_position, begun_s)
                self.handle(Writable(link.node, link.session))
        except StreamError:
            return  # the reading side tells why

    async def _records(self, send: Send) -> Run | None:
        """A batch; None where it is not to be written any more, or could not be read."""
        run = self._tail.recent(send.first_position, send.last_position, send.bytes_max)
        if run is None:
            try:
                run = await self._tail.read(send.first_position, send.last_position, send.bytes_max)
            except LogStoreError as error:
                logger.error("can't read the log for %s: %s", send.node, error)
                damaged = error.position if isinstance(error, LogDamagedError) else 0
                self.handle(ReadFailed(send.node, send.session, str(error), damaged))
                return None
        if not self.core.is_due(send):
            return None
        self.handle(Sent(send.node, send.session, run.last_position, len(run.data)))
        return run
