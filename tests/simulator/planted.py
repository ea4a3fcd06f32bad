"""Bugs planted on purpose: each breaks one rule of a core or of a shell, and the simulator has to find it.

A simulator that finds nothing proves nothing; one that finds each of these within `SEEDS_MAX` seeds does. A bug is a
replacement of one method or value for the length of a run; the real code is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from services.coordinator.election.election import ElectionCore
from services.coordinator.election.events import PersistDone, Recorded
from services.coordinator.election.leases import LeaseTable, NodeLease
from services.coordinator.election.seat import SeatState
from services.pusher.admission.acks import AckRange, Acks
from services.pusher.fanout.progress import NodeReplication
from services.pusher.fanout.replication import Replication
from services.pusher.imports.rollout import Rollout, RolloutNode
from services.treenode.node.role import LeaseAnswered, RoleCore
from services.treenode.node.sequence import ApplyRecords, SequenceCore
from tests.simulator.coordinator_process import CoordinatorProcess
from tests.simulator.messages import Manifest, Record
from tests.simulator.node_loading import Loader
from tests.simulator.node_process import NodeProcess, Snapshot
from tests.simulator.pusher_log import PushDesk
from tests.simulator.pusher_process import PusherProcess
from tests.simulator.run import Result, run_seed
from tests.simulator.toy_tree import ImportFile, ToyTree, Update
from tests.simulator.world import Clock

SEEDS_MAX = 200


@dataclass(frozen=True)
class Planted:
    """A bug: what it breaks, and how it is put in."""

    name: str
    #: The rule that it breaks, in one line.
    breaks: str
    #: What is replaced: class, attribute, and what stands there instead.
    changes: tuple[tuple[Any, str, Any], ...]


@contextmanager
def in_place(bug: Planted) -> Iterator[None]:
    """The bug is there for as long as this goes on."""
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in bug.changes]
    for owner, name, instead in bug.changes:
        setattr(owner, name, instead)
    try:
        yield
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)


def find(bug: Planted, seeds_max: int = SEEDS_MAX) -> tuple[int, Result | None]:
    """Runs seeds until one shows the bug; how many that took, and what it showed."""
    with in_place(bug):
        for seed in range(1, seeds_max + 1):
            result, _ = run_seed(seed)
            if result.violation:
                return seed, result
    return seeds_max, None


# ---- the pusher ------------------------------------------------------------------------------------------------------


def _ack_before_sync(self: PushDesk, change: Callable[[], None], done: Callable[[bool], None]) -> None:
    """Done as soon as the page cache has it; the disk follows later, or never."""
    before = len(self.log)
    change()
    written = self.log[before:]

    def undo() -> None:
        del self.log[before:]
        for update in written:
            self.ids.pop(update.update_id, None)

    self.unsynced.append(undo)
    self.pusher.world.after(0.2, lambda: self.unsynced.remove(undo) if undo in self.unsynced else None)
    self.pusher.timer(0.0, done, True)


def _send_before_sync(self: PushDesk, change: Callable[[], None], done: Callable[[bool], None]) -> None:
    """Nodes get records that are not durable yet; receipts wait."""
    _ack_before_sync(self, change, lambda ok: self.pusher.timer(0.25, done, ok))
    self.spread()


def _any_past(_self: PusherProcess, _status: Any) -> int:
    """A node's last record is not compared with the log's."""
    return 0


def _dedupe_window(self: PushDesk, update_id: str) -> int | None:
    position = self.ids.get(update_id)
    return position if position is not None and position > len(self.log) - 20 else None


def _keep_own_place(self: Replication, node: NodeReplication, event: Any, now: float) -> Any:
    """Goes on from what was sent, whatever the node says."""
    own = node.next_position
    actions = _STOOD(self, node, event, now)
    if node.ever_stood and own > node.next_position:
        node.next_position = own
    return actions


_STOOD = Replication._stood


def _count_nobody(self: Acks, ack_range: AckRange) -> int:
    """All of no nodes have everything."""
    if ack_range is AckRange.ONE_NODE:
        return self._confirmed
    return min(self._healthy.values(), default=1 << 62)


def _best_of_healthy(self: Acks, ack_range: AckRange) -> int:
    """One is as good as all."""
    return self._confirmed if ack_range is AckRange.ONE_NODE else max(self._healthy.values(), default=0)


def _primary_as_canary(self: Rollout, import_id: int, now: float) -> RolloutNode | None:
    ready = [node for node in self._connected(now) if node.import_id < import_id]
    return max(ready, key=lambda node: node.node == self.primary, default=None)


# ---- the node --------------------------------------------------------------------------------------------------------


def _build_again(_self: SequenceCore, _event: Any) -> list[Any]:
    """Tries to build the import from the damaged log again and again."""
    return []


def _swapped(self: NodeProcess, records: tuple[Record, ...]) -> None:
    _APPLY(self, (*records[-2:][::-1], *records[:-2][::-1]) if len(records) == 2 else records)


_APPLY = NodeProcess.apply


def _repeats_too(self: SequenceCore, positions: Any) -> list[Any]:
    actions = _ADMIT(self, positions)
    return [ApplyRecords(0, len(positions))] if actions else []


_ADMIT = SequenceCore._admit


def _replay_late(self: Loader, tree: ToyTree, records: tuple[Record, ...]) -> None:
    """The first update after the file's position is skipped."""
    for position, update in records:
        if position == tree.position + 1:
            if self.first_replayed(tree):
                tree.position = position
            else:
                tree.apply(position, update)


