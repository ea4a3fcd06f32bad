"""Point reads by stock clients, beside PostgreSQL's, and what lies around them: `make bench-reads`.

All in one run, on the same processors: a member by ghz (8 connections, 32 callers) and by a cheap client (h2load, 8
connections of 16 streams), from a node and through the VIP; PostgreSQL 15 by pgbench (a prepared point read by primary
key of a prepared group volume, through its Unix socket) with one client and with eight; the Python client's awaits; a
node's reads while orders are applied; an order's way until it is seen on both nodes; what a cluster at rest uses.

The last line is JSON; rates a second, times in milliseconds, medians of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.cluster.cluster import RunningCluster, cpu_s
from bench.engine.genealogy import Genealogy, make_genealogy
from bench.fanout import BATCH, loaded_cluster, order_batches, say, visible_ms
from bench.rivals.postgres import Session, pgbench, running_postgres
from fasttree.client import Client
from fasttree.client.calls.tls import TlsFiles
from fasttree.client.reports import Reports
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, report_pb2

_CALL = "fasttree.v1.ReportService.GetMember"
_API = Path(__file__).parents[1] / "proto" / "released.binpb"
_ORDERS_PER_S = 50_000
_READS_PER_S = 5_000
_ALONE = 2_000
_NEEDED = {
    "ghz": "go install github.com/bojand/ghz/cmd/ghz@latest, and put it into the PATH",
    "h2load": "apt-get install nghttp2-client",
}


class ToolError(Exception):
    """A load generator is missing or failed; one line."""


def tool(name: str) -> str:
    """The path of a load generator."""
    found = shutil.which(name) or shutil.which(name, path=str(Path.home() / "go" / "bin"))
    if found is None:
        raise ToolError(f"{name} is missing: {_NEEDED[name]}")
    return found


async def run(*command: str | Path) -> str:
    """What a command says. Raises ToolError where it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await process.communicate())[0].decode(errors="replace")
    if process.returncode:
        raise ToolError(f"{command[0]} failed: {' '.join(said.split())[-300:]}")
    return said


async def ghz(
    address: str,
    member_id: str,
    seconds: float,
    *,
    connections: int,
    callers: int,
    rps: int = 0,
    tls: TlsFiles | None = None,
) -> Any:
    """ghz's figures. `tls`: by certificates. Raises ToolError where a call failed."""
    asked = json.dumps({"member_id": member_id})
    way = ["--insecure"]
    if tls is not None:
        way = ["--cacert", str(tls.ca), "--cert", str(tls.certificate), "--key", str(tls.key)]
    command = [tool("ghz"), *way, "--protoset", str(_API), "--call", _CALL, "-d", asked, "-O", "json"]
    command += ["--connections", str(connections), "-c", str(callers), "-z", f"{seconds:g}s", "--duration-stop", "wait"]
    said = await run(*command, *(["--rps", str(rps)] if rps else []), address)
    figures = json.loads(said[said.index("{") :])
    if set(figures["statusCodeDistribution"]) != {"OK"}:
        raise ToolError(f"ghz at {address}: {figures['statusCodeDistribution']} {figures['errorDistribution']}")
    return figures


def _percentile_ms(figures: Any, percentage: int) -> float:
    return float(next(x["latency"] for x in figures["latencyDistribution"] if x["percentage"] == percentage)) / 1e6


async def h2load(address: str, member_id: str, seconds: float, folder: Path) -> float:
    """Calls a second by h2load. Raises ToolError where a call failed."""
    request = report_pb2.GetMemberRequest(member_id=member_id).SerializeToString()
    body = folder / "request"
    body.write_bytes(b"\0" + len(request).to_bytes(4, "big") + request)
    url = f"http://{address}/{_CALL.replace('Service.', 'Service/')}"
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    timing = ["-D", str(round(seconds)), "--warm-up-time", "1"]
    said = await run(tool("h2load"), "-c", "8", "-m", "16", *timing, "-d", str(body), *headers, url)
    rate = re.search(r"finished in .*?, ([0-9.]+) req/s", said)
    if rate is None or not re.search(r" 0 failed, 0 errored, 0 timeout", said):
        raise ToolError(f"h2load at {address}: {' '.join(said.split())[-300:]}")
    return float(rate[1])


