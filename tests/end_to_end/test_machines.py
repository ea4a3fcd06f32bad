"""Three machines of `fasttree up --machines`: one that has all that acts is lost under reads and orders, at first
silently, then altogether, and given back empty.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from bench.chaos.machines import Orders, gather_on_one, running_machines
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.cluster.read_load import ReadLoad
from bench.engine.update_mix import update_mix
from bench.rivals.postgres_replicas import ReplicatedPostgres
from services.shared.serving.channels import open_channel
from tests.end_to_end.library_tree import LibraryTree
from tests.end_to_end.test_failover import load_library


async def test_the_machine_with_all_that_acts_is_lost_and_comes_back_empty(
    postgresql: ReplicatedPostgres, library: LibraryTree, library_csv: Path, tmp_path: Path
) -> None:
    async with running_machines(tmp_path / "cluster", postgresql.url(), schema="machines") as machines:
        client = machines.client
        await load_library(client, library_csv)
        await machines.wait_whole()
        lost = await gather_on_one(machines)
        orders = Orders(client, update_mix(7, library.member_ids[1:], 1_000_000))
        pushing = asyncio.create_task(orders.run())
        await orders.wait_for_more(200)
        # No connection of its ends: whoever waits for its answer has to look elsewhere by itself. Reads that it had
        # taken are lost with it, so nobody reads meanwhile.
        await machines.do("stop", lost)
        await orders.wait_for_more(400)
        await machines.do("start", lost)
        lost = await gather_on_one(machines)
        async with (
            open_channel(machines.cluster.endpoints["vip"]) as channel,
            ReadLoad(channel, library.member_ids[:1]) as load,
        ):
            await machines.do("kill", lost)
            await orders.wait_for_more(400)
            await machines.do("empty", lost)
            await machines.wait_whole()
            await orders.wait_for_more(200)
            orders.end()
            await pushing
        figures = {"pushes_resumed_ms": orders.longest_gap_ms(), "longest_read_gap_ms": round(load.longest_gap_ms())}
        print(json.dumps({"reads": load.reads, "pushed": len(orders.receipts), **figures}))
        assert not load.failures
        verdict = await judge_log(client, orders.receipts)
        assert (verdict.lost, verdict.twice) == ([], [])
        assert await differing_nodes(machines.cluster, replay(library_csv, verdict.updates)) == []