def _lease_from_receipt(self: RoleCore, answer: LeaseAnswered, now: float) -> list[Any]:
    """The lease runs from when the answer came, not from when the heartbeat left."""
    if answer.sequence in self._sent_at_s:
        self._sent_at_s[answer.sequence] = now
    return _TAKE_ANSWER(self, answer, now)


def _never_demotes(self: RoleCore, now: float) -> list[Any]:
    """The lease is only looked at when an answer comes."""
    self._now_s = now
    return []


_TAKE_ANSWER = RoleCore._take_answer


def _always(*_: Any) -> bool:
    return True


def _no_records(_self: Loader, _records: list[Record]) -> list[Record]:
    return []


def _any_file(_self: Loader, _manifest: Manifest, _file: ImportFile) -> bool:
    return True


def _serve_at_once(self: NodeProcess, _min_position: int, answer: Callable[[bool], None]) -> None:
    answer(self.core.life.ready)


def _sound_file(_self: Loader, _file: ImportFile) -> bool:
    return True


def _sound_snapshot(_self: NodeProcess, _saved: Snapshot) -> bool:
    return True


def _ban_skipped(self: NodeProcess, position: int, update: Update) -> None:
    """The second node forgets to note rejected updates, so that its digest is another one."""
    if self.name == "node-2" and update.kind == 3:
        self.history.applied(self.name, self.tree.position, position, update)
        self.tree.position = position
    else:
        _APPLY_ONE(self, position, update)


_APPLY_ONE = NodeProcess.apply_one


# ---- the coordinator -------------------------------------------------------------------------------------------------


def _no_wait(self: ElectionCore, settings: Any, recorded: Recorded, hosts: Any, now: float) -> None:
    _CORE(self, settings, recorded, hosts, now)
    self.others_from = now


_CORE = ElectionCore.__init__


def _half_a_lease(self: LeaseTable, lease_s: float) -> None:
    """Nodes are taken for dead when half of their lease is over."""
    _LEASES(self, 0.5 * lease_s)


_LEASES = LeaseTable.__init__


def _empty_at_once(self: ElectionCore, now: float, actions: list[Any]) -> None:
    """The old primary is told to stop, and the new one elected without waiting for it."""
    _TELL(self, now, actions)
    if self.seat.state is SeatState.LEAVING:
        self._empty_seat(now)


_TELL = ElectionCore._tell_holder_to_stop


def _grant_before_persist(self: CoordinatorProcess, recorded: Recorded) -> None:
    """The winner is told before it is on disk."""
    self.disk.write("recorded", recorded, lambda _: None)
    self.timer(0.0, self.handle, PersistDone(recorded=recorded))


