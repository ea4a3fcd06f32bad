"""Rounds of switchovers, then of kills, under steady orders."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path

from bench.changeovers.orders import SteadyOrders, active_pusher
from bench.cluster.cluster import RunningCluster, running_cluster
from bench.cluster.judge import judge_log
from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.failover import orders, say
from fasttree.client import Client
from fasttree.v1 import pusher_pb2

PER_S = 1_000.0
#: Orders before a change, and after it until a round's pause is taken: those under way at the end have their receipts.
_BETWEEN = 1_000


async def rounds(
    cluster: RunningCluster, client: Client, pushing: SteadyOrders, count: int, *, kill: bool
) -> list[float]:
    """The pause of each round, in milliseconds."""
    pauses_ms = []
    for number in range(count):
        before = await active_pusher(client)
        await pushing.wait_for_receipts(len(pushing.receipts) + _BETWEEN)
        first = len(pushing.receipts)
        if kill:
            cluster.kill(before.pusher)
        else:
            await client.switchover_pusher()
        await active_pusher(client, other_than=before.pusher_epoch)
        await pushing.wait_for_receipts(len(pushing.receipts) + _BETWEEN)
        pauses_ms.append(pushing.longest_ms(first))
        say(f"{'killed' if kill else 'switchover'} {number + 1}: {pauses_ms[-1]:.0f} ms")
    return pauses_ms


async def measure(members: int, count: int) -> dict[str, int]:
    """Both kinds of rounds, and what the log says at the end."""
    genealogy = make_genealogy(members, seed=1, roots=1)
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    with tempfile.TemporaryDirectory(prefix="fasttree-changeovers-") as name:
        file = Path(name) / "members.csv"
        write_genealogy(genealogy, file)
        async with (
            running_cluster(Path(name) / "cluster", arguments=("--pushers", "2"), tell=say) as cluster,
            Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
        ):
            manifest = await client.upload_import(file)
            states = [status.state async for status in client.watch_import(manifest.import_id, patience_s=600)]
            if states[-1] != pusher_pb2.IMPORT_STATE_DONE:
                raise RuntimeError("the import was refused")
            await cluster.wait_at_rest()
            pushing = SteadyOrders(client, orders("steady", member_ids, 10**9), PER_S)
            running = asyncio.create_task(pushing.run())
            planned_ms = await rounds(cluster, client, pushing, count, kill=False)
            killed_ms = await rounds(cluster, client, pushing, count, kill=True)
            pushing.end()
            await running
            verdict = await judge_log(client, pushing.receipts)
    return {
        "pusher_switchover_ms": round(max(planned_ms)),
        "pusher_switchover_ms_median": round(statistics.median(planned_ms)),
        "pusher_killed_ms": round(max(killed_ms)),
        "pusher_killed_ms_median": round(statistics.median(killed_ms)),
        "refused": len(pushing.refused),
        "lost": len(verdict.lost),
        "twice": len(verdict.twice),
    }
