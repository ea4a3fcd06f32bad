"""The pusher's shell in the simulator: the real fan-out, rollout and acknowledgement cores, and a log on a disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fasttree.v1.types_pb2 import ImportManifest
from services.pusher import replication_events as fan
from services.pusher import rollout_events as roll
from services.pusher.acks import AckRange, Acks, NodeConfirmed, NodeHealth, WaitBegun, WaitGivenUp, WaitOver
from services.pusher.log_store import LogEnds
from services.pusher.node_progress import ReplicationSettings
from services.pusher.replication import Replication
from services.pusher.retention import first_kept
from services.pusher.rollout import KnownImport, Rollout, RolloutSettings
from services.treenode.sequence import LogEnd, PusherHello
from tests.simulator.checkers import History, Violation
from tests.simulator.disk import Service
from tests.simulator.messages import (
    ALL_NODES,
    ALREADY_EXISTS,
    DURABLE,
    OK,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    Batch,
    ClusterSeen,
    LoadRequest,
    LoadWord,
    Manifest,
    PushRequest,
    Receipt,
    Response,
    UploadRequest,
)
from tests.simulator.network import End, Network
from tests.simulator.node_loading import send_file
from tests.simulator.toy_tree import ImportFile, Update
from tests.simulator.world import Clock, World

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster

ACK_TIMEOUT_S = 3.0
RECORD_BYTES = 200
BUSY_TICK_S = 0.03
RETENTION_POLL_S = 4.0
#: A node that was away for longer takes a snapshot when it comes back.
RETENTION_AWAY_S = 6.0

#: The receipts of a batch; None while it waits.
Slot = list[tuple[Receipt, ...] | None]


@dataclass
class StoredImport:
    """An import on the pusher's disk."""

    file: ImportFile
    as_of_position: int
    carried: tuple[int, ...] = ()
    place: roll.ImportPlace = roll.ImportPlace.WAITING
    taken: bool = False


class PushStream:
    """One client's stream: receipts leave in the order of the batches."""

    def __init__(self, end: End) -> None:
        self.end = end
        #: Receipts of each batch, oldest first; None while the batch waits.
        self.batches: deque[Slot] = deque()
        self.tickets: set[int] = set()

    def flush(self) -> None:
        """Sends what is ready, in order."""
        while self.batches and self.batches[0][0] is not None:
            self.end.send(self.batches.popleft()[0])


