"""Orders through the pusher to every node, beside PostgreSQL with two synchronous standbys: `make bench-fanout`.

Both sides do the same for each order: make it durable with its id, add its volume to every upline member, and have it
applied on two replicas. Ours: a pusher, a coordinator, two nodes and the VIP, as `fasttree up` starts them.

The last line is JSON: orders_per_s (durable and applied on both nodes), orders_ratio (to PostgreSQL's best),
visible_p50_ms and visible_p99_ms (from the push of one order to its receipt at ACK_LEVEL_ALL_NODES, at 1,000 a second).
pusher_cpu_us_an_order_a_node is what the pusher spends; with more than two, its figure with two stands beside.
pusher_resident_mb_node_stopped is its memory after as many orders again while one node stands still (SIGSTOP).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvloop

from bench.cluster.cluster import RunningCluster, cpu_s, resident_mb, running_cluster
from bench.engine.genealogy import Genealogy, make_genealogy, write_genealogy
from bench.rivals.postgres_replicas import best_rate
from fasttree.client import Client, PushOptions
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, types_pb2

BATCH = 1_000
WINDOW_BATCHES = 32
ROUNDS = 3
VISIBLE_RATE_PER_S = 1_000
VISIBLE_ORDERS = 5_000


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def order_batches(prefix: str, member_ids: list[str], count: int) -> list[pusher_pb2.PushUpdatesRequest]:
    """Orders for members drawn at random, in batches, made before anything is timed."""
    draw = random.Random(prefix)
    batches = []
    for start in range(0, count, BATCH):
        request = pusher_pb2.PushUpdatesRequest()
        for number in range(start, min(start + BATCH, count)):
            order = types_pb2.VolumePosted(
                member_id=draw.choice(member_ids), amount_hundredths=draw.randrange(1, 50_000)
            )
            request.updates.add(update_id=f"{prefix}-{number}", volume_posted=order)
        batches.append(request)
    return batches


async def push_batches(cluster: RunningCluster, batches: list[pusher_pb2.PushUpdatesRequest]) -> None:
    """Pushes all batches over one stream with a window; every update must be taken."""
    stub = pusher_pb2_grpc.PusherServiceStub(cluster.channel(cluster.endpoints["pusher"]))
    window = asyncio.Semaphore(WINDOW_BATCHES)

    async def requests() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
        for batch in batches:
            await window.acquire()
            yield batch

    async for response in stub.PushUpdates(requests()):
        if any(receipt.code for receipt in response.receipts):
            raise RuntimeError(f"not taken: {response.receipts[0]}")
        window.release()


async def orders_per_s(cluster: RunningCluster, member_ids: list[str], count: int) -> float:
    """Orders a second, from the first push until every node has applied the last one; median of some rounds."""
    rates = []
    for number in range(ROUNDS):
        batches = order_batches(f"r{number}", member_ids, count)
        begin = (await cluster.pusher()).log_end.position
        started = time.perf_counter()
        await push_batches(cluster, batches)
        pushed_s = time.perf_counter() - started
        await cluster.wait_applied(begin + count)
        rates.append(count / (time.perf_counter() - started))
        say(f"round {number + 1}: {rates[-1]:,.0f} orders/s on every node ({count / pushed_s:,.0f}/s durable)")
    return statistics.median(rates)


async def visible_ms(cluster: RunningCluster, member_ids: list[str]) -> tuple[float, float]:
    """p50 and p99 of the time from an order's push until it is applied on every node, at a steady rate."""
    draw = random.Random(5)
    sent_s: list[float] = []
    taken_ms: list[float] = []

    async def updates() -> AsyncIterator[types_pb2.Update]:
        due_s = time.perf_counter()
        for number in range(VISIBLE_ORDERS):
            due_s += 1 / VISIBLE_RATE_PER_S
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            sent_s.append(time.perf_counter())
            order = types_pb2.VolumePosted(member_id=draw.choice(member_ids), amount_hundredths=100)
            yield types_pb2.Update(update_id=f"v-{number}", volume_posted=order)

    async with Client.from_endpoints_file(cluster.folder / "endpoints.json") as client:
        options = PushOptions(ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
        async for receipt in client.push(updates(), options):
            taken_ms.append((time.perf_counter() - sent_s[len(taken_ms)]) * 1e3)
            if receipt.code:
                raise RuntimeError(f"not taken: {receipt}")
    ordered = sorted(taken_ms[VISIBLE_ORDERS // 10 :])
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]


async def node_stopped_mb(cluster: RunningCluster, member_ids: list[str], count: int) -> float:
    """The pusher's resident memory once `count` orders have gone to all nodes but one, which stands still."""
    batches = order_batches("stopped", member_ids, count)
    cluster.kill(cluster.node_names[-1], signal.SIGSTOP)
    try:
        await push_batches(cluster, batches)
        return resident_mb(cluster.pid_of("pusher"))
    finally:
        cluster.kill(cluster.node_names[-1], signal.SIGCONT)


@contextlib.asynccontextmanager
async def loaded_cluster(
    genealogy: Genealogy, nodes: int, *arguments: str, console: bool = False
) -> AsyncIterator[RunningCluster]:
    """A cluster whose nodes all serve the genealogy. `arguments`: of `fasttree up`."""
    with tempfile.TemporaryDirectory(prefix="fasttree-fanout-") as name:
        file = Path(name) / "members.csv"
        write_genealogy(genealogy, file)
        say(f"starts {nodes} nodes for {len(genealogy.ids):,} members")
        async with running_cluster(
            Path(name) / "cluster", nodes=nodes, arguments=arguments, console=console, tell=say
        ) as cluster:
            async with Client.from_endpoints_file(cluster.folder / "endpoints.json") as client:
                manifest = await client.upload_import(file)
                states = [status.state async for status in client.watch_import(manifest.import_id, patience_s=600)]
            if states[-1] != pusher_pb2.IMPORT_STATE_DONE:
                raise RuntimeError("the import was refused")
            yield cluster


async def throughput(cluster: RunningCluster, member_ids: list[str], count: int) -> tuple[float, float]:
    """Orders a second on every node, and the pusher's processor time for one order to one node, in microseconds."""
    pusher = cluster.pid_of("pusher")
    before_s = cpu_s(pusher)
    rate = await orders_per_s(cluster, member_ids, count)
    return rate, (cpu_s(pusher) - before_s) / (count * ROUNDS) * 1e6 / len(cluster.node_names)


async def measure(genealogy: Genealogy, nodes: int, count: int) -> dict[str, Any]:
    """Our side's figures."""
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    async with loaded_cluster(genealogy, nodes) as cluster:
        pusher = cluster.pid_of("pusher")
        # Before the flood, whose log the pusher still tidies up for a while.
        await cluster.wait_at_rest()
        p50, p99 = await visible_ms(cluster, member_ids)
        rate, used_us = await throughput(cluster, member_ids, count)
        figures: dict[str, Any] = {
            "orders_per_s": round(rate),
            "visible_p50_ms": round(p50, 2),
            "visible_p99_ms": round(p99, 2),
            "nodes": nodes,
            "members": len(member_ids),
            "pusher_cpu_us_an_order": round(used_us * nodes, 1),
            "pusher_cpu_us_an_order_a_node": round(used_us, 2),
            "pusher_resident_mb": round(resident_mb(pusher)),
        }
        figures["pusher_resident_mb_node_stopped"] = round(await node_stopped_mb(cluster, member_ids, count))
    if nodes > 2:
        async with loaded_cluster(genealogy, 2) as cluster:
            figures["pusher_cpu_us_an_order_a_node_of_2"] = round((await throughput(cluster, member_ids, count))[1], 2)
    return figures


def main() -> None:
    """Runs both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--orders", type=int, default=300_000, help="a round")
    parser.add_argument("--peer", choices=["postgres", "none"], default="postgres")
    parser.add_argument("--peer-seconds", type=int, default=15)
    arguments = parser.parse_args()
    genealogy = make_genealogy(arguments.members, seed=1, roots=1)
    # As the services do: the generator shares the machine with them.
    figures = uvloop.run(measure(genealogy, arguments.nodes, arguments.orders))
    figures["orders_ratio"] = None
    if arguments.peer == "postgres":
        say("PostgreSQL with two synchronous standbys, remote_apply")
        rates = best_rate(genealogy.sponsor, (1, 8), arguments.peer_seconds)
        say(json.dumps(rates))
        figures["orders_ratio"] = round(figures["orders_per_s"] / rates["best"], 1)
        figures["postgres_orders_per_s"] = round(rates["best"])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
