"""What mTLS costs: orders to every node, and a member's reads, of one cluster by certificates and of one in clear.

Both stand beside each other, as `fasttree up` starts them, with the same members, and are measured in turns: orders as
in `bench.fanout` (one stream of batches, until every node has applied the last), GetMember by ghz from a node (8
connections, 32 callers). So what else the machine does meets both.

The last line is JSON: tls_orders_ratio, tls_reads_ratio (by TLS to in clear, medians of the rounds), the rates of each,
and what the pusher spends on an order and a node on a read (tls_pusher_cpu_ratio, tls_node_cpu_ratio), which a busy
machine changes less. `make bench-tls`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from typing import Any

import uvloop

from bench.cluster.cluster import RunningCluster, cpu_s
from bench.engine.genealogy import Genealogy, make_genealogy
from bench.fanout import loaded_cluster, order_batches, push_batches, say
from bench.reads import ToolError, ghz, tool

CLEAR, TLS = "clear", "tls"


async def orders(cluster: RunningCluster, member_ids: list[str], prefix: str, count: int) -> tuple[float, float]:
    """Orders a second on every node, and the pusher's processor time for one, in microseconds."""
    batches = order_batches(prefix, member_ids, count)
    begin = (await cluster.pusher()).log_end.position
    pusher = cluster.pid_of("pusher")
    before_s, started_s = cpu_s(pusher), time.perf_counter()
    await push_batches(cluster, batches)
    await cluster.wait_applied(begin + count)
    rate = count / (time.perf_counter() - started_s)
    return rate, (cpu_s(pusher) - before_s) / count * 1e6


async def reads(cluster: RunningCluster, member_id: str, seconds: float) -> tuple[float, float]:
    """Reads a second from a node, and its processor time for one, in microseconds."""
    node = cluster.node_names[0]
    address, before_s = cluster.node(node)["report"], cpu_s(cluster.pid_of(node))
    said = await ghz(address, member_id, seconds, connections=8, callers=32, tls=cluster.tls_of("reporter"))
    return float(said["rps"]), (cpu_s(cluster.pid_of(node)) - before_s) / said["count"] * 1e6


async def measure(genealogy: Genealogy, count: int, seconds: float, rounds: int) -> dict[str, Any]:
    """All figures of one run."""
    ids = [text.decode() for text in genealogy.ids.tolist()]
    found: dict[str, list[float]] = {}

    def keep(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)
        say(f"{name} {value:,.2f}")

    async with contextlib.AsyncExitStack() as stack:
        clusters = {
            CLEAR: await stack.enter_async_context(loaded_cluster(genealogy, 2)),
            TLS: await stack.enter_async_context(loaded_cluster(genealogy, 2, "--tls")),
        }
        for cluster in clusters.values():
            await cluster.wait_at_rest()
        for number in range(rounds):
            # Whoever comes first in one round comes second in the next.
            for way in (CLEAR, TLS) if number % 2 == 0 else (TLS, CLEAR):
                rate, used_us = await orders(clusters[way], ids, f"{way}{number}", count)
                keep(f"{way}_orders_per_s", rate)
                keep(f"{way}_pusher_cpu_us_an_order", used_us)
                rate, used_us = await reads(clusters[way], ids[len(ids) // 2], seconds)
                keep(f"{way}_reads_per_s", rate)
                keep(f"{way}_node_cpu_us_a_read", used_us)
    figures: dict[str, Any] = {name: round(statistics.median(values), 2) for name, values in found.items()}
    for name, figure in (
        ("orders", "orders_per_s"),
        ("reads", "reads_per_s"),
        ("pusher_cpu", "pusher_cpu_us_an_order"),
        ("node_cpu", "node_cpu_us_a_read"),
    ):
        figures[f"tls_{name}_ratio"] = round(figures[f"{TLS}_{figure}"] / figures[f"{CLEAR}_{figure}"], 3)
    return figures | {"members": len(ids), "orders": count, "rounds": rounds}


def main() -> None:
    """Runs both."""
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=300_000, help="a round")
    parser.add_argument("--seconds", type=float, default=5.0, help="of reads, a round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    try:
        tool("ghz")
        genealogy = make_genealogy(arguments.members, seed=1, roots=1)
        figures = uvloop.run(measure(genealogy, arguments.orders, arguments.seconds, arguments.rounds))
    except ToolError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
