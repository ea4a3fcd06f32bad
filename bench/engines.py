"""Orders through the pusher to every node, by the engine that keeps the log: `make bench-engines`.

Each engine has the same cluster (a pusher, a coordinator, two nodes and the VIP, as `fasttree up` starts them) and the
same orders: SQLite on the pusher's disk, then PostgreSQL 15 with two synchronous standbys, every commit on three disks.
Beside them, what a program would do with the same PostgreSQL by itself: one transaction an order, which inserts it and
updates every upline member's volume.

The last line is JSON: sqlite_orders_per_s, postgres_orders_per_s (durable and applied on both nodes, medians of rounds
that take turns), insert_orders_per_s, and postgres_ratio to it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from bench.cluster.cluster import RunningCluster, running_cluster
from bench.engine.genealogy import Genealogy, make_genealogy, write_genealogy
from bench.fanout import orders_per_s, say
from bench.rivals.postgres_replicas import ReplicatedPostgres, best_rate, replicated_postgres
from fasttree.client import Client
from fasttree.v1 import pusher_pb2

_SERVER = """
listen_addresses = ''
shared_buffers = 256MB
max_wal_size = 4GB
max_wal_senders = 8
wal_level = replica
hot_standby = on
"""


@contextlib.asynccontextmanager
async def loaded(genealogy: Genealogy, *settings: str) -> AsyncIterator[RunningCluster]:
    """A cluster of two nodes that serve the genealogy."""
    with tempfile.TemporaryDirectory(prefix="fasttree-engines-") as name:
        file = Path(name) / "members.csv"
        write_genealogy(genealogy, file)
        arguments = tuple(part for setting in settings for part in ("--set", setting))
        async with running_cluster(Path(name) / "cluster", nodes=2, arguments=arguments, tell=say) as cluster:
            async with Client.from_endpoints_file(cluster.folder / "endpoints.json") as client:
                manifest = await client.upload_import(file)
                states = [status.state async for status in client.watch_import(manifest.import_id, patience_s=600)]
            if states[-1] != pusher_pb2.IMPORT_STATE_DONE:
                raise RuntimeError("the import was refused")
            yield cluster


async def measure(genealogy: Genealogy, orders: int, turns: int, servers: ReplicatedPostgres) -> dict[str, int]:
    """Both engines, in turns: what else the machine does meets both."""
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    postgresql = ("pusher.log_store=postgresql", f"pusher.log_url={servers.url()}")
    rates: dict[str, list[float]] = {"sqlite": [], "postgres": []}
    for turn in range(turns):
        for engine, settings in (("sqlite", ()), ("postgres", (*postgresql, f"pusher.log_schema=turn_{turn}"))):
            say(f"turn {turn + 1}: {engine}")
            async with loaded(genealogy, *settings) as cluster:
                rates[engine].append(await orders_per_s(cluster, member_ids, orders))
    return {f"{engine}_orders_per_s": round(statistics.median(found)) for engine, found in rates.items()}


def main() -> None:
    """Runs every side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=200_000, help="a round")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--peer-seconds", type=int, default=15)
    arguments = parser.parse_args()
    genealogy = make_genealogy(arguments.members, seed=1, roots=1)
    with replicated_postgres(_SERVER, synchronous_commit="on") as servers:
        figures: dict[str, float] = dict(
            uvloop.run(measure(genealogy, arguments.orders, arguments.turns, servers)).items()
        )
    say("one transaction an order, by itself")
    rates = best_rate(genealogy.sponsor, (1, 8), arguments.peer_seconds)
    figures["insert_orders_per_s"] = round(rates["best"])
    figures["postgres_ratio"] = round(figures["postgres_orders_per_s"] / rates["best"], 1)
    print(json.dumps({**figures, "members": arguments.members}))


if __name__ == "__main__":
    main()
