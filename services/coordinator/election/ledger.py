"""What is durable and what is being written: elections and their numbers (rule 1 of `election.py`), and pauses."""

from __future__ import annotations

import math
from dataclasses import replace

from services.coordinator.election.events import Persist, Recorded
from services.coordinator.election.leases import NodeLease
from services.coordinator.election.settings import ElectionSettings


class Ledger:
    """The coordinator's record, and the write under way."""

    def __init__(self, recorded: Recorded, settings: ElectionSettings, now_s: float) -> None:
        #: What is durable.
        self.recorded = recorded
        #: What is being written: an election in ELECTING, else a pause or resume, or what is durable already.
        self.writing: Recorded | None = None
        #: An election's write failed and may have happened: the store may name a winner that nobody was told of.
        self.unsure = False
        #: Why the last write failed; empty once one succeeded.
        self.problem = ""
        #: Every epoch up to here was used or heard of; never falls.
        self.epoch_floor = recorded.epoch
        #: Nothing is written before: the last write failed.
        self.write_again_at = now_s
        #: What is durable is written anew then, if nothing is written before: only so is it known that the disk has
        #: room again, where nobody is elected and nothing is asked for.
        self._rehearse_at = math.inf
        self._settings = settings
        #: Of those that are elected from here on; see `vouching.py`.
        self.vouch_ms = 0

    @property
    def times(self) -> tuple[float, float]:
        """When a write may become due by the time alone."""
        return self.write_again_at, self._rehearse_at

    def may_write(self, now_s: float) -> bool:
        """Whether a write may begin now."""
        return self.writing is None and now_s >= self.write_again_at

    def hear(self, *epochs: int) -> None:
        """Nodes know of these: they are not used again."""
        self.epoch_floor = max(self.epoch_floor, *epochs)

    def elect(self, winner: NodeLease) -> Persist:
        """Has the winner written down, under a number of its own."""
        self.epoch_floor += 1
        return self._write(
            replace(
                self.recorded,
                epoch=self.epoch_floor,
                primary=winner.node,
                primary_incarnation=winner.incarnation,
                contested=False,
                vouch_ms=self.vouch_ms,
            )
        )

    def pause(self, paused: bool) -> Persist:
        """Has a pause, or its end, written down."""
        return self._write(replace(self._stored_again(), paused=paused))

    def contest(self, contested: bool) -> Persist:
        """Has a notice, or its end, written down (`vouching.py`, rule 1)."""
        return self._write(replace(self._stored_again(), contested=contested))

    def rehearse(self) -> Persist:
        """Has what is durable written anew: whether that is possible."""
        return self._write(self._stored_again())

    def rehearse_if_due(self, now_s: float) -> list[Persist]:
        """The same once in a while after a write that failed."""
        return [self.rehearse()] if self.writing is None and now_s >= self._rehearse_at else []

    def _stored_again(self) -> Recorded:
        # Above an election that may be in the store; the seat is vacant then, so nobody's epoch changes.
        return replace(self.recorded, epoch=self.epoch_floor) if self.unsure else self.recorded

    def _write(self, recorded: Recorded) -> Persist:
        self.writing = recorded
        return Persist(recorded=recorded)

    def succeed(self) -> None:
        """What was being written is durable."""
        if self.writing is not None:
            self.recorded, self.writing, self.problem, self.unsure = self.writing, None, "", False
            self._rehearse_at = math.inf

    def fail(self, reason: str, now_s: float, *, election: bool) -> None:
        """What was being written may or may not be durable."""
        self.writing, self.problem = None, reason
        self.write_again_at = now_s + self._settings.write_again_s
        self._rehearse_at = now_s + self._settings.rehearse_s
        self.unsure = self.unsure or election
