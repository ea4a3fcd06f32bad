"""Bugs that the stories have to show."""

from __future__ import annotations

from typing import NamedTuple

from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.events import PusherAction, PusherEvent
from services.coordinator.pushers.leases import PusherLease
from tests.simulator.turns.stores import BrokenPromiseError
from tests.simulator.turns.world import World

#: More than any of them needs.
SEEDS_MAX = 300


class _TellsBeforeItIsDurable(PusherElection):
    """A winner is told while it is being written down."""

    def handle(self, event: PusherEvent, now_s: float) -> list[PusherAction]:
        actions = super().handle(event, now_s)
        if self.writing is not None:
            self.recorded = self.writing
        return actions

    def validate(self) -> None:
        """All is well: the stories have to notice."""


class _TakesAnyLog(PusherElection):
    """Whoever reads a log is fit, whichever that is."""

    def _has_log(self, lease: PusherLease) -> bool:
        return True


class _LeavesItToAnotherLog(PusherElection):
    """One that was elected over another log stays, though one is heard that has the cluster's."""

    def _is_another_fit(self, now_s: float) -> bool:
        return False


class TurnBug(NamedTuple):
    """What is wrong, and in what."""

    name: str
    election: type[PusherElection] = PusherElection


PLANTED = (
    TurnBug("fence left out"),
    TurnBug("epoch read before the write"),
    TurnBug("index behind at takeover"),
    TurnBug("receipt from a deposed one"),
    TurnBug("late write taken for a failure"),
    TurnBug("order given up"),
    TurnBug("claim of another's epoch"),
    TurnBug("told too early", _TellsBeforeItIsDurable),
    TurnBug("another log taken for fit", _TakesAnyLog),
    TurnBug("another log does not give way", _LeavesItToAnotherLog),
)


def find(bug: TurnBug, seeds_max: int = SEEDS_MAX) -> tuple[int, str]:
    """How many stories it took, and the promise that was broken; empty where none was."""
    for seed in range(seeds_max):
        try:
            World(seed, frozenset({bug.name}), bug.election).run()
        except BrokenPromiseError as broken:
            return seed + 1, str(broken)
    return seeds_max, ""
