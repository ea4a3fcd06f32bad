"""Waiting for a position: each wakes at its own, those who leave cost a constant time, and there are only so many."""

from __future__ import annotations

import asyncio

import pytest

from services.shared.serving.errors import ResourceExhaustedError, UnavailableError
from services.treenode.reports.waiters import PositionWaiters


async def started(*waits: asyncio.Task[None]) -> None:
    for _ in range(2):
        await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)


async def test_each_wakes_once_its_position_is_reached() -> None:
    waiters = PositionWaiters(10)
    waits = {position: asyncio.create_task(waiters.wait(position)) for position in (3, 1, 2)}
    await started(*waits.values())
    waiters.reached(2)
    await asyncio.wait_for(asyncio.gather(waits[1], waits[2]), 10.0)
    assert not waits[3].done()
    waiters.reached(3)
    await asyncio.wait_for(waits[3], 10.0)
    assert waiters.count == 0
    await waiters.wait(3)


async def test_one_more_than_there_may_be_is_refused_and_room_comes_back() -> None:
    waiters = PositionWaiters(2)
    waits = [asyncio.create_task(waiters.wait(9)) for _ in range(2)]
    await started(*waits)
    with pytest.raises(ResourceExhaustedError) as caught:
        await waiters.wait(9)
    assert caught.value.retry_after_s
    waits[0].cancel()
    await asyncio.wait({waits[0]})
    another = asyncio.create_task(waiters.wait(9))
    await started(waits[1], another)
    assert waiters.count == 2
    waiters.reached(9)
    await asyncio.wait_for(asyncio.gather(waits[1], another), 10.0)


async def test_those_who_leave_are_cleared_away_now_and_then() -> None:
    waiters = PositionWaiters(100_000)
    stays = asyncio.create_task(waiters.wait(5))
    for number in range(1_000):
        leaves = asyncio.create_task(waiters.wait(2**62 - number))
        await started(leaves)
        leaves.cancel()
        await asyncio.wait({leaves})
        assert waiters.count == 1
        assert len(waiters._waiting) <= 100, "they pile up"
    waiters.reached(5)
    await asyncio.wait_for(stays, 10.0)
    assert waiters.count == 0


async def test_the_nodes_end_wakes_everyone() -> None:
    waiters = PositionWaiters(10)
    waits = [asyncio.create_task(waiters.wait(9)) for _ in range(3)]
    await started(*waits)
    waits[0].cancel()
    await asyncio.wait({waits[0]})
    waiters.end()
    for wait in waits[1:]:
        with pytest.raises(UnavailableError):
            await wait
    with pytest.raises(UnavailableError):
        await waiters.wait(9)
