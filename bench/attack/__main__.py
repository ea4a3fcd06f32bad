"""Attacks a live cluster with what no honest client sends: `make attack`.

Real processes, as `fasttree up` starts them. Each attack is a process of its own; beside it an honest client reads
through the VIP and another one pushes orders. After each, the judge looks: no other primary, no process ended, no read
failed, memory within bounds, and the attack's own answers were right. At the end the log has every order once, and
the nodes have one digest.

The last line is JSON: attacks, held_off, not_held_off, role_changes, ended, failed_reads, longest_gap_ms,
memory_added_mb, lost, twice, digests_equal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.attack.doors import ATTACKS
from bench.attack.files import GOOD_FILE
from bench.cluster.cluster import RunningCluster, resident_mb, running_cluster, wait_for
from bench.cluster.judge import judge_log
from bench.cluster.read_load import ReadLoad
from bench.engine.genealogy import make_genealogy, write_genealogy
from fasttree.client import Client, PushOptions, UploadOptions
from fasttree.v1 import pusher_pb2, types_pb2

READS_PER_S = 50.0
#: An honest client waits so long for an answer, in seconds, and does not ask again.
READ_DEADLINE_S = 10.0
ORDERS_PER_S = 20.0
#: All processes together may take so much more memory in an attack, in megabytes.
MEMORY_ADDED_MB_MAX = 1_500
ATTACK_S_MAX = 900.0
POLL_S = 0.25


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Standing:
    """What no attack may change: the roles, and the processes."""

    epoch: int
    primary: str
    pids: dict[str, int]

    @classmethod
    async def of(cls, cluster: RunningCluster) -> Standing:
        """As it is now."""
        seen = await cluster.cluster()
        parts = (*cluster.endpoints["pids"], *cluster.node_names)
        return cls(seen.epoch, seen.primary, {part: cluster.pid_of(part) for part in parts})


class Memory:
    """The resident memory of a cluster's processes, looked at in the background."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._before_mb = self._now_mb()
        self._most_mb = self._before_mb

    def _now_mb(self) -> float:
        return sum(map(resident_mb, self._pids))

    @property
    def added_mb(self) -> int:
        """The most that there was beyond the beginning."""
        return round(self._most_mb - self._before_mb)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self._most_mb = max(self._most_mb, self._now_mb())
            await asyncio.sleep(POLL_S)


class Orders:
    """An honest client's orders, at a steady rate, each with its receipt."""

    def __init__(self, client: Client, member_ids: list[str]) -> None:
        self._client = client
        self._member_ids = member_ids
        self._ended = False
        self.sent = 0
        self.receipts: list[pusher_pb2.Receipt] = []

    def end(self) -> None:
        """No new ones; `run` returns once all have receipts."""
        self._ended = True

    async def _updates(self) -> AsyncIterator[types_pb2.Update]:
        while not self._ended:
            member_id = self._member_ids[self.sent % len(self._member_ids)]
            order = types_pb2.VolumePosted(member_id=member_id, amount_hundredths=100)
            yield types_pb2.Update(update_id=f"honest-{self.sent}", volume_posted=order)
            self.sent += 1
            await asyncio.sleep(1 / ORDERS_PER_S)

    async def run(self) -> None:
        """Pushes until `end`."""
        async for receipt in self._client.push(self._updates(), PushOptions(patience_s=120)):
            self.receipts.append(receipt)

    @property
    def lost(self) -> int:
        """Those that were sent and not acknowledged."""
        return self.sent - sum(receipt.code == 0 for receipt in self.receipts)


@dataclass
class Verdict:
    """What came of all attacks so far."""

    not_held_off: dict[str, str]
    held_off: int = 0
    role_changes: int = 0
    ended: int = 0
    memory_added_mb: int = 0


