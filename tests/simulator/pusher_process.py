"""The pusher's shell in the simulator: the real fan-out core, and everything around its disk and its streams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from services.pusher.admission.settings import AdmissionSettings
from services.pusher.fanout import events as fan
from services.pusher.fanout.last_record import LastRecord
from services.pusher.fanout.members import Members, MembersChanged
from services.pusher.fanout.replication import Replication
from services.pusher.fanout.settings import ReplicationSettings
from services.pusher.imports.rollout import Rollout
from services.pusher.imports.settings import RolloutSettings
from services.pusher.lineage.lineage import Adopted, Lineage, LineageEvent
from services.pusher.lineage.settings import LineageSettings
from services.pusher.skips.decision import SKIP_ID_PREFIX, Evidence, Wanted, refused
from services.shared.cores import Tick
from services.treenode.node.sequence_events import (
    LogEnd,
    PusherHello,
)
from tests.simulator.checkers import History
from tests.simulator.disk import Service
from tests.simulator.messages import Batch, ClusterSeen, Response, Status
from tests.simulator.network import End, Network
from tests.simulator.pusher_admission import PushDesk
from tests.simulator.pusher_imports import ImportDesk, StoredImport
from tests.simulator.pusher_log import PusherLog
from tests.simulator.pusher_rules import found
from tests.simulator.toy_tree import SKIP, Update
from tests.simulator.world import Clock, World

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster

RECORD_BYTES = 200
BUSY_TICK_S = 0.04
RETENTION_POLL_S = 4.0
DOOR_POLL_S = 0.05
#: A node that was away for longer takes a snapshot when it comes back.
RETENTION_AWAY_S = 6.0


@dataclass(frozen=True)
class PusherLimits:
    """What a pusher is set to."""

    admission: AdmissionSettings
    replication: ReplicationSettings
    rollout: RolloutSettings
    #: Most updates in one commit.
    group_updates_max: int
    #: How many of the newest updates are young enough to stay in the log.
    keeps_updates: int


class PusherProcess(Service):
    replication: Replication
    lineage: Lineage

    def __init__(
        self,
        world: World,
        network: Network,
        clock: Clock,
        limits: PusherLimits,
    ) -> None:
        super().__init__(world, "pusher", clock)
        self.network = network
        self._limits = limits
        self.log_id = "log-1"
        #: Durable: in whose place the log was put.
        self.replaced: tuple[str, ...] = ()
        #: Whether a mark beside the log vouches for it; as the real one, made with the first update.
        self.marked = True
        self.store = PusherLog()
        self.desk = PushDesk(self, limits.admission, limits.group_updates_max)
        self.import_desk = ImportDesk(self, limits.rollout)
        #: Chance that the log can't be read.
        self.bad_reads = 0.0
        self._streams: dict[str, tuple[int, End]] = {}
        self._members = Members()
        self._started_at = 0.0

    def join(self, cluster: Cluster, history: History) -> None:
        """Says who is who, once all are made."""
        self.cluster = cluster
        self.history = history

    @property
    def log(self) -> list[Update]:
        """The durable log, from position 1."""
        return self.store.updates

    @property
    def imports(self) -> dict[int, StoredImport]:
        """The durable imports by id."""
        return self.import_desk.imports

    @property
    def rollout(self) -> Rollout:
        return self.import_desk.rollout

    # ---- life

    def on_start(self) -> None:
        """Reads its disk; the cores begin anew."""
        self._started_at = self.clock.now()
        found(self.store)
        self.replication = Replication(
            self._limits.replication,
            log_id=self.log_id,
            first_position=self.store.first,
            position=len(self.log),
            jitter=self.world.random.random,
            import_id=self.import_desk.history.in_force,
        )
        self._streams.clear()
        self._members = Members()
        self.lineage = Lineage(
            LineageSettings(lineage_patience_s=3.0),
            log_id=self.log_id,
            vouched_for=self.marked and len(self.log) > 1,
            replaced_log_ids=self.replaced,
            nodes=tuple(node.name for node in self.cluster.nodes),
            names_nodes_later=True,
            now_s=self.clock.now(),
        )
        self.desk.start()
        self.import_desk.start()
        self._tell_members(Members(tuple(node.name for node in self.cluster.nodes)))
        self._watch()
        self._tick()
        self.timer(RETENTION_POLL_S, self._trim)

    def on_crash(self) -> None:
        """Memory is gone."""
        self.disk.crash()
        self.store.crash()
        self.import_desk.crash()
        self.network.died(self, reset=self.world.random.random() < 0.7)

    def drain(self) -> None:
        """Stops in order: the receipts that it owes go out, then it is gone."""
        self.tell("drains")
        self.desk.drain(self.crash)

    def _tick(self) -> None:
        self._perform_fan(self.replication.handle(Tick(), self.clock.now()))
        self.replication.validate()
        self.import_desk.tick()
        self.desk.tick()
        self._tell_lineage(Tick())
        steady = all(node.in_step for node in self.replication.nodes.values()) and self.desk.core.deadline_s is None
        self.timer(self._limits.replication.heartbeat_s / 2 if steady else BUSY_TICK_S, self._tick)

    def _watch(self) -> None:
        end = self.network.connect(self, self.cluster.coordinator, "watch")
        end.on_message = self._cluster_seen
        # What it said last stays.
        end.on_end = lambda _: self.timer(0.2 + 0.3 * self.world.random.random(), self._watch)

    def _cluster_seen(self, seen: ClusterSeen) -> None:
        members = replace(self._members, primary=seen.primary or None, alive=frozenset(seen.alive))
        self._tell_members(members)

    def _tell_members(self, members: Members) -> None:
        news = MembersChanged(self._members, members)
        self._members = members
        self._tell_lineage(news)
        self.import_desk.heard(news)
        for event in news.for_fan_out():
            self._fan(event)

    def accept(self, kind: str, end: End, opening: Any) -> None:
        """Clients that push or upload, nodes that read."""
        if kind in ("push", "upload", "rollback"):
            self._to_the_door(kind, end, opening, [])
        elif kind == "read_log":
            first, last, log_id = opening
            if log_id in ("", self.log_id):
                self.store.send(end, first, last)
            else:
                end.close("FAILED_PRECONDITION")
        elif kind == "download_import":
            self.import_desk.send_file(end, *opening)
        else:
            raise NotImplementedError(kind)

    def _to_the_door(self, kind: str, end: End, opening: Any, brought: list[Any]) -> None:
        """Those who bring something: they wait, with what they say, while it is not known whether the log may grow."""
        door = self.lineage.door
        if not end.open:
            pass  # whoever came has gone meanwhile
        elif door.waits:
            end.on_message = brought.append
            self.timer(DOOR_POLL_S, self._to_the_door, kind, end, opening, brought)
        elif door.closed:
            end.close("FAILED_PRECONDITION")
        elif kind == "push":
            self.desk.accept(end)
            for message in brought:
                end.on_message(message)
        elif kind == "upload":
            self.import_desk.upload(end, opening)
        else:
            self.import_desk.roll_back(end)

    def _tell_lineage(self, event: LineageEvent) -> None:
        for door in self.lineage.handle(event, self.clock.now()):
            self.tell(f"the door is {f'closed: {door.closed}' if door.closed else 'open'}")
            self.desk.handle(door)
        self.lineage.validate()

    def adopt(self) -> None:
        """An operator's word: this log stands in the place of those that nodes hold."""
        replaced = self.lineage.contested
        self.tell(f"is put in the place of {replaced}")
        self.log_id += "+" if self.log_id in replaced else ""
        self.replaced += replaced
        self._tell_lineage(Adopted(self.log_id, self.replaced, "test"))
        self._fan(fan.LogReplaces(self.log_id))

    def begin_log(self, log_id: str) -> None:
        """Another disk: an empty log of its own, no imports. While the process is down."""
        self.log_id, self.marked = log_id, False
        self.store = PusherLog()
        self.import_desk = ImportDesk(self, self._limits.rollout)
        self.tell(f"has a new disk with log {log_id}")

    # ---- what the parts tell each other

    def appended(self, position: int) -> None:
        """The log is durable up to there."""
        self._fan(fan.Appended(position))

    @property
    def skipped(self) -> tuple[int, ...]:
        """What operators decided to skip, by the log."""
        return tuple(update.member for update in self.log[self.store.first - 1 :] if update.kind == SKIP)

    def skipped_already(self, update_id: str) -> bool:
        """Whether the decision on that update is durable."""
        return self.store.ids[update_id] in self.skipped

    def skip(self, position: int) -> None:
        """The operator's word, which is judged by the real rule, becomes a record of the log."""
        nodes = self.replication.nodes.values()
        named = [node.node for node in nodes if node.connected and node.fault_position == position]
        taken = [node.name for node in self.cluster.nodes if node.tree.base < position <= node.tree.position]
        evidence = Evidence(
            self.log[position - 1].update_id, is_damaged=False, named_by=named, taken_by=taken, not_taken_by=named
        )
        if refused(Wanted(position, "ticket"), evidence, dict.fromkeys(self.skipped, "ticket")) is not None:
            return
        record = Update(f"{SKIP_ID_PREFIX}{position}", SKIP, position, 0)
        self.desk.sync(lambda: self._append_own(record), self._skip_told)

    def _append_own(self, record: Update) -> None:
        self.store.append([record.update_id], [record])

    def _skip_told(self, ok: bool) -> None:
        if ok:
            self.desk.spread()
            self._fan(fan.SkipsChanged())

    def announce(self, import_id: int) -> None:
        """Another import is in force."""
        self._fan(fan.LogEndChanged(import_id))

    def log_end(self) -> LogEnd:
        """How far the log goes."""
        first = max(self.store.first, self.replication.first_position)
        return LogEnd(first, len(self.log), self.rollout.in_force, self.clock.wall())

    def _trim(self) -> None:
        """Forgets what nothing needs any more; decides when its turn has come, as the real one does under its lock."""
        self.timer(RETENTION_POLL_S, self._trim)
        self.disk.commit(self._forget, self._trimmed)

    def _forget(self) -> None:
        first = self.import_desk.history.first_kept(
            self.store.ends,
            len(self.log) - self._limits.keeps_updates,
            list(self.replication.nodes.values()),
            away_since=self.clock.now() - RETENTION_AWAY_S,
            started_at=self._started_at,
        )
        if first > self.store.first:
            self.tell(f"the log begins at {first}")
            self.store.first = first

    def _trimmed(self, ok: bool) -> None:
        if ok and self.store.first > self.replication.first_position:
            self._fan(fan.Trimmed(self.store.first))

    # ---- the fan-out

    def _fan(self, event: fan.ReplicationEvent) -> None:
        self._perform_fan(self.replication.handle(event, self.clock.now()))
        self.replication.validate()

    def _perform_fan(self, actions: list[fan.ReplicationAction]) -> None:
        for action in actions:
            match action:
                case fan.Connect(node, session):
                    self._connect(node, session)
                case fan.Send():
                    self.timer(0.001 * self.world.random.random(), self._send, action)
                case fan.SendLogEnd(node, session):
                    self._write(node, session, Batch((), self.log_end()))
                case fan.EndStream(node, session, reason):
                    self.tell(f"ends the stream to {node}: {reason}")
                    self._end_stream(node, session)
                case fan.NodeStands():
                    self.desk.handle(action)
                    self.import_desk.heard(action)
                    self._tell_lineage(action)
                case fan.NodeConfirmed():
                    self.desk.handle(action)

    def _connect(self, node: str, session: int) -> None:
        hello = PusherHello(self.log_id, self.log_end(), self.skipped, self.replaced, "test" if self.replaced else "")
        end = self.network.connect(self, self.cluster.process(node), "apply", hello)
        end.on_message = lambda word: self._heard(node, session, word)
        end.on_end = lambda reason: self._stream_ended(node, session, reason)
        self._streams[node] = (session, end)

    def _stream_ended(self, node: str, session: int, reason: str) -> None:
        if self._streams.get(node, (0,))[0] == session:
            self.desk.lost_stream(node)
        self._fan(fan.StreamEnded(node, session, reason))

    def _end_stream(self, node: str, session: int) -> None:
        known = self._streams.get(node)
        if known is not None and known[0] == session:
            del self._streams[node]
            self.desk.lost_stream(node)
            known[1].close()

    def _heard(self, name: str, session: int, word: Response) -> None:
        if self._streams.get(name, (0,))[0] == session:
            self.desk.heard(name, word.position)
        if word.status is not None:
            status = word.status
            differs_at = self.differs_at(status)
            where = (status.log_id, status.position, status.import_id)
            halted = status.halted_before
            self._fan(fan.Stood(name, session, *where, differs_at, halted, halted, "halted" if halted else ""))
        if word.position:
            self._fan(fan.Applied(name, session, word.position))

    def differs_at(self, status: Status) -> int:
        """The position of the node's last known record, where the log has another one there; else 0."""
        if status.record is None:
            return 0
        last = LastRecord(status.log_id, *status.record)
        if not last.is_in(self.log_id, self.store.ends):
            return 0
        return last.differs_at(None if last.position == self.store.damaged else self.log[last.position - 1])

    def _send(self, action: fan.Send) -> None:
        known = self._streams.get(action.node)
        if known is None or known[0] != action.session:
            return
        first, damaged = action.first_position, self.store.damaged
        count = min(action.last_position - first + 1, max(1, action.bytes_max // RECORD_BYTES))
        if first <= damaged < first + count:
            count = damaged - first
        if not count or (self.bad_reads and self.world.random.random() < self.bad_reads):
            reason = "the record is damaged" if not count else "the disk does not answer"
            self._fan(fan.ReadFailed(action.node, action.session, reason, 0 if count else damaged))
            self._fan(fan.Writable(action.node, action.session))
            return
        if not self.replication.is_due(action):
            self._fan(fan.Writable(action.node, action.session))
            return
        records = tuple((position, self.log[position - 1]) for position in range(first, first + count))
        self._fan(fan.Sent(action.node, action.session, first + count - 1, count * RECORD_BYTES))
        self._write(action.node, action.session, Batch(records, self.log_end()))

    def _write(self, node: str, session: int, batch: Batch) -> None:
        known = self._streams.get(node)
        if known is not None and known[0] == session:
            known[1].send(batch)
            self._writable(node, session, known[1])

    def _writable(self, node: str, session: int, end: End) -> None:
        """The transport takes what is given, unless nobody reads at the other side."""
        peer = end.peer.process
        if peer.frozen or not self.network.reachable(self.name, peer.name):
            self.timer(0.2, self._writable, node, session, end)
        else:
            self.timer(0.0005, self._fan, fan.Writable(node, session))
