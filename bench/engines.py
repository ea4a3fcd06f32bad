"""Orders through the pusher to every node, by the engine that keeps the log: `make bench-engines`.

Each engine has the same cluster (a pusher, a coordinator, two nodes and the VIP, as `fasttree up` starts them) and the
same orders: SQLite on the pusher's disk; PostgreSQL 15 with two synchronous standbys, every commit on three disks; NATS
JetStream with three replicas, every message on two disks of three before it is answered. Beside them, what a program
would do with a PostgreSQL set like that one (synchronous_commit on, two standbys) by itself: one transaction an order,
which inserts it and updates every upline member's volume.

The last line is JSON: sqlite_orders_per_s, postgres_orders_per_s, jetstream_orders_per_s (durable and applied on both
nodes, medians of rounds that take turns), insert_orders_per_s, and postgres_ratio to it. Then what
`bench.changeovers` says of pushers that change over: pusher_switchover_ms, pusher_killed_ms, refused, lost, twice.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import uvloop

from bench.changeovers.measuring import measure as changeovers
from bench.cluster.cluster import RunningCluster, running_cluster
from bench.engine.genealogy import Genealogy, make_genealogy, write_genealogy
from bench.fanout import orders_per_s, say
from bench.rivals.postgres_replicas import best_rate, replicated_postgres
from bench.servers.nats_servers import nats_servers
from fasttree.client import Client
from fasttree.v1 import pusher_pb2

_ENGINES = ("sqlite", "postgres", "jetstream")
#: Of the log in PostgreSQL, which is the pusher's default, and of its rival.
_SYNCHRONOUS_COMMIT = "on"
_SERVER = """
listen_addresses = ''
shared_buffers = 256MB
max_wal_size = 4GB
max_wal_senders = 8
wal_level = replica
hot_standby = on
"""


_CHANGEOVER_MEMBERS = 100_000


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


def settings_of(engine: str, turn: int, kept: contextlib.ExitStack) -> tuple[str, ...]:
    """A pusher's settings for an engine, whose servers run until `kept` is closed: nobody else's take the machine."""
    if engine == "postgres":
        servers = kept.enter_context(replicated_postgres(_SERVER, synchronous_commit=_SYNCHRONOUS_COMMIT))
        schema = f"pusher.log_schema=turn_{turn}"
        return "pusher.log_store=postgresql", f"pusher.log_url={servers.url()}", schema
    if engine == "jetstream":
        nats = kept.enter_context(nats_servers())
        monitoring = f"pusher.nats_monitoring_urls={nats.monitoring_urls}"
        return "pusher.log_store=jetstream", f"pusher.log_url={nats.url}", monitoring
    return ()


async def measure(genealogy: Genealogy, engines: Sequence[str], orders: int, turns: int) -> dict[str, int]:
    """Every engine, in turns: what else the machine does meets all."""
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    rates: dict[str, list[float]] = {engine: [] for engine in engines}
    for turn in range(turns):
        for engine in engines:
            say(f"turn {turn + 1}: {engine}")
            with contextlib.ExitStack() as kept:
                settings = settings_of(engine, turn, kept)
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
    parser.add_argument("--changeovers", type=int, default=5, help="rounds of each kind")
    parser.add_argument("--engines", default=",".join(_ENGINES), help="which of them, with commas between")
    arguments = parser.parse_args()
    engines = arguments.engines.split(",")
    if unknown := set(engines) - set(_ENGINES):
        parser.error(f"no engine is {', '.join(sorted(unknown))}: name some of {','.join(_ENGINES)}")
    genealogy = make_genealogy(arguments.members, seed=1, roots=1)
    figures: dict[str, float] = dict(uvloop.run(measure(genealogy, engines, arguments.orders, arguments.turns)).items())
    if "postgres" in engines:
        say("one transaction an order, by itself")
        rates = best_rate(genealogy.sponsor, (1, 8), arguments.peer_seconds, synchronous_commit=_SYNCHRONOUS_COMMIT)
        figures["insert_orders_per_s"] = round(rates["best"])
        figures["postgres_ratio"] = round(figures["postgres_orders_per_s"] / rates["best"], 1)
    say("pushers change over")
    figures.update(uvloop.run(changeovers(_CHANGEOVER_MEMBERS, arguments.changeovers)))
    print(json.dumps({**figures, "members": arguments.members}))


if __name__ == "__main__":
    main()
