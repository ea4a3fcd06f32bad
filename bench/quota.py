"""Imports and orders on nodes that may have half a processor each: `make bench-quota PERCENT=50`.

Real processes, as `fasttree up` starts them. Each node is held to its share from its start: as root by a control group
with a quota, as systemd and containers do it; elsewhere by being stopped for the rest of each tenth of a second. Reads
through the VIP and pushed orders go on meanwhile, and files of the whole tree are imported one after another.

What may not happen is a role that changes because its node was busy. The last line is JSON: role_changes, failed_reads,
longest_gap_ms, import_s (each), held_by.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.cluster.cluster import RunningCluster, running_cluster
from bench.cluster.read_load import ReadLoad
from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.failover import Respawner, say, trickle
from fasttree.client import Client, UploadOptions
from fasttree.v1 import pusher_pb2

READS_PER_S = 50.0
ORDERS_PER_S = 20.0
READ_DEADLINE_S = 10.0
IMPORT_S_MAX = 1_800.0
_PERIOD_S = 0.1
_GROUPS = Path("/sys/fs/cgroup")


class Group:
    """A control group with a quota of processor time.

    Raises:
        OSError: This machine has none, or they are not ours to make.
    """

    def __init__(self, name: str, percent: int) -> None:
        period_us, quota_us = round(_PERIOD_S * 1e6), round(_PERIOD_S * 1e4 * percent)
        first_kind = (_GROUPS / "cpu" / "cpu.cfs_quota_us").exists()
        self._folder = (_GROUPS / "cpu" if first_kind else _GROUPS) / name
        self._folder.mkdir()
        try:
            if first_kind:
                (self._folder / "cpu.cfs_period_us").write_text(str(period_us))
                (self._folder / "cpu.cfs_quota_us").write_text(str(quota_us))
            else:
                (self._folder / "cpu.max").write_text(f"{quota_us} {period_us}")
        except OSError:
            self._folder.rmdir()
            raise

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command begins with to be in it from its first moment."""
        return ("sh", "-c", f'echo $$ > {self._folder / "cgroup.procs"} && exec "$@"', "sh")

    def remove(self) -> None:
        """Once nothing runs in it any more."""
        self._folder.rmdir()


async def stop_and_go(pid: int, percent: int) -> None:
    """Lets a process run for its share of each tenth of a second, until cancelled."""
    try:
        while True:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(_PERIOD_S * (100 - percent) / 100)
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(_PERIOD_S * percent / 100)
    except ProcessLookupError:
        return
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def held_to(cluster: RunningCluster, percent: int, *, groups: bool) -> AsyncIterator[str]:
    """Starts each node anew, held to its share; how, in words."""
    made: list[Group] = []
    stops: list[asyncio.Task[None]] = []
    nodes = Respawner(cluster)
    try:
        if groups:
            with contextlib.suppress(OSError):
                made = [Group(f"fasttree-quota-{os.getpid()}-{name}", percent) for name in cluster.node_names]
        for number, name in enumerate(cluster.node_names):
            await nodes.kill(name)
            await nodes.start(name, made[number].prefix if made else ())
            await cluster.wait_ready(timeout_s=300)
            if not made:
                stops.append(asyncio.create_task(stop_and_go(nodes.pid(name), percent)))
        yield "control groups" if made else "stops"
    finally:
        for stop in stops:
            stop.cancel()
        await asyncio.gather(*stops, return_exceptions=True)
        await nodes.stop()
        for group in made:
            group.remove()


async def import_file(client: Client, file: Path) -> float:
    """Returns how long it took until every node served it, in seconds."""
    began_s = time.monotonic()
    manifest = await client.upload_import(file, UploadOptions(force=True))
    async with asyncio.timeout(IMPORT_S_MAX):
        states = [status.state async for status in client.watch_import(manifest.import_id, patience_s=IMPORT_S_MAX)]
    if states[-1] != pusher_pb2.IMPORT_STATE_DONE:
        raise RuntimeError(f"import {manifest.import_id} ended as {pusher_pb2.ImportState.Name(states[-1])}")
    return time.monotonic() - began_s


async def run(members: int, percent: int, imports: int, folder: Path, *, groups: bool) -> dict[str, Any]:
    """One run; returns the figures of the last line."""
    genealogy = make_genealogy(members, seed=1, roots=1)
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    file = folder / "members.csv"
    write_genealogy(genealogy, file)
    async with (
        running_cluster(folder / "cluster", arguments=("--no-restart",)) as cluster,
        Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
    ):
        await import_file(client, file)
        async with (
            held_to(cluster, percent, groups=groups) as held_by,
            ReadLoad(cluster.channel(cluster.endpoints["vip"]), member_ids, READS_PER_S, READ_DEADLINE_S) as load,
        ):
            await cluster.wait_primary()
            epoch = (await cluster.cluster()).epoch
            orders = asyncio.create_task(trickle(cluster, member_ids, ORDERS_PER_S))
            took_s = []
            for number in range(1, imports + 1):
                took_s.append(round(await import_file(client, file), 1))
                say(f"import {number} of {imports}: {took_s[-1]} s at {percent} %, by {held_by}")
            role_changes = (await cluster.cluster()).epoch - epoch
            orders.cancel()
            await asyncio.gather(orders, return_exceptions=True)
        return {
            "percent": percent,
            "members": members,
            "held_by": held_by,
            "role_changes": role_changes,
            "reads": load.reads,
            "failed_reads": load.failed_reads,
            "longest_gap_ms": round(load.longest_gap_ms()),
            "import_s": took_s,
        }


def main() -> None:
    """Runs, prints the figures, and exits 1 where a role changed or a read failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--percent", type=int, default=50, choices=range(5, 101), metavar="5-100")
    parser.add_argument("--imports", type=int, default=3)
    parser.add_argument("--stops", action="store_true", help="by stops, also where control groups could be made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fasttree-quota-") as name:
        figures = asyncio.run(
            run(arguments.members, arguments.percent, arguments.imports, Path(name), groups=not arguments.stops)
        )
    print(json.dumps(figures))
    if figures["role_changes"] or figures["failed_reads"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
