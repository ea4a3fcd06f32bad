"""Kills, stops, cuts off, fills and damages a real cluster under load, and checks every promise at the end.

Meanwhile months end, updates are poisoned and skipped, and the settings of nodes are changed.

Between each two parts stands a link (`links.py`) that is cut, delayed or broken. As root the run moves into a network
and a mount namespace of its own first, where packets are dropped and a small disk is filled too, without touching the
machine; elsewhere, or with `--network proxy`, there are the links alone, and the last line says so.

The last line is JSON: reads, failed_reads, longest_gap_ms, pushed, lost, twice, linearizable (whether one log explains
what clients saw, by `bench/cluster/history.py`), digests_equal, elections, faults.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.chaos.engines import run_engines
from bench.chaos.faults import Faults
from bench.chaos.hostile import Hostile
from bench.chaos.imports import Imports
from bench.chaos.machines import run_machines
from bench.chaos.months import Months
from bench.chaos.poison import Poison, path_with_defect
from bench.chaos.pushing import Pushing
from bench.chaos.up import CLIENT, PROGRAM, control_path
from bench.cluster.cluster import RunningCluster, running_cluster
from bench.cluster.history import problems
from bench.cluster.judge import differing_nodes, judge_log
from bench.cluster.read_load import ReadLoad
from fasttree.client import Client, Endpoints

IN_NAMESPACE = "FASTTREE_CHAOS_NAMESPACE"
PUSHER_DISK_MB = 512
#: A healing that took longer is told.
SLOW_HEALING_S = 8.0


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def inject(faults: Faults, seconds: float) -> tuple[Counter[str], list[float]]:
    """Faults one after another; returns how many of each kind, and how long each took to heal, in seconds."""
    counts: Counter[str] = Counter()
    healed_s = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        fault = await faults.next_fault()
        say(f"{fault.kind} {fault.detail}")
        counts[fault.kind] += 1
        started = time.monotonic()
        await fault.inject()
        await faults.whole_again()
        healed_s.append(time.monotonic() - started)
        if healed_s[-1] > SLOW_HEALING_S:
            say(f"whole again after {healed_s[-1]:.0f} s")
        await asyncio.sleep(0.5)
    return counts, healed_s


async def run(
    seconds: float, seed: int, members: int, folder: Path, disk: Path | None, *, hostile: bool
) -> dict[str, Any]:
    """One run; returns the figures of the last line."""
    os.environ["PYTHONPATH"] = path_with_defect()
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(folder / "cluster", program=PROGRAM))
        client = await stack.enter_async_context(Client(_endpoints(cluster)))
        imports = Imports(cluster, client, folder, members, seed)
        await imports.begin()
        epoch = (await cluster.cluster()).epoch
        pushing = Pushing(client, imports.member_ids, seed)
        poison = Poison(cluster, client, imports.root)
        months = Months(client, imports.root)
        faults = Faults(
            cluster,
            client,
            imports,
            poison,
            months,
            random.Random(seed),
            network=IN_NAMESPACE in os.environ,
            pusher_disk=disk,
        )
        others = Hostile(cluster, members, seed)
        async with (
            AsyncExitStack() as beside,
            ReadLoad(cluster.channel(cluster.endpoints["vip"]), [imports.root]) as load,
        ):
            if hostile:
                await beside.enter_async_context(others)
            push = asyncio.create_task(pushing.run())
            vip = cluster.channel(cluster.endpoints["vip"])
            reading = asyncio.create_task(pushing.read(vip, imports.root))
            counts, healed_s = await inject(faults, seconds)
            pushing.end()
            await push
            await imports.wait_settled()
            reading.cancel()
        say("judging")
        verdict = await judge_log(client, [*pushing.receipts, *poison.receipts, *months.receipts])
        tree, wrong = await asyncio.to_thread(imports.replay, verdict.updates)
        differing = await differing_nodes(cluster, tree)
        unexplained = problems(pushing.pushes, pushing.reads)
        for problem in [*wrong, *unexplained, *(f"{name} differs from the replay" for name in differing)]:
            say(problem)
        return {
            "reads": load.reads,
            "failed_reads": load.failed_reads,
            "failures": dict(load.failures),
            "longest_gap_ms": round(load.longest_gap_ms()),
            "pushed": len(pushing.receipts),
            "refused_for_a_full_disk": pushing.refused,
            "lost": len(verdict.lost),
            "twice": len(verdict.twice),
            "linearizable": not unexplained,
            "reads_of_a_position": len(pushing.reads),
            "digests_equal": not differing and not wrong,
            "elections": (await cluster.cluster()).epoch - epoch,
            "imports": imports.uploaded,
            "faults": dict(sorted(counts.items())),
            "longest_healing_s": round(max(healed_s), 1),
            **({"hostile": others.figures()} if hostile else {}),
            "network": "links and a namespace" if IN_NAMESPACE in os.environ else "links",
            "seed": seed,
        }


def _endpoints(cluster: RunningCluster) -> Endpoints:
    """Where the client finds everything: the pusher by the client's own link to it."""
    links = json.loads(control_path(cluster.folder).with_suffix(".json").read_text())
    return replace(Endpoints.read(cluster.folder / "endpoints.json"), pusher=links[f"{CLIENT}-pusher"])


