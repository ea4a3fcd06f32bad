"""A tree node's shell in the simulator: the real node core, a toy tree, streams, a snapshot on a disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from services.shared.cores import Tick
from services.treenode.node import cutover_events as cut
from services.treenode.node import search
from services.treenode.node import sequence_events as seq
from services.treenode.node.lifecycle import EndWatches, SetHealth, StateChanged
from services.treenode.node.node import AskAgain, DrainAsked, NodeAction, NodeCore, NodeEvent
from services.treenode.node.role import AnswerRefused, Demoted, HeartbeatNow, Promoted
from services.treenode.node.settings import NodeSettings
from services.treenode.node.tree_in_force import TreeInForce
from services.treenode.replication.stream import SliceFailed
from tests.simulator import node_halts as halts
from tests.simulator.checkers import History, Reign, Violation
from tests.simulator.disk import Service
from tests.simulator.messages import Record
from tests.simulator.network import End, Network
from tests.simulator.node_heartbeat import Heartbeats
from tests.simulator.node_loading import Build, Loader
from tests.simulator.node_periods import PeriodKeeper
from tests.simulator.node_reads import WaitingReads
from tests.simulator.node_search import Searching
from tests.simulator.node_state import NodeTimes, Snapshot, wall_s
from tests.simulator.node_stream import NodeStream
from tests.simulator.readiness import Readiness
from tests.simulator.stored.node import NodeStore
from tests.simulator.toy_tree import EngineFailed, ToyTree, Update
from tests.simulator.vip import Health
from tests.simulator.world import Clock, World

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster


class NodeProcess(Service):
    """One tree node."""

    core: NodeCore
    in_force: TreeInForce[ToyTree, Update | None]

    def __init__(
        self, world: World, network: Network, name: str, clock: Clock, settings: NodeSettings, times: NodeTimes
    ) -> None:
        super().__init__(world, name, clock)
        self.network = network
        self.settings = settings
        self.times = times
        self.health = Health()
        self.incarnation = ""
        self.loader, self.searching = Loader(self), Searching(self)
        #: What it has of the place of stored snapshots, where there is one.
        self.stored: NodeStore | None = None
        self.readiness = Readiness()
        #: For the checker: when it last ceased to be primary, where it stood then, and whether it was told to.
        self.stepped_down = (0.0, (0, 0), False)
        self._heartbeats = Heartbeats(self)
        self._stream: NodeStream | None = None
        #: The tree that is served, where it is of the log before.
        self.old: ToyTree | None = None
        self._is_open = self._is_paused = False
        #: Calls that came before the node knew what it has itself: (kind, end, opening).
        self._early_calls: list[tuple[str, End, Any]] = []
        #: Who waits until updates are applied again.
        self._paused_turns: list[Callable[[], None]] = []
        #: What is skipped, as the pusher last said.
        self.skips: frozenset[int] = frozenset()
        self._planned_at: float | None = None
        #: For the checker: of each log, the updates that broke this life's tree.
        self.broken_by: set[tuple[str, int]] = set()
        self._waiting_reads, self.periods = WaitingReads(self), PeriodKeeper(self)

    def join(self, cluster: Cluster, history: History, reign: Reign) -> None:
        """Says who is who, once all are made."""
        self.cluster = cluster
        self.history = history
        self.reign = reign

    # ---- life

    def on_start(self) -> None:
        """A new process of this name: a core of its own, the snapshot if there is a sound one."""
        self.incarnation = str(self.life)
        #: Whether there was an import in force when this process began.
        self._came_late = self.cluster.pusher.rollout.in_force > 0
        self.reign.forget(self.name)
        self.core = NodeCore(self.settings, self.clock.now(), self.world.random.random)
        self.in_force = TreeInForce(ToyTree(), (0, None))
        self.old = None
        self._heartbeats = Heartbeats(self)
        self._stream = None
        self._waiting_reads.clear()
        self._is_open = self._is_paused = False
        self._early_calls.clear()
        self._paused_turns.clear()
        self.skips, self._planned_at = frozenset(), None
        self.broken_by.clear()
        self.loader.start()
        self.searching.start()
        self.periods.start()
        self.readiness = Readiness(self.settings.caught_up_lag_updates)
        self._load_snapshot()
        self._heartbeats.start()
        self.timer(self.times.snapshot_s * (0.5 + self.world.random.random()), self._save_again)

    @property
    def tree(self) -> ToyTree:
        """The tree that updates go to."""
        return self.in_force.tree

    @property
    def served(self) -> ToyTree:
        """The tree that reports see."""
        return self.in_force.tree if self.old is None else self.old

    def on_crash(self) -> None:
        """Memory is gone; health checks fail from now on."""
        self.health.set(self.world.now, False, False)
        self.disk.crash()
        self.searching.end()
        self.network.died(self, reset=self.world.random.random() < 0.7)

    def drain(self) -> None:
        """SIGTERM: drains, writes a snapshot, and ends."""
        if self.alive and not self.frozen:
            self.handle(DrainAsked())
            self.timer(0.2, self.save)
            self.timer(0.3, self.crash)

    def _load_snapshot(self) -> None:
        for name in ("snapshot", "snapshot-previous"):
            saved: Snapshot | None = self.disk.read(name)
            if saved is None:
                continue
            if not self.is_sound(saved):
                self.tell(f"sets {name} aside: its checksum is wrong")
                continue
            self.handle(cut.LoadBegun(f"own {name}"))
            self.timer(self.times.load_s * self.world.random.random(), self._loaded, saved)
            return
        self._open()

    def _open(self) -> None:
        """Answers calls on the instant port: once the node knows what it has itself."""
        self._is_open = True
        calls, self._early_calls = self._early_calls, []
        for kind, end, opening in calls:
            self.accept(kind, end, opening)

    def is_sound(self, saved: Snapshot) -> bool:
        """The checksum of a snapshot's file."""
        return saved.sound

    def _loaded(self, saved: Snapshot) -> None:
        tree = saved.tree.copy()
        if saved.log_id == self.cluster.pusher.log_id:
            self._stands(tree)
        self.in_force = self.in_force.replaced_by(tree, saved.last_record, saved.carried)
        self.handle(seq.TreeTaken(saved.log_id, tree.import_id, tree.position, bare=tree.is_bare))
        self.moved()
        self._open()

    def _save_again(self) -> None:
        self.timer(self.times.snapshot_s * (0.5 + self.world.random.random()), self._save_again)
        self.save()

    def save(self) -> None:
        """Writes a snapshot of the tree as it is now; the one before is kept."""
        saved: Snapshot | None = self.disk.read("snapshot")
        state = (self.core.sequence.log_id, self.tree.import_id, self.tree.position)
        if self.old is not None or state[1:] == (0, 0):
            return
        if saved is not None and (saved.log_id, saved.tree.import_id, saved.tree.position) == state:
            return
        in_force = self.in_force
        fresh = Snapshot(state[0], self.tree.copy(), in_force.carried, in_force.last_record, True, wall_s(self))
        self.disk.write("snapshot-previous", saved if saved and saved.log_id == fresh.log_id else None, lambda _: None)
        self.disk.write("snapshot", fresh, lambda _: None)

    # ---- the core's events and actions

    def handle(self, event: NodeEvent) -> list[NodeAction]:
        """Tells the core, performs what it asks, and plans its next deadline; returns the actions for the rest."""
        core = self.core
        actions = core.handle(event, self.clock.now())
        self.readiness.hears(event, actions)
        if actions:
            self.perform(actions)
        self.readiness.stands(self.tree)
        core.validate()
        deadline = core.deadline_s
        if deadline is not None and (self._planned_at is None or deadline < self._planned_at):
            self._plan(deadline)
        return actions

    def _plan(self, deadline: float) -> None:
        self._planned_at = deadline
        self.timer(deadline - self.clock.now() + 0.0005, self._tick, deadline)

    def _tick(self, planned_at: float) -> None:
        if self._planned_at != planned_at:
            return
        self._planned_at = None
        now = self.clock.now()
        deadline = self.core.deadline_s
        if deadline is not None and now >= deadline:
            self.perform(self.core.handle(Tick(), now))
            self.core.validate()
            deadline = self.core.deadline_s
        if deadline is not None and self._planned_at is None:
            self._plan(max(deadline, now))

    def perform(self, actions: list[NodeAction]) -> None:
        """Does what the core asks, in order."""
        for action in actions:
            _PERFORM[type(action)](self, action)

    def _set_health(self, action: SetHealth) -> None:
        self.health.set(self.world.now, action.ready, action.primary)
        if not action.ready:
            self._waiting_reads.answer(False)

    def _end_watches(self, _: EndWatches) -> None:
        """Open reports end; the VIP model asks again by itself."""

    def _state_changed(self, action: StateChanged) -> None:
        self.tell(f"{action.before.name} -> {action.after.name}: {action.why}")
        self.readiness.changed(self)

    def _promoted(self, action: Promoted) -> None:
        self.reign.elected(action.epoch, f"{self.name}/{self.incarnation}")
        self.reign.alone(self.name, [node.name for node in self.cluster.nodes if node is not self and node.reigns()])

    def reigns(self) -> bool:
        """Whether this node believes itself primary at this real instant, by its own clock."""
        return self.alive and self.core.role.is_primary(self.clock.now())

    def _demoted(self, action: Demoted) -> None:
        told = action.reason.startswith("passive by the coordinator's word")
        self.stepped_down = (self.world.now, (self.tree.import_id, self.tree.position), told)
        self.tell(f"is not primary: {action.reason}")

    def _heartbeat_now(self, _: HeartbeatNow) -> None:
        self._heartbeats.beat()

    def _answer_refused(self, action: AnswerRefused) -> None:
        self.tell(f"refuses an answer: {action.reason}")

    # ---- the pusher

    def accept(self, kind: str, end: End, opening: Any) -> None:
        """The pusher's stream, a load, or a peer that fetches something."""
        if not self._is_open:
            self._early_calls.append((kind, end, opening))
        elif not end.open:
            pass  # whoever called has gone meanwhile
        elif kind == "apply":
            if self._stream is not None:
                self._stream.ask_to_end("a newer stream took the place of this one")
            self._stream = NodeStream(self, end, opening)
        else:
            self.loader.accept(kind, end, opening)

    def await_turn(self, turn: Callable[[], None]) -> None:
        """Calls a little later, and not while updates are paused."""
        self.timer(self.times.apply_s * self.world.random.random(), self._turn, turn)

    def _turn(self, turn: Callable[[], None]) -> None:
        if self._is_paused:
            self._paused_turns.append(turn)
        else:
            turn()

    def apply(self, records: tuple[Record, ...]) -> SliceFailed | None:
        """A slice of records into the live tree, in one step; what came of it where the engine failed."""
        failed: SliceFailed | None = None
        try:
            for position, update in records:
                self.apply_one(position, update)
        except EngineFailed as error:
            failed = halts.recover(self, error)
        if failed is None or failed.position is not None:
            self._stands(self.tree)
        return failed

    def apply_one(self, position: int, update: Any) -> None:
        """One update into the live tree."""
        tree = self.tree
        self.periods.before(tree, position, update)
        self.history.applied(self.name, tree.position, position, update)
        tree.apply(position, update)

    def note_record(self, record: Record) -> None:
        """That record is the newest one in the tree."""
        self.in_force = self.in_force.with_record(*record)

    def moved(self) -> None:
        """The live tree is further on, or another one."""
        self._waiting_reads.answer(True)
        self.periods.look()

    def _answer_status(self, _: seq.AnswerStatus) -> None:
        if self._stream is not None:
            self.timer(0.0, self._stream.look)

    def _to_the_caller(self, _: seq.ApplyRecords | seq.RefusePusher | AskAgain) -> None:
        """The stream does it, which gave the event."""

    def _pause(self, _: cut.PauseApplying) -> None:
        self._is_paused = True

    def _resume(self, _: cut.ResumeApplying) -> None:
        self._is_paused = False
        turns, self._paused_turns = self._paused_turns, []
        for turn in turns:
            self.await_turn(turn)

    def _build(self, action: cut.BuildAction) -> None:
        self.loader.builds[action.build].perform(action)

    def _search(self, action: search.SearchAction) -> None:
        self.searching.perform(action)

    def _set_aside(self, action: seq.SetAside) -> None:
        self.tell(f"sets its state aside: {action.reason}")
        self.in_force = TreeInForce(ToyTree(), (0, None))
        self.tree.skips = self.skips
        self.disk.forget("snapshot")
        self.disk.forget("snapshot-previous")

    def _go_over(self, action: seq.GoOver) -> None:
        self.tell(f"goes over: {action.reason}")
        if self.old is None and self.core.sequence.old_log_id:
            self.old = self.in_force.tree
        self.in_force = TreeInForce(ToyTree(), (0, None))
        self.tree.skips = self.skips

    def _drop_old_tree(self, _: seq.DropOldTree) -> None:
        self.old = None
        self.periods.look()

    def _find_base(self, action: seq.FindBase) -> None:
        self.tell(f"looks for a base: {action.reason}")

    def take_tree(self, take: cut.TakeTree, build: Build) -> None:
        """Swaps to a whole new tree in one step."""
        tree, before = build.tree, self.tree
        if build.cancelled:
            raise Violation(f"cancelled: {self.name} takes a tree that nobody asks for any more")
        heard = self.core.sequence.log_end
        if build.is_snapshot and heard is not None and tree.position + 1 < heard.first_position:
            raise Violation(f"base: {self.name} takes a snapshot at {tree.position}, the log begins at {heard}")
        self.in_force = self.in_force.replaced_by(tree, build.last_record, take.carried)
        if tree.import_id and tree.import_id != before.import_id:
            self.tell(f"serves from import {tree.import_id} at {tree.position}")
            stored = self.cluster.pusher.imports.get(tree.import_id)
            if stored is None:
                raise Violation(f"import: {self.name} takes import {tree.import_id}, which this log never had")
            self.history.took_import(self.name, tree.import_id, stored.file, self.in_force.carried)
            self.timer(0.01, self.save)
        self._stands(tree)
        tree.skips = self.skips
        self.moved()
        self.timer(0.0, halts.check_skips, self)

    def _stands(self, tree: ToyTree) -> None:
        self.history.stands(self.name, tree.import_id, tree.position, tree.digest)

    # ---- reports

    def serve_read(self, min_position: int, answer: Callable[[bool], None]) -> None:
        """Answers when the tree is far enough; refuses while there is none."""
        self._waiting_reads.serve(min_position, answer, came_late=self._came_late)


_PERFORM: dict[type, Callable[[NodeProcess, Any], None]] = {
    SetHealth: NodeProcess._set_health,
    EndWatches: NodeProcess._end_watches,
    StateChanged: NodeProcess._state_changed,
    Promoted: NodeProcess._promoted,
    Demoted: NodeProcess._demoted,
    HeartbeatNow: NodeProcess._heartbeat_now,
    AnswerRefused: NodeProcess._answer_refused,
    seq.ApplyRecords: NodeProcess._to_the_caller,
    AskAgain: NodeProcess._to_the_caller,
    seq.SetAside: NodeProcess._set_aside,
    seq.GoOver: NodeProcess._go_over,
    seq.DropOldTree: NodeProcess._drop_old_tree,
    seq.FindBase: NodeProcess._find_base,
    seq.RefusePusher: NodeProcess._to_the_caller,
    seq.AnswerStatus: NodeProcess._answer_status,
    cut.PauseApplying: NodeProcess._pause,
    cut.ResumeApplying: NodeProcess._resume,
    **dict.fromkeys(get_args(cut.BuildAction), NodeProcess._build),
    **dict.fromkeys(get_args(search.SearchAction), NodeProcess._search),
}