async def attack(name: str, cluster: RunningCluster, arguments: list[str], verdict: Verdict, load: ReadLoad) -> None:
    """One attack, and what it changed."""
    before = await Standing.of(cluster)
    failed = load.failed_reads
    memory = Memory(before.pids.values())
    watch = asyncio.create_task(memory.watch())
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.attack.doors", name, str(cluster.folder), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), ATTACK_S_MAX)
        told = output.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
    except TimeoutError:
        process.kill()
        told = [f"not over within {ATTACK_S_MAX:.0f} s"]
    await cluster.wait_ready(timeout_s=120)
    watch.cancel()
    after = await Standing.of(cluster)
    wrong = [*told] if process.returncode else []
    ended = [part for part, pid in before.pids.items() if after.pids.get(part) != pid]
    if ended:
        wrong.append(f"ended: {', '.join(ended)}")
    if after.epoch != before.epoch:
        wrong.append(f"epoch {before.epoch} became {after.epoch}: {before.primary} gave way to {after.primary}")
    if load.failed_reads > failed:
        wrong.append(f"{load.failed_reads - failed} honest reads failed: {dict(load.failures)}")
    if memory.added_mb > MEMORY_ADDED_MB_MAX:
        wrong.append(f"{memory.added_mb:,} MB more memory")
    verdict.role_changes += after.epoch - before.epoch
    verdict.ended += len(ended)
    verdict.memory_added_mb = max(verdict.memory_added_mb, memory.added_mb)
    if wrong:
        verdict.not_held_off[name] = "; ".join(wrong)
    else:
        verdict.held_off += 1
    took = f"{time.monotonic() - started:.0f} s, {memory.added_mb} MB more"
    say(f"{name}: {'NOT HELD OFF: ' + '; '.join(wrong) if wrong else 'held off: ' + told[0]} ({took})")


async def run(names: list[str], members: int, scale: float, folder: Path) -> dict[str, Any]:
    """All attacks, one after another; returns the figures of the last line."""
    genealogy = make_genealogy(members, seed=1, roots=1)
    member_ids = [text.decode() for text in genealogy.ids.tolist()]
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(folder))
        file = folder / GOOD_FILE
        await asyncio.to_thread(write_genealogy, genealogy, file)
        client = await stack.enter_async_context(Client.from_endpoints_file(folder / "endpoints.json"))
        await client.upload_import(file, UploadOptions(as_of_position=0))
        await wait_for(_imported(cluster), 120, "the tree to be there")
        await cluster.wait_ready()
        orders = Orders(client, member_ids)
        pushing = asyncio.create_task(orders.run())
        verdict = Verdict({})
        channel = cluster.channel(cluster.endpoints["vip"])
        async with ReadLoad(channel, member_ids, rate_per_s=READS_PER_S, deadline_s=READ_DEADLINE_S) as load:
            arguments = ["--scale", str(scale), "--members", str(members)]
            for number, name in enumerate(names, 1):
                say(f"{number} of {len(names)}: {name}")
                await attack(name, cluster, arguments, verdict, load)
        orders.end()
        await pushing
        judged = await judge_log(client, orders.receipts)
        # Nodes hold the same once they serve the same: an attack may have left honest files, which roll out yet.
        await wait_for(_settled(cluster), 120, "every rollout to be over")
        log_end = (await cluster.pusher()).log_end
        end = log_end.position
        await cluster.wait_applied(end, import_id=log_end.import_id)
        digests = {(await cluster.digest(name, end)).digest for name in cluster.node_names}
        return {
            "attacks": len(names),
            "held_off": verdict.held_off,
            "not_held_off": verdict.not_held_off,
            "role_changes": verdict.role_changes,
            "ended": verdict.ended,
            "reads": load.reads,
            "failed_reads": load.failed_reads,
            "longest_gap_ms": round(load.longest_gap_ms()),
            "memory_added_mb": verdict.memory_added_mb,
            "orders": orders.sent,
            "lost": len(judged.lost) + orders.lost,
            "twice": len(judged.twice),
            "digests_equal": len(digests) == 1,
        }


def _imported(cluster: RunningCluster) -> Callable[[], Awaitable[bool]]:
    async def imported() -> bool:
        imports = (await cluster.pusher()).imports
        return bool(imports) and imports[0].state == pusher_pb2.IMPORT_STATE_DONE

    return imported


def _settled(cluster: RunningCluster) -> Callable[[], Awaitable[bool]]:
    under_way = (pusher_pb2.IMPORT_STATE_WAITING, pusher_pb2.IMPORT_STATE_ROLLING_OUT)

    async def settled() -> bool:
        return not [each for each in (await cluster.pusher()).imports if each.state in under_way]

    return settled


def main() -> None:
    """Runs, prints the figures, and exits 1 where an attack was not held off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each attack")
    parser.add_argument("--only", nargs="*", choices=ATTACKS, default=list(ATTACKS), help="these attacks alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fasttree-attack-") as name:
        figures = asyncio.run(run(arguments.only, arguments.members, arguments.scale, Path(name)))
    print(json.dumps(figures))
    if figures["not_held_off"] or figures["lost"] or figures["twice"] or not figures["digests_equal"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
