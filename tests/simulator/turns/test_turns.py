"""Whatever is slow, lost, or believes what is over: no promise breaks, on any store; planted bugs are found."""

from __future__ import annotations

import pytest

from tests.simulator.turns.planted import PLANTED, TurnBug, find
from tests.simulator.turns.stores import ENGINES
from tests.simulator.turns.world import World

SEEDS = 60


def test_nothing_is_lost_and_nothing_counts_twice() -> None:
    worlds = [World(seed).run() for seed in range(SEEDS)]
    for engine in ENGINES:
        stories = [world for world in worlds if world.store.engine is engine]
        assert sum(world.elections for world in stories) > 3 * len(stories) > 0
        assert sum(world.nominations for world in stories) > len(stories) / 2
        assert sum(len(world.acknowledged) for world in stories) > 100 * len(stories)
        assert sum(world.astray for world in stories) > len(stories)
        assert sum(world.beliefs_of_two for world in stories) > 0, f"{engine.name}: nobody believed what was over"
        if engine.is_remote:
            assert sum(world.unknown_outcomes for world in stories) > len(stories)


def test_a_story_is_the_same_each_time() -> None:
    one, again = World(5).run(), World(5).run()
    assert (one.store.records, one.acknowledged) == (again.store.records, again.acknowledged)


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: TurnBug) -> None:
    stories, broken = find(bug)
    assert broken, f"no story of {stories} shows it"
