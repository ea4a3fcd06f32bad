"""Reads through the VIP while primaries die and change: `make bench-failover ROUNDS=20`.

Real processes, as `fasttree up` starts them: coordinator, pusher, two nodes, Envoy. 200 reads a second through Envoy,
each with a deadline of 2 s and no retry of its own, while orders are pushed. Each round kills the primary (SIGKILL),
starts it again when another one is elected, and waits until it is ready; then each round asks for a planned switchover.
Last, a passive node is killed, falls behind by `--behind` updates, and is started again.

The last line is JSON: failed_reads, longest_gap_ms_kill, longest_gap_ms_switchover (between two answers, the longest of
all rounds; a kill's round lasts until the killed node is back), longest_gap_ms_election (until another one is primary),
restart_ready_s (from the start of the process until it has every update and is ready).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from bench.cluster.read_load import ReadLoad
from bench.engine.genealogy import make_genealogy, write_genealogy
from fasttree.client import Client
from fasttree.v1 import coordinator_pb2, coordinator_pb2_grpc, pusher_pb2, types_pb2

READS_PER_S = 200.0
#: After each change the reads go on for so long before the round's gaps are taken.
SETTLE_S = 1.0


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


class Respawner:
    """Kills processes of a cluster that is started with --no-restart, and starts them again as they were."""

    def __init__(self, cluster: RunningCluster) -> None:
        self._cluster = cluster
        self._commands: dict[str, tuple[list[str], dict[str, str], Path]] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        for name in cluster.node_names:
            process = Path(f"/proc/{cluster.pid_of(name)}")
            command = process.joinpath("cmdline").read_text().rstrip("\0").split("\0")
            lines = process.joinpath("environ").read_text().rstrip("\0").split("\0")
            environment = dict(line.split("=", 1) for line in lines)
            self._commands[name] = command, environment, process.joinpath("cwd").resolve()

    async def kill(self, name: str) -> None:
        """SIGKILL; returns when the process is gone."""
        process = self._processes.pop(name, None)
        if process is None:
            self._cluster.kill(name)
            return
        process.kill()
        await process.wait()

    def pid(self, name: str) -> int:
        """Of a process that was started here."""
        return self._processes[name].pid

    async def start(self, name: str, prefix: Sequence[str] = ()) -> None:
        """Starts the process anew. `prefix`: a command that becomes it."""
        command, environment, folder = self._commands[name]
        with (self._cluster.folder / f"respawned-{name}.log").open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                *prefix, *command, env=environment, cwd=folder, stdout=log, stderr=log
            )

    def processor_s(self, name: str) -> float:
        """Processor time that a process started here has used, in seconds."""
        fields = Path(f"/proc/{self._processes[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def stop(self) -> None:
        """Ends what was started here."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            await process.wait()


def orders(prefix: str, member_ids: list[str], count: int) -> Iterator[types_pb2.Update]:
    """Orders for members drawn at random."""
    draw = random.Random(prefix)
    for number in range(count):
        order = types_pb2.VolumePosted(member_id=draw.choice(member_ids), amount_hundredths=draw.randrange(1, 50_000))
        yield types_pb2.Update(update_id=f"{prefix}-{number}", volume_posted=order)


async def push(cluster: RunningCluster, prefix: str, member_ids: list[str], count: int) -> int:
    """Pushes orders; returns the last one's position."""
    position = 0
    async with Client.from_endpoints_file(cluster.folder / "endpoints.json") as client:
        async for receipt in client.push(orders(prefix, member_ids, count)):
            if receipt.code:
                raise RuntimeError(f"not taken: {receipt}")
            position = receipt.position
    return position


async def trickle(cluster: RunningCluster, member_ids: list[str], rate_per_s: float) -> None:
    """Pushes orders all the time, so that positions move under every failover."""

    async def updates() -> AsyncIterator[types_pb2.Update]:
        for update in orders("trickle", member_ids, 10**9):
            yield update
            await asyncio.sleep(1 / rate_per_s)

    async with Client.from_endpoints_file(cluster.folder / "endpoints.json") as client:
        async for receipt in client.push(updates()):
            if receipt.code:
                raise RuntimeError(f"not taken: {receipt}")


async def kill_rounds(
    cluster: RunningCluster, load: ReadLoad, nodes: Respawner, rounds: int
) -> tuple[list[float], list[float]]:
    """Each round's longest gap, in milliseconds: until another node is primary, and until the killed one is back."""
    gaps_ms, whole_ms = [], []
    for number in range(1, rounds + 1):
        primary = await cluster.wait_primary()
        began = time.monotonic()
        await nodes.kill(primary)
        elected = await cluster.wait_primary(other_than=primary)
        elected_s = time.monotonic() - began
        await asyncio.sleep(SETTLE_S)
        gaps_ms.append(load.longest_gap_ms(began))
        await nodes.start(primary)
        await cluster.wait_ready()
        await asyncio.sleep(SETTLE_S)
        whole_ms.append(load.longest_gap_ms(began))
        say(
            f"kill {number}: {primary} → {elected} in {elected_s:.2f} s, longest gap {gaps_ms[-1]:.0f} ms "
            f"({whole_ms[-1]:.0f} ms until {primary} was back), {load.failed_reads} failed"
        )
    return gaps_ms, whole_ms