def _same_epoch(self: ElectionCore, now: float, actions: list[Any]) -> bool:
    """An election takes the number of the one before."""
    self._epoch_floor -= 1
    elected = _ELECT(self, now, actions)
    self._epoch_floor += not elected
    return elected


_ELECT = ElectionCore._elect


def _same_standing(_self: NodeLease) -> tuple[int, int]:
    """Nobody is ever behind."""
    return (0, 0)


def _elect_unready(self: NodeLease, now: float) -> bool:
    return self.is_alive(now)


def plant(name: str, breaks: str, owner: Any, attribute: str, instead: Any) -> Planted:
    """A bug that replaces one thing."""
    return Planted(name, breaks, ((owner, attribute, instead),))


PLANTED = (
    plant("ack-before-fsync", "a receipt leaves before the log is on disk", PushDesk, "sync", _ack_before_sync),
    plant("fan-out-before-fsync", "nodes get what is not durable", PushDesk, "sync", _send_before_sync),
    plant("dedupe-window", "ids are known for the last 20 updates", PushDesk, "position_of", _dedupe_window),
    plant("own-place", "a node's word about where it stands is ignored", Replication, "_stood", _keep_own_place),
    plant("any-past", "a log that lost updates and took others is not known", PusherProcess, "differs_at", _any_past),
    plant("all-of-nobody", "'all nodes' is reached with no healthy node", Acks, "level", _count_nobody),
    plant("one-for-all", "'all nodes' is reached with the first", Acks, "level", _best_of_healthy),
    plant("primary-first", "an untried import goes to the primary", Rollout, "_canary", _primary_as_canary),
    plant("out-of-order", "two records are applied in the wrong order", NodeProcess, "apply", _swapped),
    plant("repeats-applied", "records that came again are applied again", SequenceCore, "_admit", _repeats_too),
    plant("replay-off-by-one", "the update after an import's position is lost", Loader, "replay", _replay_late),
    plant("carried-dropped", "held updates don't survive an import", Loader, "carried_records", _no_records),
    plant("early-swap", "the new tree serves before it caught up", Loader, "may_swap", _always),
    plant("bad-file-taken", "an import's rows are not checked", Loader, "is_sound", _sound_file),
    plant("old-file-taken", "an import file of that number is taken for the one meant", Loader, "is_wanted", _any_file),
    plant(
        "damaged-log-again",
        "an import behind a damaged record is built again and again",
        SequenceCore,
        "_give_up_building",
        _build_again,
    ),
    plant("damaged-snapshot", "a snapshot's checksum is not checked", NodeProcess, "is_sound", _sound_snapshot),
    plant("nodes-differ", "one node forgets rejected updates", NodeProcess, "apply_one", _ban_skipped),
    plant("stale-read", "min_position is ignored", NodeProcess, "serve_read", _serve_at_once),
    plant(
        "lease-from-receipt",
        "a lease runs from its answer's arrival",
        RoleCore,
        "_take_answer",
        _lease_from_receipt,
    ),
    plant("no-self-demotion", "a node whose lease is over stays primary", RoleCore, "tick", _never_demotes),
    plant("wall-clock", "leases are measured by the wall clock", Clock, "now", Clock.wall),
    plant("no-start-wait", "a new coordinator elects at once", ElectionCore, "__init__", _no_wait),
    plant("elect-early", "the seat is given away before the lease ends", LeaseTable, "__init__", _half_a_lease),
    plant(
        "two-in-switchover",
        "a switchover does not wait for the old primary",
        ElectionCore,
        "_tell_holder_to_stop",
        _empty_at_once,
    ),
    plant(
        "grant-before-persist",
        "an epoch is told before it is durable",
        CoordinatorProcess,
        "persist",
        _grant_before_persist,
    ),
    plant("epoch-reuse", "an election has the last one's number", ElectionCore, "_elect", _same_epoch),
    plant("switchover-behind", "the target need not have caught up", NodeLease, "standing", property(_same_standing)),
    plant("elect-unready", "a node that is not ready is elected", NodeLease, "is_ready", _elect_unready),
)
