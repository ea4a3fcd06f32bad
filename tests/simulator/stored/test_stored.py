"""Stories with a place of stored snapshots: what is stored is used, and planted bugs in it are found."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulator.planted.planting import Planted, find
from tests.simulator.planted.stored import STORED
from tests.simulator.run import run_seed
from tests.simulator.stored.loop import VirtualLoop
from tests.simulator.world import Clock, Process, World

#: Of these, seven have a store.
SEEDS = range(17, 31)
#: Those that show within a few seeds; the others take the time of `make sim`.
QUICK = (
    "index-first",
    "parts-removed-first",
    "removed-too-soon",
    "never-removed",
    "oldest-first",
    "place-never-asked",
)


def test_snapshots_are_stored_and_nodes_start_from_them() -> None:
    results = [run_seed(seed)[0] for seed in SEEDS]
    assert [result.seed for result in results if result.violation] == []
    assert sum(result.stored for result in results) > len(SEEDS)
    assert sum(result.stored_starts for result in results) > 3


@pytest.mark.parametrize("bug", [bug for bug in STORED if bug.name in QUICK], ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Planted) -> None:
    seeds, result = find(bug)
    assert result is not None, f"{bug.name} ({bug.breaks}) was not found in {seeds} seeds"


def test_the_loop_keeps_order_waits_in_the_worlds_time_and_ends_with_its_process() -> None:
    world = World(1)
    process = Process(world, "p", Clock(world, 5.0, 1.0))
    process.start()
    loop, told = VirtualLoop(process), list[str]()

    async def work(name: str, wait_s: float) -> None:
        try:
            told.append(f"{name} begins")
            await asyncio.sleep(wait_s)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    await loop.create_future()
            told.append(f"{name} at {world.now:g}")
            await asyncio.sleep(100.0)
        finally:
            told.append(f"{name} ends")

    loop.spawn(work("a", 2.0))
    loop.spawn(work("b", 0.0))
    world.run(1.5)
    process.freeze()
    world.run(2.5)
    assert told == ["a begins", "b begins", "b at 1"]
    process.thaw()
    world.run(9.0)
    assert told[3:] == ["a at 3.5"]
    process.crash()
    loop.end()
    world.run(200.0)
    assert sorted(told[4:]) == ["a ends", "b ends"]


def test_what_a_task_fails_with_comes_out_of_the_world() -> None:
    world = World(1)
    process = Process(world, "p", Clock(world, 0.0, 1.0))
    process.start()
    loop = VirtualLoop(process)

    async def fail() -> None:
        await asyncio.sleep(1.0)
        raise KeyError("a defect")

    loop.spawn(fail())
    with pytest.raises(KeyError, match="a defect"):
        world.run(2.0)