async def switchover_rounds(cluster: RunningCluster, load: ReadLoad, rounds: int) -> list[float]:
    """The longest gap of each round, in milliseconds."""
    stub = coordinator_pb2_grpc.CoordinatorServiceStub(cluster.channel(cluster.endpoints["coordinator"]))
    gaps_ms = []
    for number in range(1, rounds + 1):
        began = time.monotonic()
        answer = await stub.Switchover(coordinator_pb2.SwitchoverRequest(), timeout=30)
        took_ms = (time.monotonic() - began) * 1e3
        await asyncio.sleep(SETTLE_S)
        gaps_ms.append(load.longest_gap_ms(began))
        say(
            f"switchover {number}: {answer.from_node} → {answer.to_node} in {took_ms:.0f} ms "
            f"({answer.took_ms} ms without a primary), longest gap {gaps_ms[-1]:.0f} ms, {load.failed_reads} failed"
        )
    return gaps_ms


async def restart_behind(cluster: RunningCluster, nodes: Respawner, member_ids: list[str], behind: int) -> float:
    """Seconds from the start of a node that lacks `behind` updates until it has them and is ready."""
    primary = await cluster.wait_primary()
    name = next(node for node in cluster.node_names if node != primary)
    await nodes.kill(name)
    position = await push(cluster, f"behind-{time.time_ns()}", member_ids, behind)
    began = time.monotonic()
    await nodes.start(name)

    async def is_ready() -> bool:
        status = (await cluster.node_status(name)).status
        return status.state == coordinator_pb2.NODE_STATE_PASSIVE and status.position >= position

    await wait_for(is_ready, 120, f"{name} to be ready")
    ready_s = time.monotonic() - began
    used_s = nodes.processor_s(name)
    say(f"restart with {behind:,} updates behind: ready in {ready_s:.2f} s, {used_s:.2f} s of processor time")
    return ready_s


async def measure(rounds: int, members: int, behind: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fasttree-failover-") as name:
        folder = Path(name)
        say(f"makes a genealogy of {members:,} members")
        genealogy = make_genealogy(members, seed=1, roots=1)
        write_genealogy(genealogy, folder / "members.csv")
        member_ids = [text.decode() for text in genealogy.ids.tolist()]
        say("starts a cluster; a first start compiles the kernels, which takes a minute or two")
        async with running_cluster(folder / "cluster", arguments=("--no-restart",), tell=say) as cluster:
            say("imports the members")
            async with Client.from_endpoints_file(cluster.folder / "endpoints.json") as client:
                manifest = await client.upload_import(folder / "members.csv")
                states = [status async for status in client.watch_import(manifest.import_id, patience_s=600)]
            if states[-1].state != pusher_pb2.IMPORT_STATE_DONE:
                raise RuntimeError(f"the import was not taken: {states[-1].nodes}")
            await cluster.wait_ready()
            say(f"{members:,} members in, {len(cluster.node_names)} nodes")
            nodes = Respawner(cluster)
            try:
                return await _rounds(cluster, nodes, member_ids, rounds, behind)
            finally:
                await nodes.stop()


async def _rounds(
    cluster: RunningCluster, nodes: Respawner, member_ids: list[str], rounds: int, behind: int
) -> dict[str, Any]:
    flow = asyncio.create_task(trickle(cluster, member_ids, 100.0))
    async with ReadLoad(cluster.channel(cluster.endpoints["vip"]), member_ids, READS_PER_S) as load:
        await asyncio.sleep(SETTLE_S)
        election_ms, kill_ms = await kill_rounds(cluster, load, nodes, rounds)
        switchover_ms = await switchover_rounds(cluster, load, rounds)
    if flow.done():
        flow.result()
    flow.cancel()
    for failure, count in load.failures.most_common(5):
        say(f"failed {count} times: {failure}")
    restart_s = await restart_behind(cluster, nodes, member_ids, behind)
    return {
        "rounds": rounds,
        "reads": load.reads,
        "failed_reads": load.failed_reads,
        "longest_gap_ms_kill": round(max(kill_ms)),
        "longest_gap_ms_election": round(max(election_ms)),
        "median_gap_ms_kill": round(statistics.median(kill_ms)),
        "longest_gap_ms_switchover": round(max(switchover_ms)),
        "median_gap_ms_switchover": round(statistics.median(switchover_ms)),
        "restart_ready_s": round(restart_s, 2),
    }


def main() -> int:
    """The command line; exit code 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=20, help="kills, and as many switchovers")
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--behind", type=int, default=100_000, help="updates that the restarted node lacks")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.rounds, arguments.members, arguments.behind))
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
