"""Three machines with the engines' servers on them: whole machines lost, engine servers alone, and two at once.

A machine is a coordinator, a node, a pusher and the servers of its engines. Of everything that there are three of, two
stay: where two faults come at once, they are the parts of one machine and the servers of another one. The next fault
begins when all is whole again. What clients saw is held against the history of one log (`bench/cluster/history.py`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.chaos.machines import MACHINES, LocalMachines, gather_on_one, running_machines
from bench.chaos.pushing import Pushing
from bench.cluster.history import problems
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.cluster.read_load import ReadLoad
from bench.engine.genealogy import make_genealogy, write_genealogy
from bench.servers.machine_engines import MachineEngines, machine_engines
from fasttree.v1 import pusher_pb2

#: The kinds of faults, each with what it takes: the parts of one machine, the servers of one.
MACHINE, SERVERS, BOTH = "a machine", "engine servers", "parts of one and engine servers of another"
_READS_PER_S, _READ_DEADLINE_S = 50.0, 10.0
#: Between two faults, so that each is met by orders that come again.
_QUIET_RECEIPTS, _QUIET_S_MAX = 100, 60.0


class EngineFaults:
    """Draws faults, and does them."""

    def __init__(
        self,
        machines: LocalMachines,
        engines: MachineEngines,
        pushing: Pushing,
        draw: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self._machines, self._engines, self._pushing = machines, engines, pushing
        self._draw, self._say = draw, say
        self.counts: Counter[str] = Counter()
        #: By kind, the longest time without a receipt in each of its faults, in milliseconds.
        self.pauses_ms: dict[str, list[int]] = defaultdict(list)

    async def go_on(self, seconds: float) -> None:
        """One after another, for so long."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            await self._one()
            await self._quiet()

    async def _one(self) -> None:
        draw = self._draw
        kind = draw.choice((MACHINE, SERVERS, BOTH))
        parts = await self._machine_of_parts() if kind != SERVERS else 0
        servers = draw.randint(1, MACHINES)
        if kind == MACHINE:
            servers = parts
        elif kind == BOTH:
            servers = draw.choice([number for number in range(1, MACHINES + 1) if number != parts])
        frozen, empty = draw.random() < 0.4, draw.random() < 0.3
        how = "frozen" if frozen else "killed"
        first, begun_s = len(self._pushing.pushes), time.monotonic()
        lost: list[asyncio.Future[Any]] = []
        if parts:
            lost.append(asyncio.ensure_future(self._machines.do("stop" if frozen else "kill", f"M{parts}")))
        lost.append(asyncio.ensure_future(asyncio.to_thread(self._engines.lose, servers, frozen=frozen)))
        done = await asyncio.gather(*lost)
        self._say(f"{kind}, {how}: {f'parts of M{parts}, ' if parts else ''}{done[-1]}")
        self.counts[f"{kind}, {how}"] += 1
        await self._receipts(first + 1)
        await asyncio.sleep(draw.uniform(0.5, 5.0))
        await asyncio.to_thread(self._engines.give_back, servers)
        if parts:
            await self._machines.do("empty" if empty else "start", f"M{parts}")
        await self._machines.wait_whole()
        self.pauses_ms[kind].append(self._pause_ms(first, begun_s))
        self._say(f"whole again after {time.monotonic() - begun_s:.0f} s; pushes paused {self.pauses_ms[kind][-1]} ms")

    async def _machine_of_parts(self) -> int:
        """Half of the time the one with all that acts."""
        if self._draw.random() < 0.5:
            return int((await gather_on_one(self._machines))[1:])
        return self._draw.randint(1, MACHINES)

    async def _quiet(self) -> None:
        await self._receipts(len(self._pushing.pushes) + _QUIET_RECEIPTS)

    async def _receipts(self, count: int) -> None:
        """Until there are so many. Raises RuntimeError where they don't come: a majority is there."""
        deadline_s = time.monotonic() + _QUIET_S_MAX
        while len(self._pushing.pushes) < count:
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"no receipts for {_QUIET_S_MAX:g} s, though a majority of everything is there")
            await asyncio.sleep(0.05)

    def _pause_ms(self, first: int, begun_s: float) -> int:
        came_s = [begun_s, *(push.ended_s for push in self._pushing.pushes[first:])]
        return round(1_000 * max((later - earlier for earlier, later in pairwise(came_s)), default=0.0))


async def run_engines(
    kind: str, seconds: float, seed: int, members: int, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """One run; returns the figures of the last line. `kind`: as `machine_engines` has it."""
    genealogy = make_genealogy(members, seed=seed, roots=1)
    path = folder / "members.csv"
    write_genealogy(genealogy, path)
    ids = [text.decode() for text in genealogy.ids.tolist()]
    root = ids[int((genealogy.sponsor < 0).argmax())]
    async with AsyncExitStack() as stack:
        engines = stack.enter_context(machine_engines(kind, folder / "engines"))
        machines = await stack.enter_async_context(
            running_machines(folder / "cluster", engines.url, settings=engines.settings)
        )
        client, cluster = machines.client, machines.cluster
        manifest = await client.upload_import(path)
        states = [status.state async for status in client.watch_import(manifest.import_id)]
        if states[-1] != pusher_pb2.IMPORT_STATE_DONE:
            raise RuntimeError("the import was not taken")
        await machines.wait_whole()
        pushing = Pushing(client, [each for each in ids if each != root], seed)
        faults = EngineFaults(machines, engines, pushing, random.Random(seed), say)
        channel = cluster.channel(cluster.endpoints["vip"])
        async with ReadLoad(channel, [root], _READS_PER_S, _READ_DEADLINE_S) as load:
            push = asyncio.create_task(pushing.run())
            reading = asyncio.create_task(pushing.read(channel, root))
            await faults.go_on(seconds)
            pushing.end()
            await push
            reading.cancel()
        say("judging")
        verdict = await judge_log(client, pushing.receipts)
        tree = await asyncio.to_thread(replay, path, verdict.updates)
        differing = await differing_nodes(cluster, tree)
        unexplained = problems(pushing.pushes, pushing.reads)
        for problem in [*unexplained, *(f"{name} differs from the replay" for name in differing)]:
            say(problem)
        return {
            "engines": kind,
            "reads": load.reads,
            "failed_reads": load.failed_reads,
            "failures": dict(load.failures),
            "longest_gap_ms": round(load.longest_gap_ms()),
            "pushed": len(pushing.receipts),
            "lost": len(verdict.lost),
            "twice": len(verdict.twice),
            "linearizable": not unexplained,
            "reads_of_a_position": len(pushing.reads),
            "digests_equal": not differing,
            "longest_push_pause_ms": {name: max(pauses) for name, pauses in sorted(faults.pauses_ms.items())},
            "faults": dict(sorted(faults.counts.items())),
            "seed": seed,
        }
