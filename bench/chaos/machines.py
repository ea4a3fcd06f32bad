"""Three machines of `fasttree up --machines 3` under reads and orders, one after another lost, frozen or given back
empty.

A machine is a coordinator, a node and a pusher. What no machine may lose is in PostgreSQL, which is outside of them and
stays. One machine is away at a time, and the next one only when all is whole again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.cluster.read_load import ReadLoad
from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.engine.update_mix import update_mix
from bench.rivals.postgres_replicas import replicated_postgres
from fasttree.client import Client, FailedPreconditionError, FastTreeClientError
from fasttree.v1 import coordinator_pb2, pusher_pb2, types_pb2

MACHINES = 3
ORDERS_PER_S = 200
WHOLE_TIMEOUT_S = 180.0
_NODE_STATES = {coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY}
_PUSHER_STATES = {coordinator_pb2.PUSHER_STATE_STANDBY, coordinator_pb2.PUSHER_STATE_ACTIVE}
#: Loopback alone, and as durable as it comes.
_SERVER = "listen_addresses = ''\nshared_buffers = 64MB\nmax_wal_size = 1GB\n"


class LocalMachines:
    """A cluster of machines, driven as its operator would: by commands."""

    def __init__(self, cluster: RunningCluster, client: Client) -> None:
        self.cluster = cluster
        self.client = client

    async def do(self, action: str, machine: str) -> None:
        """`fasttree machine ACTION MACHINE`. Raises RuntimeError where it is refused."""
        endpoints = str(self.cluster.folder / "endpoints.json")
        command = [sys.executable, "-P", "-m", "fasttree.command", "machine", action, machine, "--endpoints", endpoints]
        process = await asyncio.create_subprocess_exec(
            *command, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        _, said = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{action} {machine}: {said.decode()}")

    async def wait_whole(self) -> coordinator_pb2.Cluster:
        """Until every node is ready and every pusher active or standing by, as the active coordinator has it."""

        async def whole() -> coordinator_pb2.Cluster | None:
            try:
                cluster = await self.client.get_cluster()
            except FastTreeClientError:
                return None
            if cluster.standby:
                return None
            nodes = [node for node in cluster.nodes if node.alive and node.status.state in _NODE_STATES]
            pushers = [each for each in cluster.pushers if each.alive and each.status.state in _PUSHER_STATES]
            there = len(nodes) == len(pushers) == MACHINES
            return cluster if there and cluster.primary and cluster.pusher else None

        found: coordinator_pb2.Cluster = await wait_for(whole, WHOLE_TIMEOUT_S, "all three machines to be whole")
        return found


@asynccontextmanager
async def running_machines(
    folder: Path, url: str, schema: str = "machines", settings: Mapping[str, str] | None = None
) -> AsyncIterator[LocalMachines]:
    """Three of them over that server, in schemas of their own. `settings`: more of them, which count."""
    schemas = {"pusher.log_schema": schema, "coordinator.postgresql_schema": f"{schema}_coordinator"}
    settings = schemas | dict(settings or {})
    arguments = ["--machines", str(MACHINES), "--postgresql", url]
    arguments += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    async with (
        running_cluster(folder, nodes=None, arguments=tuple(arguments)) as cluster,
        Client.from_endpoints_file(folder / "endpoints.json") as client,
    ):
        yield LocalMachines(cluster, client)


async def gather_on_one(machines: LocalMachines) -> str:
    """Brings primary and active pusher to the machine whose coordinator is active; returns its name."""

    async def gathered() -> str:
        cluster = await machines.wait_whole()
        number = int(cluster.coordinator.rpartition(":")[0].rpartition(".")[2]) - 1
        pusher = "pusher" if number == 1 else f"pusher-{number}"
        if (cluster.primary, cluster.pusher) == (f"n{number}", pusher):
            return f"M{number}"
        # A refusal is an answer too: another node may have been further just now, say.
        with contextlib.suppress(FailedPreconditionError):
            if cluster.primary != f"n{number}":
                await machines.client.switchover(f"n{number}")
            if cluster.pusher != pusher:
                await machines.client.switchover_pusher(pusher)
        return ""

    machine: str = await wait_for(gathered, WHOLE_TIMEOUT_S, "all that acts to be on one machine")
    return machine


class Orders:
    """Pushes at a steady rate until told to end; knows when each receipt came."""

    def __init__(self, client: Client, updates: Iterator[types_pb2.Update]) -> None:
        self._client = client
        self._updates = updates
        self._ended = False
        self.receipts: list[pusher_pb2.Receipt] = []
        self._came_s: list[float] = []

    def end(self) -> None:
        """No new ones; `run` returns once all have receipts."""
        self._ended = True

    async def _paced(self) -> AsyncIterator[types_pb2.Update]:
        due_s = time.monotonic()
        while not self._ended:
            yield next(self._updates)
            due_s += 1 / ORDERS_PER_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def run(self) -> None:
        """Pushes until `end`. Raises RuntimeError where one is refused."""
        async for receipt in self._client.push(self._paced()):
            if receipt.code:
                raise RuntimeError(f"an update was not taken: {receipt}")
            self.receipts.append(receipt)
            self._came_s.append(time.monotonic())

    async def wait_for_more(self, count: int) -> None:
        """Until so many more receipts have come."""
        wanted = len(self.receipts) + count

        async def there() -> bool:
            return len(self.receipts) >= wanted

        await wait_for(there, WHOLE_TIMEOUT_S, f"{count} more receipts")

    def longest_gap_ms(self, first: int = 0) -> int:
        """The longest time without a receipt, from the one of that number on."""
        came_s = self._came_s[max(0, first - 1) :]
        return round(1_000 * max((later - earlier for earlier, later in pairwise(came_s)), default=0.0))


async def lose_machines(
    machines: LocalMachines, seconds: float, draw: random.Random, say: Callable[[str], None]
) -> Counter[str]:
    """One machine after another; returns how many of each kind."""
    counts: Counter[str] = Counter()
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        machine = await gather_on_one(machines) if draw.random() < 0.5 else f"M{draw.randint(1, MACHINES)}"
        kind = draw.choice(("killed", "frozen", "killed and given back empty", "given back empty"))
        say(f"{machine} is {kind}")
        counts[kind] += 1
        if kind != "given back empty":
            await machines.do("stop" if kind == "frozen" else "kill", machine)
            await asyncio.sleep(draw.uniform(0.5, 5.0))
        await machines.do("empty" if kind.endswith("empty") else "start", machine)
        await machines.wait_whole()
    return counts


async def run_machines(
    seconds: float, seed: int, members: int, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """One run; returns the figures of the last line."""
    genealogy = make_genealogy(members, seed=seed, roots=1)
    path = folder / "members.csv"
    await asyncio.to_thread(write_genealogy, genealogy, path)
    ids = [text.decode() for text in genealogy.ids.tolist()]
    root = ids[int((genealogy.sponsor < 0).argmax())]
    async with AsyncExitStack() as stack:
        server = stack.enter_context(replicated_postgres(_SERVER, standbys=()))
        machines = await stack.enter_async_context(running_machines(folder / "cluster", server.url()))
        client, cluster = machines.client, machines.cluster
        manifest = await client.upload_import(path)
        states = [status.state async for status in client.watch_import(manifest.import_id)]
        if states[-1] != pusher_pb2.IMPORT_STATE_DONE:
            raise RuntimeError("the import was not taken")
        await machines.wait_whole()
        orders = Orders(client, update_mix(seed, [each for each in ids if each != root], 1_000_000))
        async with ReadLoad(cluster.channel(cluster.endpoints["vip"]), [root]) as load:
            pushing = asyncio.create_task(orders.run())
            counts = await lose_machines(machines, seconds, random.Random(seed), say)
            orders.end()
            await pushing
        say("judging")
        verdict = await judge_log(client, orders.receipts)
        tree = await asyncio.to_thread(replay, path, verdict.updates)
        differing = await differing_nodes(cluster, tree)
        return {
            "reads": load.reads,
            "failed_reads": load.failed_reads,
            "failures": dict(load.failures),
            "longest_gap_ms": round(load.longest_gap_ms()),
            "pushed": len(orders.receipts),
            "longest_push_gap_ms": orders.longest_gap_ms(),
            "lost": len(verdict.lost),
            "twice": len(verdict.twice),
            "digests_equal": not differing,
            "machines": MACHINES,
            "faults": dict(sorted(counts.items())),
            "seed": seed,
        }
