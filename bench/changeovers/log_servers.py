"""Rounds in which the server is lost that leads the stream with the log: three servers of NATS, three replicas."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path

from bench.changeovers.measuring import PER_S
from bench.changeovers.orders import SteadyOrders
from bench.cluster.cluster import running_cluster
from bench.cluster.judge import judge_log
from bench.engine.genealogy import make_genealogy
from bench.failover import orders, say
from bench.servers.nats_servers import nats_servers
from fasttree.client import Client

_STREAM = "fasttree"
#: Receipts before a server is lost, and after it until a round's pause is taken.
_BETWEEN = 2_000


async def measure_log_servers(members: int, count: int, *, frozen: bool) -> dict[str, int]:
    """The longest push of each round; what the log says at the end.

    `frozen`: the server neither answers nor ends, and no connection of its does.
    """
    ids = [text.decode() for text in make_genealogy(members, seed=1, roots=1).ids.tolist()]
    pauses_ms = []
    with nats_servers() as servers, tempfile.TemporaryDirectory(prefix="fasttree-changeovers-") as name:
        log = {
            "log_store": "jetstream",
            "log_url": servers.url,
            "nats_stream": _STREAM,
            "nats_monitoring_urls": servers.monitoring_urls,
        }
        settings = [part for field, value in log.items() for part in ("--set", f"pusher.{field}={value}")]
        async with (
            running_cluster(Path(name) / "cluster", arguments=tuple(settings), tell=say) as cluster,
            Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
        ):
            pushing = SteadyOrders(client, orders("steady", ids, 10**9), PER_S)
            running = asyncio.create_task(pushing.run())
            for number in range(count):
                await pushing.wait_for_receipts(len(pushing.receipts) + _BETWEEN)
                leader, first = await asyncio.to_thread(servers.leader, _STREAM), len(pushing.receipts)
                (servers.freeze if frozen else servers.kill)(leader)
                await pushing.wait_for_receipts(len(pushing.receipts) + _BETWEEN)
                pauses_ms.append(pushing.longest_ms(first))
                say(f"{leader} {'frozen' if frozen else 'killed'} {number + 1}: {pauses_ms[-1]:.0f} ms")
                await asyncio.to_thread(servers.mend)
            pushing.end()
            await running
            verdict = await judge_log(client, pushing.receipts)
    return {
        "log_leader_lost_ms": round(max(pauses_ms)),
        "log_leader_lost_ms_median": round(statistics.median(pauses_ms)),
        "refused": len(pushing.refused),
        "lost": len(verdict.lost),
        "twice": len(verdict.twice),
    }
