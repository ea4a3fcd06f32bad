"""Rounds in which a machine with all that acts is lost: active coordinator, primary, active pusher."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from bench.chaos.machines import Orders, gather_on_one, running_machines
from bench.cluster.judge import judge_log
from bench.cluster.read_load import ReadLoad
from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.engine.update_mix import update_mix
from bench.failover import say
from bench.rivals.postgres_replicas import replicated_postgres
from fasttree.v1 import pusher_pb2

#: Loopback alone, and as durable as it comes.
_SERVER = "listen_addresses = ''\nshared_buffers = 64MB\nmax_wal_size = 1GB\n"
#: Receipts before a machine is lost, and after it until a round's pause is taken.
_BETWEEN = 200


async def measure_machines(members: int, count: int, *, frozen: bool, logs: Path | None) -> dict[str, int]:
    """The pause of pushes in each round; what the log says, and how many reads failed, at the end.

    `frozen`: the machine says nothing any more, and no connection of its ends.
    """
    genealogy = make_genealogy(members, seed=1, roots=1)
    ids = [text.decode() for text in genealogy.ids.tolist()]
    root = ids[int((genealogy.sponsor < 0).argmax())]
    pauses_ms = []
    with tempfile.TemporaryDirectory(prefix="fasttree-changeovers-") as name:
        folder = Path(name) if logs is None else logs
        folder.mkdir(parents=True, exist_ok=True)
        write_genealogy(genealogy, folder / "members.csv")
        async with AsyncExitStack() as stack:
            server = stack.enter_context(replicated_postgres(_SERVER, standbys=()))
            machines = await stack.enter_async_context(running_machines(folder / "cluster", server.url()))
            manifest = await machines.client.upload_import(folder / "members.csv")
            states = [status.state async for status in machines.client.watch_import(manifest.import_id)]
            if states[-1] != pusher_pb2.IMPORT_STATE_DONE:
                raise RuntimeError("the import was not taken")
            orders = Orders(machines.client, update_mix(1, [each for each in ids if each != root], 1_000_000))
            channel = machines.cluster.channel(machines.cluster.endpoints["vip"])
            load = await stack.enter_async_context(ReadLoad(channel, [root]))
            pushing = asyncio.create_task(orders.run())
            for number in range(count):
                lost = await gather_on_one(machines)
                await orders.wait_for_more(_BETWEEN)
                first = len(orders.receipts)
                await machines.do("stop" if frozen else "kill", lost)
                await orders.wait_for_more(_BETWEEN)
                pauses_ms.append(orders.longest_gap_ms(first))
                say(f"{lost} {'frozen' if frozen else 'killed'} {number + 1}: {pauses_ms[-1]} ms")
                await machines.do("start", lost)
                await machines.wait_whole()
            orders.end()
            await pushing
            verdict = await judge_log(machines.client, orders.receipts)
            failed = load.failed_reads
            say(f"reads that failed: {dict(load.failures)}")
    return {
        "machine_lost_ms": max(pauses_ms),
        "machine_lost_ms_median": round(statistics.median(pauses_ms)),
        "failed_reads": failed,
        "lost": len(verdict.lost),
        "twice": len(verdict.twice),
    }