async def awaits_per_s(reports: Reports, member_ids: list[str], concurrent: int, seconds: float) -> float:
    """Members a second by the Python client, so many awaits at a time."""
    done, end_s = 0, time.perf_counter() + seconds

    async def ask(first: int) -> None:
        nonlocal done
        number = first
        while time.perf_counter() < end_s:
            await reports.get_member(member_ids[number % len(member_ids)])
            number += concurrent
            done += 1

    begun_s = time.perf_counter()
    await asyncio.gather(*(ask(first) for first in range(concurrent)))
    return done / (time.perf_counter() - begun_s)


async def alone_ms(reports: Reports, member_id: str) -> float:
    """The median time of one call after another by the Python client."""
    taken = []
    for _ in range(_ALONE):
        begun_s = time.perf_counter()
        await reports.get_member(member_id)
        taken.append((time.perf_counter() - begun_s) * 1e3)
    return statistics.median(taken)


async def alone_by_ghz_ms(address: str, member_id: str, seconds: float) -> float:
    """The same by ghz."""
    return _percentile_ms(await ghz(address, member_id, seconds, connections=1, callers=1), 50)


@contextlib.asynccontextmanager
async def orders_beside(cluster: RunningCluster, member_ids: list[str], seconds: float) -> AsyncIterator[list[float]]:
    """Orders at a steady rate; the list gets the rate that was reached."""
    batches = order_batches("beside", member_ids, int(_ORDERS_PER_S * seconds))
    stub = pusher_pb2_grpc.PusherServiceStub(cluster.channel(cluster.endpoints["pusher"]))
    reached: list[float] = []

    async def requests() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
        due_s = time.perf_counter()
        for batch in batches:
            yield batch
            due_s += BATCH / _ORDERS_PER_S
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))

    async def push() -> None:
        begun_s, taken = time.perf_counter(), 0
        async for response in stub.PushUpdates(requests()):
            taken += len(response.receipts)
        reached.append(taken / (time.perf_counter() - begun_s))

    pushing = asyncio.create_task(push())
    yield reached
    await pushing


async def idle_percent(cluster: RunningCluster, seconds: float) -> float:
    """What the busiest service of a cluster at rest uses of one processor."""
    services = [cluster.pid_of(part) for part in ("coordinator", "pusher", *cluster.node_names)]
    before = [cpu_s(pid) for pid in services]
    await asyncio.sleep(seconds)
    return max(cpu_s(pid) - used for pid, used in zip(services, before, strict=True)) / seconds * 100