class PusherProcess(Service):
    """One pusher. What stands under `durable` survives it."""

    replication: Replication
    rollout: Rollout
    acks: Acks
    replication_class = Replication
    rollout_class = Rollout
    acks_class = Acks

    def __init__(
        self,
        world: World,
        network: Network,
        clock: Clock,
        replication_settings: ReplicationSettings,
        rollout_settings: RolloutSettings,
        keeps_updates: int,
    ) -> None:
        super().__init__(world, "pusher", clock)
        self.network = network
        self._replication_settings = replication_settings
        self._rollout_settings = rollout_settings
        self.log_id = "log-1"
        #: Durable: the update at each position, from 1.
        self.log: list[Update] = []
        #: Durable: the oldest position that is kept; what came before is only remembered for the checkers.
        self.first = 1
        #: How many of the newest updates are young enough to stay.
        self.keeps_updates = keeps_updates
        #: Durable: the position of each id.
        self.ids: dict[str, int] = {}
        #: Durable: imports by id.
        self.imports: dict[int, StoredImport] = {}
        #: What a crash takes back: only a planted bug writes without a sync.
        self.unsynced: list[Callable[[], None]] = []
        #: Chance that the log can't be read.
        self.bad_reads = 0.0
        self._queue: list[tuple[PushStream, PushRequest, Slot]] = []
        self._committing = False
        self._streams: dict[str, tuple[int, End]] = {}
        self._loads: dict[int, End] = {}
        #: States of imports to be recorded, in order; the first is being written.
        self._records: deque[roll.RecordTaken | roll.RecordPlace] = deque()
        #: Carried positions that are known, and maybe not on disk yet.
        self._carried: dict[int, tuple[int, ...]] = {}
        self._tickets = 0
        self._waits: dict[int, tuple[PushStream, Slot, tuple[Receipt, ...], AckRange]] = {}
        self._alive_nodes: frozenset[str] = frozenset()
        self._primary = ""
        #: For the checker: the last word of each node on its present stream, and who had everything since it began.
        self._confirmed: dict[str, int] = {}
        self._in_step: set[str] = set()
        #: For the checker: since when each node has been connected.
        self._connected_since: dict[str, float] = {}

    def join(self, cluster: Cluster, history: History) -> None:
        """Says who is who, once all are made."""
        self.cluster = cluster
        self.history = history

    # ---- life

    def on_start(self) -> None:
        """Reads its disk; the cores begin anew."""
        now = self.clock.now()
        random = self.world.random
        known = tuple(KnownImport(key, each.place, each.taken) for key, each in self.imports.items())
        self.replication = self.replication_class(
            self._replication_settings,
            log_id=self.log_id,
            first_position=self.first,
            position=len(self.log),
            jitter=random.random,
            import_id=max((key for key, each in self.imports.items() if each.taken), default=0),
        )
        self.rollout = self.rollout_class(self._rollout_settings, known, now)
        self.acks = self.acks_class(position=len(self.log))
        for volatile in (self._queue, self._streams, self._loads, self._waits, self._confirmed):
            volatile.clear()
        self._records.clear()
        self._carried.clear()
        self._in_step.clear()
        self._connected_since.clear()
        self._committing = False
        self._alive_nodes, self._primary = frozenset(), ""
        names = tuple(node.name for node in self.cluster.nodes)
        self._roll(roll.HostsKnown(names))
        self._fan(fan.NodesKnown(names))
        self._watch()
        self._tick()
        self._started_at = now
        self.timer(RETENTION_POLL_S, self._trim)

    def on_crash(self) -> None:
        """Memory is gone."""
        self.disk.crash()
        for undo in reversed(self.unsynced):
            undo()
        self.unsynced.clear()
        self.network.died(self, reset=self.world.random.random() < 0.7)

    def _tick(self) -> None:
        now = self.clock.now()
        self._perform_fan(self.replication.tick(now))
        self._perform_roll(self.rollout.tick(now))
        self._waits_over(self.acks.tick(now))
        self.replication.validate()
        self.rollout.validate()
        self.acks.validate()
        steady = all(node.in_step for node in self.replication.nodes.values()) and not self.acks.waiting
        self.timer(self._replication_settings.heartbeat_s / 2 if steady else BUSY_TICK_S, self._tick)

    def _watch(self) -> None:
        end = self.network.connect(self, self.cluster.coordinator, "watch")
        end.on_message = self._cluster_seen
        end.on_end = lambda _: self._unwatched()

    def _unwatched(self) -> None:
        # What it said last stays.
        self.timer(0.2 + 0.3 * self.world.random.random(), self._watch)

    def _cluster_seen(self, seen: ClusterSeen) -> None:
        self._primary = seen.primary
        self._roll(roll.PrimarySeen(seen.primary or None))
        for name in seen.alive:
            if name not in self._alive_nodes:
                self._fan(fan.NodeAppeared(name))
        self._alive_nodes = frozenset(seen.alive)

    def accept(self, kind: str, end: End, opening: Any) -> None:
        """Clients that push or upload, nodes that read."""
        if kind == "push":
            stream = PushStream(end)
            end.on_message = lambda request: self._pushed(stream, request)
            end.on_end = lambda _: self._client_gone(stream)
        elif kind == "upload":
            self._upload(end, opening)
        elif kind == "read_log":
            self._read_log(end, *opening)
        elif kind == "download_import":
            import_id, offset = opening
            stored = self.imports.get(import_id)
            send_file(end, stored.file if stored else None, offset)
        else:
            raise NotImplementedError(kind)

    # ---- the log

    def _pushed(self, stream: PushStream, request: PushRequest) -> None:
        slot: Slot = [None]
        stream.batches.append(slot)
        self._queue.append((stream, request, slot))
        self._commit()

    def _commit(self) -> None:
        """Group commit: everything that came while the last one ran goes into the next one."""
        if self._committing or not self._queue:
            return
        self._committing = True
        group, self._queue = self._queue, []
        fresh: list[Update] = []
        ids: dict[str, int] = {}
        receipts = [self._place(request, fresh, ids) for _, request, _ in group]

        def change() -> None:
            self.log.extend(fresh)
            self.ids.update(ids)

        self.sync(change, lambda ok: self._committed(ok, group, receipts, ids))

    def sync(self, change: Callable[[], None], done: Callable[[bool], None]) -> None:
        """Makes the change durable, then goes on."""
        self.disk.commit(change, done)

    def _place(self, request: PushRequest, fresh: list[Update], ids: dict[str, int]) -> tuple[Receipt, ...]:
        receipts = []
        for update in request.updates:
            position = self.position_of(update.update_id) or ids.get(update.update_id)
            if position is None:
                fresh.append(update)
                position = len(self.log) + len(fresh)
                ids[update.update_id] = position
                receipts.append(Receipt(update.update_id, position, OK))
                continue
            known = self.log[position - 1] if position <= len(self.log) else fresh[position - 1 - len(self.log)]
            code = OK if known == update else ALREADY_EXISTS
            receipts.append(Receipt(update.update_id, position if code == OK else 0, code))
        return tuple(receipts)

    def spread(self) -> None:
        """Tells the fan-out how far the log goes."""
        self._fan(fan.Appended(len(self.log)))

    def position_of(self, update_id: str) -> int | None:
        """Where the update with that id is in the log; None if nowhere."""
        return self.ids.get(update_id)

    def _committed(
        self,
        ok: bool,
        group: list[tuple[PushStream, PushRequest, Slot]],
        receipts: list[tuple[Receipt, ...]],
        ids: dict[str, int],
    ) -> None:
        self._committing = False
        for (stream, request, slot), words in zip(group, receipts, strict=True):
            if not ok:
                words = tuple(
                    Receipt(word.update_id, 0, RESOURCE_EXHAUSTED) if word.update_id in ids else word for word in words
                )
            self._receipt(stream, request, slot, words)
        if ok and ids:
            self.spread()
        self._commit()

    def _receipt(self, stream: PushStream, request: PushRequest, slot: Slot, words: tuple[Receipt, ...]) -> None:
        last = max((word.position for word in words), default=0)
        if request.level == DURABLE or not last or not stream.end.open:
            slot[0] = words
            stream.flush()
            return
        self._tickets += 1
        level = AckRange.ALL_NODES if request.level == ALL_NODES else AckRange.ONE_NODE
        self._waits[self._tickets] = (stream, slot, words, level)
        stream.tickets.add(self._tickets)
        self._ack(WaitBegun(self._tickets, last, level, self.clock.now() + ACK_TIMEOUT_S))

    def _ack(self, event: WaitBegun | WaitGivenUp | NodeConfirmed | NodeHealth) -> None:
        over = self.acks.handle(event)
        self._waits_over(over)
        self.acks.validate()

    def _waits_over(self, over: list[WaitOver]) -> None:
        for word in over:
            stream, slot, words, level = self._waits.pop(word.ticket)
            stream.tickets.discard(word.ticket)
            if word.reached:
                self._check_reached(max(each.position for each in words), level)
                slot[0] = words
            else:
                slot[0] = tuple(each._replace(code=UNAVAILABLE) if each.code == OK else each for each in words)
            stream.flush()

    def _check_reached(self, position: int, level: AckRange) -> None:
        """A node has it; where all healthy nodes were asked for, each that was in step on its present stream has it."""
        if self.history.applied_position < position:
            raise Violation(f"acknowledged: {position} as on a node, but no node has applied it")
        if level is AckRange.ALL_NODES:
            healthy = {name: self._confirmed.get(name, 0) for name in self._in_step}
            if not healthy or min(healthy.values()) < position:
                raise Violation(f"acknowledged: {position} as on all healthy nodes; those are at {healthy}")

    def _heard_position(self, name: str, position: int) -> None:
        """Keeps for the checker what the node said, and whether it was in step on this stream."""
        self._confirmed[name] = position
        if position >= self.replication.position:
            self._in_step.add(name)

    def _lost_stream(self, name: str) -> None:
        self._confirmed.pop(name, None)
        self._in_step.discard(name)

    def _client_gone(self, stream: PushStream) -> None:
        for ticket in sorted(stream.tickets):
            del self._waits[ticket]
            self._ack(WaitGivenUp(ticket))
        stream.tickets.clear()

    def log_end(self) -> LogEnd:
        """How far the log goes."""
        return LogEnd(self.first, len(self.log), self.rollout.in_force, self.clock.wall())

    def _read_log(self, end: End, first: int, last: int) -> None:
        if not self.first <= first <= last <= len(self.log):
            end.close("OUT_OF_RANGE")
            return
        records = [(position, self.log[position - 1]) for position in range(first, last + 1)]
        for start in range(0, len(records), 20):
            end.send(tuple(records[start : start + 20]))
        end.close("done")

    def _trim(self) -> None:
        """Forgets what nothing needs any more, as `services/pusher/retention.py` says."""
        self.timer(RETENTION_POLL_S, self._trim)
        first = first_kept(
            LogEnds(self.first, len(self.log)),
            len(self.log) - self.keeps_updates,
            [
                ImportManifest(as_of_position=each.as_of_position, carried_positions=each.carried)
                for each in (self._needed_imports() if self.rollout.in_force else ())
            ],
            list(self.replication.nodes.values()),
            away_since=self.clock.now() - RETENTION_AWAY_S,
            started_at=self._started_at,
        )
        if first > self.first:
            self.tell(f"the log begins at {first}")
            self.disk.commit(partial(setattr, self, "first", first), self._trimmed)

    def _trimmed(self, ok: bool) -> None:
        if ok:
            self._fan(fan.Trimmed(self.first))

    def _needed_imports(self) -> list[StoredImport]:
        taken = sorted((key for key, each in self.imports.items() if each.taken), reverse=True)
        open_places = (roll.ImportPlace.WAITING, roll.ImportPlace.ROLLING_OUT)
        wanted = set(taken[:2]) | {key for key, each in self.imports.items() if each.place in open_places}
        wanted |= {key for key in self.imports if key > max(taken, default=0)}
        return [self.imports[key] for key in sorted(wanted)]

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
                case fan.NodeChanged(node):
                    self._node_changed(node)

    def _connect(self, node: str, session: int) -> None:
        hello = PusherHello(self.log_id, self.log_end())
        end = self.network.connect(self, self.cluster.process(node), "apply", hello)
        end.on_message = lambda word: self._heard(node, session, word)
        end.on_end = lambda reason: self._stream_ended(node, session, reason)
        self._streams[node] = (session, end)

    def _stream_ended(self, node: str, session: int, reason: str) -> None:
        if self._streams.get(node, (0,))[0] == session:
            self._lost_stream(node)
        self._fan(fan.StreamEnded(node, session, reason))

    def _end_stream(self, node: str, session: int) -> None:
        known = self._streams.get(node)
        if known is not None and known[0] == session:
            del self._streams[node]
            self._lost_stream(node)
            known[1].close()

    def _heard(self, name: str, session: int, word: Response) -> None:
        if self._streams.get(name, (0,))[0] == session:
            self._heard_position(name, word.position)
        if word.status is not None:
            status = word.status
            self._fan(fan.Stood(name, session, status.log_id, status.position, status.import_id))
        if word.position:
            self._fan(fan.Applied(name, session, word.position))
            node = self.replication.nodes.get(name)
            if node is not None and node.session == session and node.connected:
                self._ack(NodeConfirmed(name, word.position))

    def _send(self, action: fan.Send) -> None:
        known = self._streams.get(action.node)
        if known is None or known[0] != action.session:
            return
        if self.replication.nodes[action.node].sending is not action:
            self._fan(fan.Writable(action.node, action.session))  # the node stood anew meanwhile
            return
        if self.bad_reads and self.world.random.random() < self.bad_reads:
            self._fan(fan.ReadFailed(action.node, action.session, "the disk does not answer"))
            return
        count = min(action.last_position - action.first_position + 1, max(1, action.bytes_max // RECORD_BYTES))
        first = action.first_position
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

    def _node_changed(self, name: str) -> None:
        node = self.replication.nodes.get(name)
        if node is None or not node.connected:
            self._connected_since.pop(name, None)
            self._roll(roll.NodeDown(name))
            self._ack(NodeHealth(name, False, 0))
        else:
            self._connected_since.setdefault(name, self.clock.now())
            self._roll(roll.NodeUp(name, node.import_id))
            self._ack(NodeHealth(name, node.in_step, node.applied_position))

    # ---- imports

    def _upload(self, end: End, request: UploadRequest) -> None:
        as_of = min(request.as_of_position, len(self.log))
        kept: list[int] = []

        def change() -> None:
            import_id = max(self.imports, default=0) + 1
            self.imports[import_id] = StoredImport(request.file, as_of)
            kept.append(import_id)

        open_places = (roll.ImportPlace.WAITING, roll.ImportPlace.ROLLING_OUT)
        before = [
            each for key, each in self.imports.items() if key == self.rollout.in_force or each.place in open_places
        ]
        if as_of + 1 < self.first or as_of < max((each.as_of_position for each in before), default=0):
            # The updates after it are no longer here; or a later export overtook this one.
            end.close("FAILED_PRECONDITION")
        else:
            self.disk.commit(change, lambda ok: self._uploaded(end, kept, ok))

    def _uploaded(self, end: End, kept: list[int], ok: bool) -> None:
        if ok:
            end.send(kept[0])
            self._roll(roll.ImportAdded(kept[0]))
        end.close("done" if ok else "RESOURCE_EXHAUSTED")

    def _roll(self, event: roll.RolloutEvent) -> None:
        self._perform_roll(self.rollout.handle(event, self.clock.now()))
        self.rollout.validate()

    def _perform_roll(self, actions: list[roll.RolloutAction]) -> None:
        for action in actions:
            match action:
                case roll.Load():
                    self._load(action)
                case roll.CancelLoad(attempt=attempt):
                    end = self._loads.pop(attempt, None)
                    if end is not None:
                        end.close()
                case roll.RecordTaken() | roll.RecordPlace():
                    self._records.append(action)
                    if len(self._records) == 1:
                        self._record()
                case roll.Announce(import_id):
                    self._fan(fan.LogEndChanged(import_id))

    def _record(self) -> None:
        """Records states in order; tries each until there is room for it."""
        action = self._records[0]
        stored = self.imports[action.import_id]
        if isinstance(action, roll.RecordPlace):
            self.tell(f"import {action.import_id} is {action.place}: {action.reason}")
            self.disk.commit(partial(setattr, stored, "place", action.place), self._recorded)
        else:
            # In memory at once, as in the real catalog; the disk follows.
            self._carried[action.import_id] = action.carried_positions

            def change() -> None:
                stored.taken, stored.carried = True, action.carried_positions

            self.disk.commit(change, self._recorded)

    def _recorded(self, ok: bool) -> None:
        if not ok:
            self.timer(1.0, self._record)
            return
        action = self._records.popleft()
        if self._records:
            self._record()
        if isinstance(action, roll.RecordTaken):
            self._roll(roll.Recorded(action.import_id))

    def _load(self, action: roll.Load) -> None:
        stored = self.imports[action.import_id]
        self._check_passive_first(action, stored)
        carried = self._carried.get(action.import_id, stored.carried)
        manifest = Manifest(action.import_id, stored.as_of_position, carried)
        self.tell(f"asks {action.node} to take import {action.import_id}")
        node = self.cluster.process(action.node)
        end = self.network.connect(self, node, "load_import", LoadRequest(manifest, action.sources))
        self._loads[action.attempt] = end
        words: list[LoadWord] = []
        end.on_message = lambda word: self._load_word(action, words, word)
        end.on_end = lambda reason: self._load_ended(action, words, reason)

    def _check_passive_first(self, action: roll.Load, stored: StoredImport) -> None:
        """No untried import goes to the primary while another node has been there for as long as patience lasts."""
        if stored.taken or action.node != self._primary:
            return
        if self.replication.nodes[action.node].import_id == action.import_id:
            return  # it has taken it already, and is only asked again
        long_ago = self.clock.now() - 2.0 * self._rollout_settings.backoff_max_s - 1.0
        steady = [name for name, since in self._connected_since.items() if name != action.node and since < long_ago]
        if steady:
            raise Violation(f"passive first: import {action.import_id} goes to the primary before {steady}")

    def _load_word(self, action: roll.Load, words: list[LoadWord], word: LoadWord) -> None:
        words.append(word)
        node, attempt = action.node, action.attempt
        match word.phase:
            case "downloading" | "building":
                self._roll(roll.LoadProgress(node, attempt))
            case "done":
                self._roll(roll.LoadDone(node, attempt, word.carried))
            case "refused":
                self._roll(roll.LoadRefused(node, attempt, word.reason))
            case _:
                self._roll(roll.LoadFailed(node, attempt, word.reason, _begun(words[:-1])))

    def _load_ended(self, action: roll.Load, words: list[LoadWord], reason: str) -> None:
        self._loads.pop(action.attempt, None)
        if not words or words[-1].phase in ("downloading", "building"):
            self._roll(roll.LoadFailed(action.node, action.attempt, reason, _begun(words)))


def _begun(words: list[LoadWord]) -> bool:
    """Whether the node had the file, and may have died of it."""
    return bool(words) and words[-1].phase == "building"
