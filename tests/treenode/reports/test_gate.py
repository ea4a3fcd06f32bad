"""The read gate: rules 1 to 4 of its essay."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable

import pytest

from services.treenode.reports.copy.gate import GateBrokenError, GateState, ReadGate


async def turn_loop(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - nothing tells when a thread begins
            await asyncio.sleep(0.001)


async def test_a_writer_waits_for_the_copy_and_the_next_reader_for_the_writer() -> None:
    gate = ReadGate(readers_max=2)
    hold = threading.Event()
    story: list[str] = []

    async def write() -> None:
        async with gate.write():
            story.append("written")

    reading = asyncio.create_task(gate.read(lambda: hold.wait(10)))
    await until(lambda: gate.state.readers == 1)
    writing = asyncio.create_task(write())
    await turn_loop()
    late = asyncio.create_task(gate.read(lambda: story.append("read late")))
    await turn_loop()
    gate.state.validate()
    assert story == []
    assert gate.state.waiting == 2
    hold.set()
    await asyncio.gather(reading, writing, late)
    assert story == ["written", "read late"]
    gate.state.validate()
    gate.close()


async def test_readers_that_wait_go_in_between_two_writers() -> None:
    gate = ReadGate(readers_max=2)
    story: list[str] = []

    async def write(name: str) -> None:
        async with gate.write():
            await turn_loop()
            story.append(name)

    first = asyncio.create_task(write("slice 1"))
    await turn_loop(1)
    assert gate.writing
    second = asyncio.create_task(write("slice 2"))
    await turn_loop(1)
    readers = [asyncio.create_task(gate.read(lambda: story.append("copy"))) for _ in range(3)]
    await asyncio.gather(first, second, *readers)
    assert story == ["slice 1", "copy", "copy", "slice 2", "copy"]
    gate.close()


async def test_a_cancelled_call_frees_the_gate_only_when_its_thread_has_ended() -> None:
    gate = ReadGate(readers_max=1)
    hold = threading.Event()
    reading = asyncio.create_task(gate.read(lambda: hold.wait(10)))
    await until(lambda: gate.state.readers == 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert gate.state.readers == 1
    hold.set()
    async with gate.write():
        assert gate.state.readers == 0
    gate.close()


async def test_settled_waits_for_the_writer() -> None:
    gate = ReadGate()
    await gate.settled()
    go = asyncio.Event()

    async def write() -> None:
        async with gate.write():
            await go.wait()

    writing = asyncio.create_task(write())
    await turn_loop(1)
    settling = asyncio.create_task(gate.settled())
    await turn_loop()
    assert not settling.done()
    go.set()
    await settling
    await writing
    assert not gate.writing
    gate.close()


async def test_an_exception_of_the_copy_reaches_the_caller_and_frees_the_gate() -> None:
    gate = ReadGate()

    def fail() -> None:
        raise ValueError("no such row")

    with pytest.raises(ValueError, match="no such row"):
        await gate.read(fail)
    await until(lambda: gate.state.readers == 0)
    gate.state.validate()
    gate.close()


@pytest.mark.parametrize("seed", range(8))
async def test_rules_hold_for_random_readers_and_writers_with_cancels(seed: int) -> None:
    dice = random.Random(seed)
    gate = ReadGate(readers_max=1 + seed % 3)
    inside = {"readers": 0, "writers": 0}

    def copy() -> None:
        inside["readers"] += 1
        assert inside["writers"] == 0
        inside["readers"] -= 1

    async def write(pauses: int) -> None:
        async with gate.write():
            inside["writers"] += 1
            assert inside["writers"] == 1
            assert gate.state.readers == 0
            await turn_loop(pauses)
            inside["writers"] -= 1

    tasks: list[asyncio.Task[None]] = []
    for _ in range(150):
        tasks.append(asyncio.create_task(write(0) if dice.random() < 0.4 else gate.read(copy)))
        if dice.random() < 0.3:
            dice.choice(tasks).cancel()
        await turn_loop(dice.randrange(3))
        gate.state.validate()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
    await until(lambda: gate.state.readers == 0 and not gate.writing and gate.state.waiting == 0)
    gate.close()


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (GateState(readers=5, writing=False, waiting=0, readers_max=2), "5 readers are inside, of 2"),
        (GateState(readers=-1, writing=False, waiting=0, readers_max=2), "-1 readers"),
        (GateState(readers=1, writing=True, waiting=0, readers_max=2), "a writer and 1 readers"),
        (GateState(readers=0, writing=False, waiting=3, readers_max=2), "3 wait before an empty gate"),
    ],
)
def test_validate_finds_a_broken_gate(state: GateState, told: str) -> None:
    with pytest.raises(GateBrokenError, match=told):
        state.validate()


def test_no_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        ReadGate(0)
