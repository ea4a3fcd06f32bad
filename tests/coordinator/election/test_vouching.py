"""Of several coordinators any may vouch for a primary: never are there two, over stories of faults, with planted bugs
that are found."""

from __future__ import annotations

import pytest

from services.coordinator.election.election import ElectionCore
from services.coordinator.election.events import Action, Recorded
from services.coordinator.election.leases import NodeLease
from services.coordinator.election.vouching import VouchedElection
from services.treenode.node.role import RoleCore, Vouched
from tests.coordinator.election.vouching_world import BrokenPromiseError, Kinds, World

SEEDS = 60
#: More than any planted bug needs.
PLANTED_SEEDS = 400


def test_there_are_never_two_and_the_one_stays() -> None:
    worlds = [World(seed).run() for seed in range(SEEDS)]
    takeovers, kept = (sum(getattr(world, what) for world in worlds) for what in ("takeovers", "kept"))
    assert takeovers > 3 * SEEDS
    assert kept > takeovers / 4
    assert sum(world.elections for world in worlds) > 3 * SEEDS


def test_a_story_is_the_same_each_time() -> None:
    one, again = World(3).run(), World(3).run()
    assert (one.records, one.vouched) == (again.records, again.vouched)


class WithoutNotice(VouchedElection):
    """Another one is elected as where nobody vouches."""

    def _may_win(self, winner: NodeLease, now_s: float) -> bool:
        return ElectionCore._may_win(self, winner, now_s)


class WithoutWait(VouchedElection):
    """A notice counts from when it is durable, and nothing is waited for."""

    @property
    def _free_at_s(self) -> float | None:
        return self._notice_at_s


class FromWhenItWasAskedFor(VouchedElection):
    """A notice counts from when its write began."""

    def _prepare(self, now_s: float, actions: list[Action]) -> bool:
        begins = super()._prepare(now_s, actions)
        if begins and self.ledger.writing is not None and self.ledger.writing.contested:
            self._notice_at_s = now_s
        return begins


class KeptNotice(VouchedElection):
    """One that was taken back still counts."""

    def _prepare(self, now_s: float, actions: list[Action]) -> bool:
        before = self._notice_at_s
        begins = super()._prepare(now_s, actions)
        self._notice_at_s = self._notice_at_s or before
        return begins

    def _end_write(self, recorded: Recorded, now_s: float, actions: list[Action]) -> None:
        before = self._notice_at_s
        super()._end_write(recorded, now_s, actions)
        self._notice_at_s = self._notice_at_s or before


class CountsFromTheAnswer(RoleCore):
    """A node's lease goes on from when it hears of it."""

    def _prolong(self, vouched: Vouched) -> None:
        super()._prolong(Vouched(vouched.epoch, self._now_s, vouched.lease_s))


def though_contested(recorded: Recorded, node: str, incarnation: str, epoch: int) -> float:
    """Whoever vouches does not look for a notice."""
    own = (recorded.epoch, recorded.primary, recorded.primary_incarnation)
    return recorded.vouch_ms / 1_000 if own == (epoch, node, incarnation) else 0.0


PLANTED = {
    "without notice": Kinds(election=WithoutNotice),
    "without wait": Kinds(election=WithoutWait),
    "from when it was asked for": Kinds(election=FromWhenItWasAskedFor),
    "kept notice": Kinds(election=KeptNotice),
    "counts from the answer": Kinds(role=CountsFromTheAnswer),
    "though contested": Kinds(vouched_s=though_contested),
    "by an old read": Kinds(old_read_s=0.7),
}


@pytest.mark.parametrize("kinds", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_bug_is_found(kinds: Kinds) -> None:
    for seed in range(PLANTED_SEEDS):
        try:
            World(seed, kinds).run()
        except BrokenPromiseError:
            return
    pytest.fail("no story shows it")
