"""Memory for copies: never more than there may be, in order of arrival, given back when nothing refers to it."""

from __future__ import annotations

import asyncio
import gc

import numpy as np
import pytest

from services.shared.serving.errors import ResourceExhaustedError
from services.treenode.reports.copy.buffers import Buffers
from services.treenode.reports.copy.room import CopyRoom
from tests.waiting import until


async def waiting(room: CopyRoom, size_bytes: int) -> asyncio.Task[None]:
    before = room.waiting
    wait = asyncio.create_task(room.take(size_bytes))
    await until(lambda: room.waiting == before + 1, "it to wait")
    return wait


async def test_who_finds_no_room_waits_in_order_of_arrival() -> None:
    room = CopyRoom(100, 10)
    await room.take(60)
    large, small = await waiting(room, 50), await waiting(room, 10)
    assert room.used_bytes == 60, "nobody goes past the first"
    room.give_back(60)
    await asyncio.wait_for(asyncio.gather(large, small), 10.0)
    assert (room.used_bytes, room.waiting) == (60, 0)


async def test_a_copy_that_is_larger_than_all_has_its_turn_alone() -> None:
    room = CopyRoom(100, 10)
    await room.take(1_000)
    wait = await waiting(room, 1)
    room.give_back(1_000)
    await asyncio.wait_for(wait, 10.0)
    alone = await waiting(room, 1_000)
    room.give_back(1)
    await asyncio.wait_for(alone, 10.0)


async def test_one_more_than_may_wait_is_refused() -> None:
    room = CopyRoom(100, 1)
    await room.take(100)
    wait = await waiting(room, 1)
    with pytest.raises(ResourceExhaustedError) as caught:
        await room.take(1)
    assert caught.value.retry_after_s
    wait.cancel()
    await asyncio.wait({wait})


async def test_one_that_leaves_lets_those_behind_it_in() -> None:
    room = CopyRoom(100, 10)
    await room.take(60)
    leaves, fits = await waiting(room, 50), await waiting(room, 40)
    leaves.cancel()
    await asyncio.wait_for(fits, 10.0)
    assert (room.used_bytes, room.waiting) == (100, 0)


async def test_a_copy_counts_for_as_long_as_anything_refers_to_it() -> None:
    room = CopyRoom(1 << 20, 10)
    await room.take(1_000)
    buffers = Buffers(1_000)
    room.give_back_with(buffers, 1_000)
    array = buffers.take(10, np.int64)
    del buffers
    gc.collect()
    await asyncio.sleep(0)
    assert room.used_bytes == 1_000, "the array is there"
    del array
    gc.collect()
    await until(lambda: room.used_bytes == 0, "it to be given back")
