"""What a simulated node keeps of closed months: performs what the real core (`services/treenode/periods/keeping.py`)
asks for. A state is its digest here.

Draws of its own, and nothing that goes over the network of this world: without months that close, a seed is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from services.shared.cores import Tick
from services.treenode.periods.keeping import (
    AskPeers,
    Damaged,
    Fetch,
    Fetched,
    FetchFailed,
    Found,
    Keeping,
    KeepingAction,
    KeepingEvent,
    Kept,
    Offer,
    PeersHave,
    Rebuild,
    RebuildEnded,
    Remove,
    Sealing,
    SetAside,
    Stands,
    Write,
    WriteFailed,
    Written,
)
from tests.simulator.toy_rules import after_rule
from tests.simulator.toy_tree import RULE, EngineFailed, ToyTree, Update

if TYPE_CHECKING:
    from tests.simulator.node_process import NodeProcess
    from tests.simulator.node_state import Snapshot

KEPT_MAX, CHECK_INTERVAL_S = 3, 60.0
#: A file is written, fetched or asked for within so long.
WORK_S = 2.0
#: After a start, files are read through within so long.
READ_THROUGH_S = 5.0
DAMAGE_CHANCE = 0.1


class KeptFile(NamedTuple):
    """A state on disk; `sound` is what its checksum says."""

    state: Kept
    digest: int
    sound: bool = True


def sealed_by(tree: ToyTree, position: int, update: Update) -> tuple[str, ...]:
    """The months that an update would close for good; none where it would be refused."""
    after = after_rule(tree.rules, update.content) if update.kind == RULE and position not in tree.skips else None
    return after.sealed_periods[len(tree.rules.sealed_periods) :] if after is not None else ()


class PeriodKeeper:
    """The closed months of one node."""

    def __init__(self, node: NodeProcess) -> None:
        self._node = node
        self._random = Random(f"{node.world.seed} {node.name}")
        self.core = Keeping(KEPT_MAX, CHECK_INTERVAL_S)
        self._planned_at: float | None = None

    def start(self) -> None:
        """A new life of the node: what is on its disk is found, and read through a little later."""
        self.core = Keeping(KEPT_MAX, CHECK_INTERVAL_S)
        self._planned_at = None
        for name, file in self._node.disk.named("period-"):
            if self._random.random() < DAMAGE_CHANCE:
                self._node.disk.damage(name, lambda harmed: harmed._replace(digest=harmed.digest ^ 1, sound=False))
            self._handle(Found(file.state))
            self._node.timer(READ_THROUGH_S * self._random.random(), self._read_through, file.state)

    def file_of(self, state: Kept) -> KeptFile | None:
        """What its disk has of a state."""
        file: KeptFile | None = self._node.disk.read(_name_of(state))
        return file

    @property
    def served_log_id(self) -> str:
        """The log of the tree that is served; empty where that is none."""
        node, tree = self._node, self._node.served
        if (tree.import_id, tree.position) == (0, 0):
            return ""
        return node.core.sequence.log_id if node.old is None else node.core.sequence.old_log_id

    def look(self) -> None:
        """Which months are closed in the tree that is served."""
        if log_id := self.served_log_id:
            self._handle(Stands(log_id, self._node.served.rules.sealed_periods))

    def before(self, tree: ToyTree, position: int, update: Update) -> None:
        """A tree is about to take an update."""
        for period in sealed_by(tree, position, update):
            self.look()
            sequence = self._node.core.sequence
            newest = sequence.log_end.import_id if sequence.log_end is not None else 0
            state = Kept(sequence.log_id, period, tree.import_id, tree.position)
            sealing = Sealing(state, is_served=tree is self._node.tree, newest_import=newest)
            self._handle(sealing, tree.digest)

    # ---- the core

    def _handle(self, event: KeepingEvent, digest: int = 0) -> None:
        """Tells the core, and does what it asks for. `digest`: of the tree that is to be written."""
        node = self._node
        for action in self.core.handle(event, node.clock.now()):
            node.note(f"months: {action}")
            self._perform(action, digest)
        self.core.validate()
        deadline_s = self.core.deadline_s
        if deadline_s is not None and (self._planned_at is None or deadline_s < self._planned_at):
            self._plan(deadline_s)

    def _plan(self, deadline_s: float) -> None:
        self._planned_at = deadline_s
        self._node.timer(deadline_s - self._node.clock.now() + 0.0005, self._tick, deadline_s)

    def _tick(self, planned_at: float) -> None:
        if self._planned_at != planned_at:
            return
        self._planned_at = None
        deadline_s = self.core.deadline_s
        if deadline_s is not None and self._node.clock.now() >= deadline_s:
            self._handle(Tick())
        elif deadline_s is not None:
            self._plan(deadline_s)

    def _perform(self, action: KeepingAction, digest: int) -> None:
        later_s = WORK_S * self._random.random()
        match action:
            case Write(state):
                self._check(state, digest)
                self._node.timer(later_s, self._write, KeptFile(state, digest))
            case AskPeers():
                self._node.timer(later_s, self._ask)
            case Fetch(offer):
                self._node.timer(later_s, self._fetch, offer)
            case Rebuild(periods):
                self._node.timer(later_s, self._rebuild, periods)
            case Remove(state) | SetAside(state):
                self._node.disk.forget(_name_of(state))

    def _check(self, state: Kept, digest: int) -> None:
        """What is kept is what every tree there is."""
        pusher = self._node.cluster.pusher
        if state.log_id == pusher.log_id:
            self._node.history.stands(f"{self._node.name}'s {state}", state.import_id, state.position, digest)

    # ---- work

    def _write(self, file: KeptFile) -> None:
        if self._node.disk.full:
            self._handle(WriteFailed(file.state, "the disk is full"))
        else:
            self._node.disk.place(_name_of(file.state), file)
            self._handle(Written(file.state))

    def _peers(self) -> list[NodeProcess]:
        """Those that answer."""
        node = self._node
        return [
            peer
            for peer in node.cluster.nodes
            if peer is not node and peer.alive and not peer.frozen and node.network.reachable(node.name, peer.name)
        ]

    def _ask(self) -> None:
        ready = [peer for peer in self._peers() if peer.core.life.ready]
        offers = [Offer(peer.name, state) for peer in ready for state in peer.periods.core.held.values()]
        self._handle(PeersHave(tuple(offers)))

    def _fetch(self, offer: Offer) -> None:
        keepers = [peer.periods for peer in self._peers() if peer.name == offer.peer]
        file = keepers[0].file_of(offer.state) if keepers else None
        if file is None or self._node.disk.full:
            self._handle(FetchFailed(offer, "nobody answers" if file is None else "the disk is full"))
        elif not keepers[0]._read_through(offer.state):
            self._handle(FetchFailed(offer, "it is damaged"))
        else:
            self._check(file.state, file.digest)
            self._node.disk.place(_name_of(file.state), file)
            self._handle(Fetched(file.state))

    def _read_through(self, state: Kept) -> bool:
        """Whether a file is what was written; else it is set aside."""
        file = self.file_of(state)
        if file is not None and not file.sound:
            self._handle(Damaged(state, "its checksum is wrong"))
        return file is not None and file.sound

    def _rebuild(self, periods: tuple[str, ...]) -> None:
        self._handle(RebuildEnded(self._pass_by(periods)))

    def _pass_by(self, periods: tuple[str, ...]) -> str:
        """Replays the log over the months' ends; empty, or why that can't be."""
        node, pusher = self._node, self._node.cluster.pusher
        tree, log_id = self._from_before(periods), node.core.sequence.log_id
        if tree is None:
            return "this one has no snapshot from before it was closed"
        if not pusher.alive or pusher.frozen or not node.network.reachable(node.name, pusher.name):
            return "the pusher does not answer"
        first, last = tree.position + 1, min(node.tree.position, len(pusher.log))
        damaged = pusher.store.damaged and first <= pusher.store.damaged <= last
        if pusher.log_id != log_id or first < pusher.store.first or damaged:
            return "the log has it no more"
        tree.skips = node.skips
        try:
            for position in range(first, last + 1):
                self.before(tree, position, pusher.log[position - 1])
                tree.apply(position, pusher.log[position - 1])
        except EngineFailed as failed:
            return f"the engine fails: {failed}"
        return ""

    def _from_before(self, periods: tuple[str, ...]) -> ToyTree | None:
        """The newest tree of the import in force in which one of the months is open yet."""
        sequence = self._node.core.sequence
        for name in ("snapshot", "snapshot-previous"):
            saved: Snapshot | None = self._node.disk.read(name)
            if saved is None or (saved.log_id, saved.tree.import_id) != (sequence.log_id, sequence.import_id):
                continue
            if self._node.is_sound(saved) and not set(periods) <= set(saved.tree.rules.sealed_periods):
                return saved.tree.copy()
        is_whole = sequence.import_id == 0 and sequence.log_end is not None and sequence.log_end.first_position == 1
        return ToyTree() if is_whole else None


def _name_of(state: Kept) -> str:
    return f"period-{state.period}-{state.import_id}-{state.position}-{state.log_id}"


def unequal_months(nodes: list[NodeProcess]) -> str:
    """What keeps the nodes from keeping the same, in one line; empty where nothing does. While some serve the tree of
    the log before, those are looked at by themselves."""
    logs = sorted({node.periods.served_log_id for node in nodes})
    found = [_unequal([node for node in nodes if node.periods.served_log_id == log_id]) for log_id in logs]
    return "; ".join(filter(None, found))


def _unequal(nodes: list[NodeProcess]) -> str:
    for period in sorted({period for node in nodes for period in node.periods.core.held}):
        files = {}
        for node in nodes:
            held = node.periods.core.held.get(period)
            if held is None and period in node.periods.core.wanted:
                return f"{node.name} lacks {period}: {node.periods.core.problems.get(period, 'it looks for it')}"
            if held is not None:
                files[node.name] = node.periods.file_of(held)
        if None in files.values() or not all(file.sound for file in files.values() if file is not None):
            return f"of {period} a file is gone or damaged: {files}"
        if len({(f.state.import_id, f.state.position, f.state.log_id, f.digest) for f in files.values() if f}) > 1:
            return f"nodes keep different states of {period}: {files}"
    return ""


def kept_months(nodes: list[NodeProcess]) -> Iterator[tuple[NodeProcess, Kept, int]]:
    """Every state that some node keeps, and its digest."""
    for node in nodes:
        for state in node.periods.core.held.values():
            if (file := node.periods.file_of(state)) is not None:
                yield node, state, file.digest
