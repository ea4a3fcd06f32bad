"""Two pushers over one log under 1,000 orders a second: the active one is killed, or told to hand over. Each order
counts once, each receipt keeps its position, and the nodes follow the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.engine.update_mix import update_mix
from fasttree.client import Client
from fasttree.v1 import coordinator_pb2, pusher_pb2, types_pb2
from tests.end_to_end.library_tree import LibraryTree
from tests.end_to_end.test_failover import load_library

UPDATES = 6_000
PER_S = 1_000
WAIT_S = 60.0


class Orders:
    """Pushes at a steady rate; knows when each went in and when its receipt came."""

    def __init__(self, client: Client, member_ids: list[str]) -> None:
        self._client = client
        self._updates = list(update_mix(7, member_ids, UPDATES))
        self._sent_s: list[float] = []
        self.receipts: list[pusher_pb2.Receipt] = []
        self.took_s: list[float] = []

    async def _paced(self) -> AsyncIterator[types_pb2.Update]:
        begun_s = time.monotonic()
        for number, update in enumerate(self._updates):
            if number % 10 == 0:
                await asyncio.sleep(max(0.0, begun_s + number / PER_S - time.monotonic()))
            self._sent_s.append(time.monotonic())
            yield update

    async def run(self) -> None:
        async for receipt in self._client.push(self._paced()):
            self.took_s.append(time.monotonic() - self._sent_s[len(self.receipts)])
            self.receipts.append(receipt)

    async def wait_for_share(self, share: float) -> None:
        async def reached() -> bool:
            return len(self.receipts) >= share * UPDATES

        await wait_for(reached, WAIT_S, f"{share:.0%} of the receipts")


async def active_pusher(client: Client, *, other_than: int = 0) -> coordinator_pb2.Cluster:
    """The cluster once a pusher takes pushes in another epoch, and another one stands by."""

    async def found() -> coordinator_pb2.Cluster | None:
        cluster = await client.get_cluster()
        states = sorted(pusher.status.state for pusher in cluster.pushers if pusher.alive)
        wanted = [coordinator_pb2.PUSHER_STATE_STANDBY, coordinator_pb2.PUSHER_STATE_ACTIVE]
        return cluster if cluster.pusher_epoch > other_than and states == wanted else None

    cluster: coordinator_pb2.Cluster = await wait_for(found, WAIT_S, "an active pusher, and one that stands by")
    return cluster


@pytest.mark.parametrize("how", ["killed", "switchover"])
async def test_another_pusher_goes_on(how: str, library: LibraryTree, library_csv: Path, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        cluster: RunningCluster = await stack.enter_async_context(
            running_cluster(tmp_path / "cluster", arguments=("--pushers", "2"))
        )
        client = await stack.enter_async_context(Client.from_endpoints_file(cluster.folder / "endpoints.json"))
        await load_library(client, library_csv)
        await cluster.wait_ready()
        before = await active_pusher(client)
        orders = Orders(client, library.member_ids[1:])
        pushing = asyncio.create_task(orders.run())
        await orders.wait_for_share(0.2)
        if how == "killed":
            cluster.kill(before.pusher)
            took_ms = 0
        else:
            took_ms = (await client.switchover_pusher()).took_ms
        after = await active_pusher(client, other_than=before.pusher_epoch)
        await pushing
        longest_ms = round(1_000 * max(orders.took_s))
        print(json.dumps({"how": how, "switchover_ms": took_ms, "longest_push_ms": longest_ms}))

        assert after.pusher != before.pusher
        assert [receipt.message for receipt in orders.receipts if receipt.code] == []
        verdict = await judge_log(client, orders.receipts)
        assert (verdict.lost, verdict.twice) == ([], [])
        # In the order in which they were pushed, behind the rules that the log begins with.
        assert [receipt.position for receipt in orders.receipts] == list(range(2, UPDATES + 2))
        assert len(verdict.updates) == UPDATES + 1
        assert await differing_nodes(cluster, replay(library_csv, verdict.updates)) == []