class Bench:
    """One cluster and its rival, measured in turn."""

    def __init__(self, cluster: RunningCluster, peer: Session | None, ids: list[str], seconds: float, folder: Path):
        self._cluster, self._peer, self._ids, self._seconds, self._folder = cluster, peer, ids, seconds, folder
        self._node = cluster.node_names[0]
        self._address = cluster.node(self._node)["report"]
        self._vip = cluster.endpoints["vip"]

    def measures(self, client: Client) -> Iterator[tuple[str, Callable[[], Awaitable[float]]]]:
        """Each figure with what measures it."""
        seconds, asked = self._seconds, self._ids[len(self._ids) // 2]

        async def stock(address: str) -> float:
            return float((await ghz(address, asked, seconds, connections=8, callers=32))["rps"])

        yield "ghz_per_s", lambda: stock(self._address)
        yield "h2load_per_s", lambda: h2load(self._address, asked, seconds, self._folder)
        if self._peer is not None:
            for clients in (1, 8):
                yield f"postgres_{clients}_per_s", lambda clients=clients: self._postgres(clients)  # type: ignore[misc]
        direct = client.reports_at(self._node)
        yield "alone_p50_ms", lambda: alone_ms(direct, asked)
        yield "alone_ghz_p50_ms", lambda: alone_by_ghz_ms(self._address, asked, seconds)
        yield "vip_ghz_per_s", lambda: stock(self._vip)
        yield "vip_h2load_per_s", lambda: h2load(self._vip, asked, seconds, self._folder)
        for place, reports in (("", direct), ("vip_", client.reports)):
            for count in (8, 512):
                take = functools.partial(awaits_per_s, reports, self._ids, count, seconds)
                yield f"{place}coalesced_{count}_per_s", take

    async def _postgres(self, clients: int) -> float:
        assert self._peer is not None
        return await asyncio.to_thread(
            pgbench, self._peer, _POINT_READ.format(last=len(self._ids) - 1), clients, self._seconds
        )

    async def under_orders(self) -> tuple[float, float]:
        """p99 of reads at a steady rate, and the rate of the orders beside them."""
        async with orders_beside(self._cluster, self._ids, self._seconds + 1) as reached:
            asked = self._ids[len(self._ids) // 2]
            read = await ghz(self._address, asked, self._seconds, connections=8, callers=32, rps=_READS_PER_S)
        return _percentile_ms(read, 99), reached[0]


_POINT_READ = "\\set n random(0, {last})\nSELECT gv FROM read_members WHERE id = :n;\n"


def _prepare(peer: Session, members: int) -> None:
    """The rival's table, in memory and indexed, with a volume that is worked out."""
    peer.run("CREATE UNLOGGED TABLE read_members (id int PRIMARY KEY, gv bigint NOT NULL)")
    peer.run(f"INSERT INTO read_members SELECT n, n * 7 FROM generate_series(0, {members - 1}) AS n")
    peer.run("VACUUM ANALYZE read_members")


async def measure(genealogy: Genealogy, peer: Session | None, seconds: float, rounds: int) -> dict[str, Any]:
    """All figures of one run."""
    ids = [text.decode() for text in genealogy.ids.tolist()]
    with tempfile.TemporaryDirectory(prefix="fasttree-reads-") as name:
        async with (
            loaded_cluster(genealogy, 2) as cluster,
            Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
        ):
            await cluster.wait_at_rest()
            figures: dict[str, Any] = {"idle_percent": round(await idle_percent(cluster, 5.0), 2)}
            bench = Bench(cluster, peer, ids, seconds, Path(name))
            found: dict[str, list[float]] = {}
            for number in range(rounds):
                for figure, take in bench.measures(client):
                    found.setdefault(figure, []).append(await take())
                    say(f"round {number + 1}: {figure} {found[figure][-1]:,.2f}")
                p99, rate = await bench.under_orders()
                found.setdefault("reads_p99_ms_under_orders", []).append(p99)
                found.setdefault("orders_per_s_beside", []).append(rate)
            await cluster.wait_at_rest()
            p50, p99 = await visible_ms(cluster, ids)
            figures |= {figure: round(statistics.median(values), 3) for figure, values in found.items()}
            figures |= {"visible_p50_ms": round(p50, 2), "visible_p99_ms": round(p99, 2)}
    for clients in (1, 8):
        rival = figures.get(f"postgres_{clients}_per_s")
        figures[f"ratio_{clients}"] = round(figures["h2load_per_s"] / rival, 2) if rival else None
    return figures | {"members": len(ids), "rounds": rounds}


def main() -> None:
    """Runs both sides."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="a measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", choices=["postgres", "none"], default="postgres")
    arguments = parser.parse_args()
    try:
        for name in _NEEDED:
            tool(name)
        genealogy = make_genealogy(arguments.members, seed=1, roots=1)
        with contextlib.ExitStack() as stack:
            peer = stack.enter_context(running_postgres()) if arguments.peer == "postgres" else None
            if peer is not None:
                _prepare(peer, arguments.members)
            figures = uvloop.run(measure(genealogy, peer, arguments.seconds, arguments.rounds))
    except ToolError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
