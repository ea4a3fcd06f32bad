"""Bugs in the coordinator, and in the clock that leases are measured by."""

from __future__ import annotations

from typing import Any

from services.coordinator.election.election import ElectionCore
from services.coordinator.election.events import PersistDone, Recorded
from services.coordinator.election.leases import LeaseTable, NodeLease
from services.coordinator.election.seat import SeatState
from tests.simulator.coordinator_process import CoordinatorProcess
from tests.simulator.planted.planting import plant
from tests.simulator.world import Clock

_CORE = ElectionCore.__init__


def _no_wait(self: ElectionCore, settings: Any, recorded: Recorded, hosts: Any, now: float) -> None:
    _CORE(self, settings, recorded, hosts, now)
    self.others_from = now


def _knows_all_at_once(self: ElectionCore, settings: Any, recorded: Recorded, hosts: Any, now: float) -> None:
    """Who has not been heard yet is taken for gone."""
    _CORE(self, settings, recorded, hosts, now)
    self.complete_from = now


def _half_a_lease(self: LeaseTable, lease_s: float, forget_s: float) -> None:
    """Nodes are taken for dead when half of their lease is over."""
    _LEASES(self, 0.5 * lease_s, forget_s)


_LEASES = LeaseTable.__init__


def _empty_at_once(self: ElectionCore, now: float, actions: list[Any], why: str, *, asked: bool = False) -> None:
    """The old primary is told to stop, and the new one elected without waiting for it."""
    _TELL(self, now, actions, why, asked=asked)
    if self.seat.state is SeatState.LEAVING:
        self._empty_seat(now, why)


_TELL = ElectionCore._tell_holder_to_stop


def _grant_before_persist(self: CoordinatorProcess, recorded: Recorded) -> None:
    """The winner is told before it is on disk."""
    self.disk.write("recorded", recorded, lambda _: None)
    self.timer(0.0, self.handle, PersistDone(recorded=recorded))


def _same_epoch(self: ElectionCore, now: float, actions: list[Any]) -> bool:
    """An election takes the number of the one before."""
    self.ledger.epoch_floor -= 1
    elected = _ELECT(self, now, actions)
    self.ledger.epoch_floor += not elected
    return elected


_ELECT = ElectionCore._elect


def _same_standing(_self: NodeLease) -> tuple[int, int]:
    """Nobody is ever behind."""
    return (0, 0)


def _elect_unready(self: NodeLease, now: float) -> bool:
    return self.is_alive(now)


COORDINATOR = (
    plant("wall-clock", "leases are measured by the wall clock", Clock, "now", Clock.wall),
    plant("no-start-wait", "a new coordinator elects at once", ElectionCore, "__init__", _no_wait),
    plant(
        "knows-all-at-once",
        "a new coordinator has not heard of all nodes yet",
        ElectionCore,
        "__init__",
        _knows_all_at_once,
        600,  # it takes a coordinator and a node that begin at one time
    ),
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
