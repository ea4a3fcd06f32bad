"""Pushing: receipts in order, and what happens when the stream breaks."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from fasttree.client import Client, PushOptions, UnavailableError
from fasttree.client.push import MESSAGE_UPDATES_MAX
from fasttree.v1 import pusher_pb2, types_pb2
from tests.fakes.cluster import fake_cluster
from tests.fakes.pusher import FakePusher


def order(number: int, amount: int = 100) -> types_pb2.Update:
    posted = types_pb2.VolumePosted(member_id="m1", amount_hundredths=amount)
    return types_pb2.Update(update_id=f"o-{number}", volume_posted=posted)


async def collect(receipts: AsyncIterator[pusher_pb2.Receipt]) -> list[pusher_pb2.Receipt]:
    return [receipt async for receipt in receipts]


async def test_receipts_come_in_the_order_of_the_updates() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        receipts = await collect(client.push([order(number) for number in range(2_345)]))
        assert [receipt.update_id for receipt in receipts] == [f"o-{number}" for number in range(2_345)]
        assert [receipt.position for receipt in receipts] == list(range(1, 2_346))
        assert cluster.pusher.pushed_messages == 5
        assert client.position == 2_345


async def test_nothing_to_push_gives_no_receipt() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        assert await collect(client.push([])) == []


@pytest.mark.parametrize("break_after", [1, 99, 100, 101, 550])
async def test_a_broken_stream_loses_nothing_and_doubles_nothing(break_after: int) -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.pusher.break_after = break_after
        options = PushOptions(batch_updates_max=50, window_updates=200)
        receipts = await collect(client.push([order(number) for number in range(1_000)], options))
        assert [receipt.position for receipt in receipts] == list(range(1, 1_001))
        assert [update.update_id for update in cluster.pusher.updates] == [f"o-{number}" for number in range(1_000)]
        assert any(receipt.duplicate for receipt in receipts)


async def test_a_pusher_that_says_nothing_is_left_for_one_that_is_active() -> None:
    """As where a machine is gone: no connection ends."""
    other = FakePusher()
    await other.start()
    async with fake_cluster() as cluster:
        cluster.pusher.silent = True
        endpoints = replace(cluster.endpoints, pusher=f"{cluster.pusher.address},{other.address}")
        async with Client(endpoints) as client:
            receipts = await collect(client.push([order(number) for number in range(10)]))
    await other.stop()
    assert [receipt.update_id for receipt in receipts] == [f"o-{number}" for number in range(10)]
    assert len(other.updates) == 10


async def test_updates_that_come_slowly_are_sent_at_once() -> None:
    release = asyncio.Event()

    async def slow() -> AsyncIterator[types_pb2.Update]:
        yield order(1)
        await release.wait()
        yield order(2)

    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        receipts = client.push(slow())
        first = await asyncio.wait_for(anext(receipts), 10)
        assert first.update_id == "o-1"
        release.set()
        assert [receipt.update_id async for receipt in receipts] == ["o-2"]


async def test_updates_that_come_one_by_one_share_messages() -> None:
    async def one_by_one() -> AsyncIterator[types_pb2.Update]:
        for number in range(50):
            yield order(number)
            await asyncio.sleep(0.001)

    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        receipts = await collect(client.push(one_by_one(), PushOptions(message_interval_s=0.2)))
        assert [receipt.update_id for receipt in receipts] == [f"o-{number}" for number in range(50)]
        assert cluster.pusher.pushed_messages < 25


async def test_a_refused_update_does_not_end_the_push() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        receipts = await collect(client.push([order(1), order(1, amount=999), order(2)]))
        assert [receipt.code for receipt in receipts] == [0, 6, 0]
        assert "other content" in receipts[1].message


async def test_the_window_bounds_what_is_on_its_way() -> None:
    taken = 0

    async def counted() -> AsyncIterator[types_pb2.Update]:
        nonlocal taken
        for number in range(10_000):
            taken = number
            yield order(number)

    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.pusher.silent = True
        options = PushOptions(batch_updates_max=10, window_updates=30, patience_s=0.3)
        with pytest.raises(UnavailableError, match="30 updates without a receipt: push again, same ids"):
            await collect(client.push(counted(), options))
        assert taken < 100


async def test_an_error_of_the_callers_iterator_comes_after_the_receipts() -> None:
    async def failing() -> AsyncIterator[types_pb2.Update]:
        yield order(1)
        yield order(2)
        raise ValueError("line 3")

    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        got = []
        with pytest.raises(ValueError, match="line 3"):
            async for receipt in client.push(failing()):
                got += [receipt.update_id]
        assert got == ["o-1", "o-2"]


async def test_a_pusher_that_is_not_there_is_named() -> None:
    async with fake_cluster() as cluster:
        endpoints = cluster.endpoints
    async with Client(endpoints) as client:
        with pytest.raises(UnavailableError, match=endpoints.pusher):
            await collect(client.push([order(1)], PushOptions(patience_s=0.3)))
        with pytest.raises(UnavailableError, match=endpoints.pusher):  # nothing is owed, and nobody is there
            await collect(client.push([], PushOptions(patience_s=0.3)))


async def test_what_is_sent_again_goes_in_messages_that_the_pusher_takes() -> None:
    async with fake_cluster() as cluster, Client(cluster.endpoints) as client:
        cluster.pusher.break_after = 1
        options = PushOptions(batch_updates_max=5_000, window_updates=5_000)
        receipts = await collect(client.push([order(number) for number in range(2_500)], options))
        assert [receipt.position for receipt in receipts] == list(range(1, 2_501))
        assert cluster.pusher.largest_message <= MESSAGE_UPDATES_MAX
