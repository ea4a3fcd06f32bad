"""Two pushers over one log under 1,000 orders a second: the active one is killed, or told to hand over. Each order
counts once, each receipt keeps its position, and the nodes follow the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

from bench.changeovers.orders import SteadyOrders, active_pusher
from bench.cluster.cluster import RunningCluster, running_cluster
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.engine.update_mix import update_mix
from fasttree.client import Client
from tests.end_to_end.library_tree import LibraryTree
from tests.end_to_end.test_failover import load_library

UPDATES = 6_000
PER_S = 1_000


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
        orders = SteadyOrders(client, update_mix(7, library.member_ids[1:], UPDATES), PER_S)
        pushing = asyncio.create_task(orders.run())
        await orders.wait_for_receipts(UPDATES // 5)
        if how == "killed":
            cluster.kill(before.pusher)
            took_ms = 0
        else:
            took_ms = (await client.switchover_pusher()).took_ms
        after = await active_pusher(client, other_than=before.pusher_epoch)
        await pushing
        print(json.dumps({"how": how, "switchover_ms": took_ms, "longest_push_ms": round(orders.longest_ms(0))}))

        assert after.pusher != before.pusher
        assert orders.refused == []
        verdict = await judge_log(client, orders.receipts)
        assert (verdict.lost, verdict.twice) == ([], [])
        # In the order in which they were pushed, behind the rules that the log begins with.
        assert [receipt.position for receipt in orders.receipts] == list(range(2, UPDATES + 2))
        assert len(verdict.updates) == UPDATES + 1
        assert await differing_nodes(cluster, replay(library_csv, verdict.updates)) == []
