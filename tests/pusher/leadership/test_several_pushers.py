"""Whatever is slow, lost, or believes what is over: nothing acknowledged is lost or stands twice; planted bugs show."""

from __future__ import annotations

import pytest

from services.coordinator.pushers.election import PusherElection
from services.coordinator.pushers.events import PusherAction, PusherEvent
from tests.pusher.leadership.world import BrokenPromiseError, World

SEEDS = 60
#: More than any planted bug needs.
PLANTED_SEEDS = 300
PLANTED = (
    "fence left out",
    "epoch read before the write",
    "index behind at takeover",
    "receipt from a deposed one",
)


class TellsBeforeItIsDurable(PusherElection):
    """A winner is told while it is being written down."""

    def handle(self, event: PusherEvent, now_s: float) -> list[PusherAction]:
        actions = super().handle(event, now_s)
        if self.writing is not None:
            self.recorded = self.writing
        return actions

    def validate(self) -> None:
        """All is well: the stories have to notice."""


def test_nothing_is_lost_or_counts_twice() -> None:
    elections = acknowledged = 0
    for seed in range(SEEDS):
        world = World(seed).run()
        elections += world.elections
        acknowledged += len(world.acknowledged)
    assert elections > 3 * SEEDS, "the stories have few elections in them: they show little"
    assert acknowledged > 100 * SEEDS, "the stories have few pushes in them: they show little"


def test_a_story_is_the_same_each_time() -> None:
    one, again = World(5).run(), World(5).run()
    assert (one.log.records, one.acknowledged, one.elections) == (
        again.log.records,
        again.acknowledged,
        again.elections,
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("bug", "election"), [*((bug, PusherElection) for bug in PLANTED), ("told too early", TellsBeforeItIsDurable)]
)
def test_a_planted_bug_is_found(bug: str, election: type[PusherElection]) -> None:
    for seed in range(PLANTED_SEEDS):
        try:
            World(seed, frozenset({bug}), election).run()
        except BrokenPromiseError:
            return
    pytest.fail("no story shows it")
