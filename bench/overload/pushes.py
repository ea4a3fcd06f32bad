"""More pushes than a pusher can take: orders over many streams, each with a few that wait for their receipts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from bench.cluster.cluster import RunningCluster
from bench.fanout import order_batches, say
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc

_STREAMS, _TIMES = 8, 10
_BATCH_ORDERS = 1_000
#: Messages of a stream that may wait for their receipts.
_WAITING_MAX = 4


async def _push(cluster: RunningCluster, requests: list[pusher_pb2.PushUpdatesRequest], until_s: float) -> list[float]:
    """One stream's share until then: how long each message waited for its receipts, in seconds."""
    stub = pusher_pb2_grpc.PusherServiceStub(cluster.channel(cluster.endpoints["pusher"]))
    room = asyncio.Semaphore(_WAITING_MAX)
    sent: list[float] = []
    taken: list[float] = []

    async def messages() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
        for request in requests:
            await room.acquire()
            if time.monotonic() > until_s:
                return
            sent.append(time.monotonic())
            yield request

    due = _BATCH_ORDERS
    async for response in stub.PushUpdates(messages()):
        due -= len(response.receipts)
        while due <= 0:
            due += _BATCH_ORDERS
            taken.append(time.monotonic() - sent[len(taken)])
            room.release()
    return taken


async def _by_streams(
    cluster: RunningCluster,
    member_ids: list[str],
    streams: int,
    seconds: float,
    name: str,
    begins: Callable[[], None],
) -> tuple[float, float]:
    """Orders a second, and the p99 of messages in milliseconds."""
    ready = order_batches(name, member_ids, _BATCH_ORDERS)

    async def one(number: int) -> list[float]:
        # The same orders under ids of their own: making new ones would take this side longer than the pusher.
        turns = range(max(4, round(seconds * 400 / streams)))
        requests = [_renamed(ready[0], f"{name}-{number}-{turn}") for turn in turns]
        await start.wait()
        return await _push(cluster, requests, until_s)

    start = asyncio.Event()
    running = [asyncio.create_task(one(number)) for number in range(streams)]
    await asyncio.sleep(0)
    begun_s = time.monotonic()
    until_s = begun_s + seconds
    begins()
    start.set()
    taken = sorted(took_s for each in await asyncio.gather(*running) for took_s in each)
    passed_s = time.monotonic() - begun_s
    return len(taken) * _BATCH_ORDERS / passed_s, taken[int(len(taken) * 0.99)] * 1e3


def _renamed(request: pusher_pb2.PushUpdatesRequest, name: str) -> pusher_pb2.PushUpdatesRequest:
    found = pusher_pb2.PushUpdatesRequest()
    found.CopyFrom(request)
    for number, update in enumerate(found.updates):
        update.update_id = f"{name}-{number}"
    return found


async def push_overload(
    cluster: RunningCluster, member_ids: list[str], seconds: float, short_s: float, begins: Callable[[], None]
) -> dict[str, Any]:
    """What a pusher takes from as many streams as fill it, from ten times as many, and from as many again. `begins` is
    called as the orders of each stretch begin: they are made before."""
    capacity, before_ms = await _by_streams(cluster, member_ids, _STREAMS, short_s, "before", begins)
    say(f"{capacity:,.0f} orders a second by {_STREAMS} streams, p99 {before_ms:.0f} ms")
    over, over_ms = await _by_streams(cluster, member_ids, _STREAMS * _TIMES, seconds, "over", begins)
    say(f"{over:,.0f} by {_STREAMS * _TIMES}, p99 {over_ms:.0f} ms")
    again, after_ms = await _by_streams(cluster, member_ids, _STREAMS, short_s, "after", begins)
    say(f"{again:,.0f} by {_STREAMS} again, p99 {after_ms:.0f} ms")
    return {
        "capacity_per_s": round(capacity),
        "goodput_ratio": round(over / capacity, 3),
        "p99_ms": round(before_ms),
        "p99_ms_over": round(over_ms),
        "p99_ms_after": round(after_ms),
    }
