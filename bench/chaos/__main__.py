"""Kills, stops, cuts off, fills and damages a real cluster under load, and checks every promise at the end.

As root it moves into a network and a mount namespace of its own first, where it can cut connections and fill a small
disk without touching the machine; elsewhere those faults are left out, and the last line says so.

The last line is JSON: reads, failed_reads, longest_gap_ms, pushed, lost, twice, digests_equal, elections, faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bench.chaos.faults import Faults
from bench.cluster import RunningCluster, running_cluster
from bench.genealogy import make_genealogy, write_genealogy
from bench.judge import differing_nodes, judge_log, replay
from bench.read_load import ReadLoad
from bench.update_mix import update_mix
from fasttree.client import Client, PushOptions
from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.channels import open_channel

IN_NAMESPACE = "FASTTREE_CHAOS_NAMESPACE"
PUSHER_DISK_MB = 512
UPDATES_PER_S = 300


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Pushing:
    """Pushes updates until told to end; keeps every receipt, and pushes again what the full disk refused."""

    def __init__(self, client: Client, member_ids: list[str], seed: int) -> None:
        self._client = client
        self._updates = update_mix(seed, member_ids, 1_000_000)
        self._again: list[types_pb2.Update] = []
        self._sent: dict[str, types_pb2.Update] = {}
        self._ended = False
        self.receipts: list[pusher_pb2.Receipt] = []
        self.refused = 0

    def end(self) -> None:
        """No new updates; `run` returns once all have receipts."""
        self._ended = True

    async def _source(self) -> AsyncIterator[types_pb2.Update]:
        while True:
            while self._again:
                yield self._again.pop()
            if self._ended:
                return
            update = next(self._updates)
            self._sent[update.update_id] = update
            yield update
            await asyncio.sleep(1 / UPDATES_PER_S)

    async def run(self) -> None:
        """Pushes until `end`, and then until everything has been taken."""
        while not self._ended or self._again or self._sent:
            async for receipt in self._client.push(self._source(), PushOptions(patience_s=120)):
                if receipt.code == 0:
                    self.receipts.append(receipt)
                    del self._sent[receipt.update_id]
                elif receipt.code in (8, 14):
                    self.refused += 1
                    self._again.append(self._sent[receipt.update_id])
                else:
                    raise RuntimeError(f"an update was not taken: {receipt}")


async def inject(faults: Faults, seconds: float) -> tuple[Counter[str], list[float]]:
    """Faults one after another; returns how many of each kind, and how long each took to heal, in seconds."""
    counts: Counter[str] = Counter()
    healed_s = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fault = await faults.next_fault()
        say(fault.name)
        counts[" ".join(fault.name.split()[:2])] += 1
        started = time.monotonic()
        await fault.inject()
        await faults.whole_again()
        healed_s.append(time.monotonic() - started)
        await asyncio.sleep(0.5)
    return counts, healed_s


async def run(seconds: float, seed: int, members: int, folder: Path, disk: Path | None) -> dict[str, Any]:
    """One run; returns the figures of the last line."""
    genealogy = make_genealogy(members, seed=seed, roots=1)
    file = folder / "members.csv"
    write_genealogy(genealogy, file)
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    root = member_ids[int((genealogy.sponsor < 0).argmax())]
    member_ids.remove(root)
    async with AsyncExitStack() as stack:
        cluster: RunningCluster = await stack.enter_async_context(running_cluster(folder / "cluster"))
        client = await stack.enter_async_context(Client.from_endpoints_file(cluster.folder / "endpoints.json"))
        manifest = await client.upload_import(file)
        states = [status.state async for status in client.watch_import(manifest.import_id)]
        if states[-1] != pusher_pb2.IMPORT_STATE_DONE:
            raise RuntimeError("the import was refused")
        await cluster.wait_ready()
        epoch = (await cluster.cluster()).epoch
        channel = await stack.enter_async_context(open_channel(cluster.endpoints["vip"]))
        pushing = Pushing(client, member_ids, seed)
        faults = Faults(cluster, random.Random(seed), network=IN_NAMESPACE in os.environ, pusher_disk=disk)
        async with ReadLoad(channel, [root]) as load:
            push = asyncio.create_task(pushing.run())
            counts, healed_s = await inject(faults, seconds)
            pushing.end()
            await push
        say("judging")
        verdict = await judge_log(client, pushing.receipts)
        tree = await asyncio.to_thread(replay, cluster, file, verdict.updates)
        differing = await differing_nodes(cluster, tree)
        return {
            "reads": load.reads,
            "failed_reads": load.failed_reads,
            "failures": dict(load.failures),
            "longest_gap_ms": round(load.longest_gap_ms()),
            "pushed": len(pushing.receipts),
            "refused_for_a_full_disk": pushing.refused,
            "lost": len(verdict.lost),
            "twice": len(verdict.twice),
            "digests_equal": not differing,
            "elections": (await cluster.cluster()).epoch - epoch,
            "faults": dict(counts),
            "longest_healing_s": round(max(healed_s), 1),
            "network_faults": IN_NAMESPACE in os.environ,
            "seed": seed,
        }


def enter_namespace() -> None:
    """Starts this program again in namespaces of its own, if it is root and not there yet."""
    if IN_NAMESPACE in os.environ or os.geteuid() != 0:
        return
    probe = subprocess.run(["unshare", "--net", "--mount", "iptables", "-L", "-n"], capture_output=True, check=False)
    if probe.returncode:
        say("no network namespaces here: connections are not cut, disks not filled")
        return
    os.environ[IN_NAMESPACE] = "1"
    command = [sys.executable, "-m", "bench.chaos", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "--net", "--mount", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command])


def main() -> None:
    """Runs, prints the figures, and exits 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="drawn, and printed, where not given")
    parser.add_argument("--members", type=int, default=20_000)
    arguments = parser.parse_args()
    enter_namespace()
    seed = arguments.seed if arguments.seed is not None else random.randrange(10_000)
    say(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="fasttree-chaos-") as name:
        folder = Path(name)
        disk = None
        if IN_NAMESPACE in os.environ:
            disk = folder / "cluster" / "state" / "pusher"
            disk.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={PUSHER_DISK_MB}m", "chaos", str(disk)], check=True)
        try:
            figures = asyncio.run(run(arguments.seconds, seed, arguments.members, folder, disk))
        finally:
            if disk:
                subprocess.run(["umount", "--lazy", str(disk)], check=False)
    print(json.dumps(figures))
    if figures["failed_reads"] or figures["lost"] or figures["twice"] or not figures["digests_equal"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
