"""Bugs in the pusher: its log, receipts, fan-out and rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.pusher.admission.acks import AckRange, Acks
from services.pusher.fanout.last_record import LastRecord
from services.pusher.fanout.progress import NodeReplication
from services.pusher.fanout.replication import Replication
from services.pusher.imports.rollout import Rollout, RolloutNode
from tests.simulator.planted.planting import plant
from tests.simulator.pusher_admission import PushDesk
from tests.simulator.pusher_log import PusherLog


def _ack_before_sync(self: PushDesk, change: Callable[[], None], done: Callable[[bool], None]) -> None:
    """Done as soon as the page cache has it; the disk follows later, or never."""
    store = self.pusher.store
    before = len(store.updates)
    change()
    written = store.updates[before:]

    def undo() -> None:
        del store.updates[before:]
        for update in written:
            store.ids.pop(update.update_id, None)

    store.unsynced.append(undo)
    self.pusher.world.after(0.2, lambda: store.unsynced.remove(undo) if undo in store.unsynced else None)
    self.pusher.timer(0.0, done, True)


def _send_before_sync(self: PushDesk, change: Callable[[], None], done: Callable[[bool], None]) -> None:
    """Nodes get records that are not durable yet; receipts wait."""
    _ack_before_sync(self, change, lambda ok: self.pusher.timer(0.25, done, ok))
    self.spread()


def _any_past(_self: LastRecord[Any], _own: Any) -> int:
    """A node's last record is not compared with the log's."""
    return 0


def _any_log(self: NodeReplication) -> bool:
    """A position is a position."""
    return self.connected


def _dedupe_window(self: PusherLog, update_id: str) -> int | None:
    position = self.ids.get(update_id)
    return position if position is not None and position > len(self.updates) - 20 else None


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


def _primary_as_canary(self: Rollout, now_s: float) -> RolloutNode | None:
    ready = [node for node in self._connected(now_s) if node.import_id < self.places.candidate]
    return max(ready, key=lambda node: node.node == self.primary, default=None)


PUSHER = (
    plant("ack-before-fsync", "a receipt leaves before the log is on disk", PushDesk, "sync", _ack_before_sync),
    plant("fan-out-before-fsync", "nodes get what is not durable", PushDesk, "sync", _send_before_sync),
    plant("dedupe-window", "ids are known for the last 20 updates", PusherLog, "position_of", _dedupe_window),
    plant("own-place", "a node's word about where it stands is ignored", Replication, "_stood", _keep_own_place),
    plant("any-past", "a log that lost updates and took others is not known", LastRecord, "differs_at", _any_past),
    plant("any-log", "a node of another past confirms updates", NodeReplication, "shares_log", property(_any_log)),
    plant("all-of-nobody", "'all nodes' is reached with no healthy node", Acks, "level", _count_nobody),
    plant("one-for-all", "'all nodes' is reached with the first", Acks, "level", _best_of_healthy),
    plant("primary-first", "an untried import goes to the primary", Rollout, "_canary", _primary_as_canary),
)
