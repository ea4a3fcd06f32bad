"""Orders at a steady rate, with the time that each took from its push to its receipt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable

from bench.cluster.cluster import wait_for
from fasttree.client import Client
from fasttree.v1 import coordinator_pb2, pusher_pb2, types_pb2

WAIT_S = 60.0
#: So many go in at one time: a thousand a second, one by one, are more than an event loop's timers are good for.
_TOGETHER = 10


class SteadyOrders:
    """Pushes until it is told to end; knows when each update went in and when its receipt came.

    Attributes:
        receipts: In the order of the updates.
        took_s: How long each of them was on its way.
    """

    def __init__(self, client: Client, updates: Iterable[types_pb2.Update], per_s: float) -> None:
        self._client, self._updates, self._per_s = client, iter(updates), per_s
        self._sent_s: list[float] = []
        self._ended = False
        self.receipts: list[pusher_pb2.Receipt] = []
        self.took_s: list[float] = []

    def end(self) -> None:
        """No more updates than were pushed by now."""
        self._ended = True

    @property
    def refused(self) -> list[str]:
        """What was said of updates that were not taken."""
        return [receipt.message for receipt in self.receipts if receipt.code]

    async def _paced(self) -> AsyncIterator[types_pb2.Update]:
        begun_s = time.monotonic()
        for number, update in enumerate(self._updates):
            if number % _TOGETHER == 0:
                await asyncio.sleep(max(0.0, begun_s + number / self._per_s - time.monotonic()))
            if self._ended:
                return
            self._sent_s.append(time.monotonic())
            yield update

    async def run(self) -> None:
        """Until the last receipt."""
        async for receipt in self._client.push(self._paced()):
            self.took_s.append(time.monotonic() - self._sent_s[len(self.receipts)])
            self.receipts.append(receipt)

    async def wait_for_receipts(self, count: int) -> None:
        """Until there are so many."""

        async def reached() -> bool:
            return len(self.receipts) >= count

        await wait_for(reached, WAIT_S, f"{count} receipts")

    def longest_ms(self, first: int) -> float:
        """Of the receipts from that one on."""
        return 1_000 * max(self.took_s[first:], default=0.0)


async def active_pusher(client: Client, *, other_than: int = 0) -> coordinator_pb2.Cluster:
    """The cluster once a pusher takes pushes in another epoch, and another one stands by."""

    async def found() -> coordinator_pb2.Cluster | None:
        cluster = await client.get_cluster()
        states = sorted(pusher.status.state for pusher in cluster.pushers if pusher.alive)
        wanted = [coordinator_pb2.PUSHER_STATE_STANDBY, coordinator_pb2.PUSHER_STATE_ACTIVE]
        return cluster if cluster.pusher_epoch > other_than and states == wanted else None

    cluster: coordinator_pb2.Cluster = await wait_for(found, WAIT_S, "an active pusher, and one that stands by")
    return cluster