def enter_namespace() -> None:
    """Starts this program again in namespaces of its own, if it may and is not there yet."""
    if IN_NAMESPACE in os.environ:
        return
    if os.geteuid() != 0:
        say("not root: links alone, disks are not filled")
        return
    probe = subprocess.run(["unshare", "--net", "--mount", "iptables", "-L", "-n"], capture_output=True, check=False)
    if probe.returncode:
        say("no network namespaces here: links alone, disks are not filled")
        return
    os.environ[IN_NAMESPACE] = "1"
    command = [sys.executable, "-m", "bench.chaos", *sys.argv[1:]]
    os.execvp("unshare", ["unshare", "--net", "--mount", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command])


def keep_logs(cluster: Path, folder: Path) -> None:
    """Copies the logs of a cluster's processes."""
    for log in cluster.rglob("*.log*"):
        kept = folder / log.relative_to(cluster)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, kept)


def main() -> None:
    """Runs, prints the figures, and exits 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="drawn, and printed, where not given")
    parser.add_argument("--members", type=int, default=20_000)
    parser.add_argument(
        "--network",
        choices=("auto", "proxy"),
        default="auto",
        help="proxy: links alone, as where there is no root",
    )
    parser.add_argument(
        "--hostile",
        action="store_true",
        help="beside it a hostile reader, one who drops files, and one who keeps the disk busy",
    )
    parser.add_argument("--machines", action="store_true", help="three machines, lost one after another")
    parser.add_argument(
        "--engines",
        choices=("nats", "postgresql"),
        help="three machines with servers of etcd and NATS, or of PostgreSQL, on them, which are lost as well",
    )
    parser.add_argument("--logs", type=Path, help="folder that gets every process's log at the end")
    arguments = parser.parse_args()
    if arguments.network == "auto" and not (arguments.machines or arguments.engines):
        enter_namespace()
    seed = arguments.seed if arguments.seed is not None else random.randrange(10_000)
    say(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="fasttree-chaos-") as name:
        folder = Path(name)
        disk = None
        if IN_NAMESPACE in os.environ and not arguments.hostile:
            disk = folder / "cluster" / "state" / "pusher"
            disk.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={PUSHER_DISK_MB}m", "chaos", str(disk)], check=True)
        if arguments.engines:
            story = run_engines(arguments.engines, arguments.seconds, seed, arguments.members, folder, say)
        elif arguments.machines:
            story = run_machines(arguments.seconds, seed, arguments.members, folder, say)
        else:
            story = run(arguments.seconds, seed, arguments.members, folder, disk, hostile=arguments.hostile)
        try:
            figures = asyncio.run(story)
        finally:
            if arguments.logs:
                keep_logs(folder / "cluster", arguments.logs)
            if disk:
                subprocess.run(["umount", "--lazy", str(disk)], check=False)
    print(json.dumps(figures))
    if figures.get("hostile", {}).get("taken"):
        sys.exit(1)
    if figures["failed_reads"] or figures["lost"] or figures["twice"] or not figures["digests_equal"]:
        sys.exit(1)
    if not figures.get("linearizable", True):
        sys.exit(1)


if __name__ == "__main__":
    main()
