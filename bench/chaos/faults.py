"""Faults that a whole cluster on this machine can suffer, each with the way back.

Rules that keep the verdict honest: a fault touches at most one tree node, and the next one begins only when the cluster
is whole again, so that a ready node can be reached from the VIP at every moment, and no read has an excuse to fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import RunningCluster, wait_for

RESTART_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: What happens, as the log says it.
        inject: Does it and undoes it; the cluster may still be coming back when it returns.
    """

    name: str
    inject: Callable[[], Awaitable[None]]


class Faults:
    """Draws faults for a cluster."""

    def __init__(
        self, cluster: RunningCluster, draw: random.Random, *, network: bool, pusher_disk: Path | None
    ) -> None:
        self._cluster = cluster
        self._draw = draw
        self._network = network
        self._pusher_disk = pusher_disk

    async def next_fault(self) -> Fault:
        """The next fault, drawn at random."""
        cluster = self._cluster
        node = self._draw.choice(cluster.node_names)
        primary = (await cluster.cluster()).primary or node
        length_s = self._draw.uniform(0.3, 3.0)
        choices = [
            Fault(f"kill {primary} (the primary)", lambda: self._kill(primary)),
            Fault(f"kill {node}", lambda: self._kill(node)),
            Fault("kill the pusher", lambda: self._kill("pusher")),
            Fault("kill the coordinator", lambda: self._kill("coordinator")),
            Fault(f"stop {primary} (the primary) for {length_s:.1f} s", lambda: self._freeze(primary, length_s)),
            Fault(f"stop the pusher for {length_s:.1f} s", lambda: self._freeze("pusher", length_s)),
            Fault(f"stop the coordinator for {length_s:.1f} s", lambda: self._freeze("coordinator", length_s)),
            Fault(f"damage the newest snapshot of {node} and kill it", lambda: self._damage_snapshot(node)),
            Fault(f"end {node} in order", lambda: self._kill(node, signal.SIGTERM)),
        ]
        if self._network:
            choices += self._partitions(node, length_s)
        if self._pusher_disk is not None:
            choices.append(Fault(f"fill the pusher's disk for {length_s:.1f} s", lambda: self._fill_disk(length_s)))
        return self._draw.choice(choices)

    def _partitions(self, node: str, length_s: float) -> list[Fault]:
        cluster = self._cluster
        links = {
            f"the pusher from {node}": cluster.node(node)["instant"],
            f"the VIP from {node}": cluster.node(node)["report"],
            "everyone from the coordinator": cluster.endpoints["coordinator"],
            "everyone from the pusher": cluster.endpoints["pusher"],
        }
        return [
            Fault(f"cut off {who} for {length_s:.1f} s", functools.partial(self._cut, address, length_s))
            for who, address in links.items()
        ]

    async def whole_again(self) -> None:
        """Waits until every process is up, every node ready, and one primary."""
        await self._cluster.wait_ready(timeout_s=RESTART_TIMEOUT_S)
        await wait_for(self._all_connected, RESTART_TIMEOUT_S, "the pusher to have a stream to every node")

    async def _all_connected(self) -> bool:
        nodes = (await self._cluster.pusher()).nodes
        connected = [node.node for node in nodes if node.connected]
        return set(connected) >= set(self._cluster.node_names)

    async def _kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> None:
        old_pid = self._cluster.kill(part, number)

        async def started_again() -> bool:
            return self._cluster.pid_of(part) != old_pid

        await wait_for(started_again, RESTART_TIMEOUT_S, f"{part} to be started again")

    async def _freeze(self, part: str, length_s: float) -> None:
        self._cluster.kill(part, signal.SIGSTOP)
        try:
            await asyncio.sleep(length_s)
        finally:
            self._cluster.kill(part, signal.SIGCONT)

    async def _damage_snapshot(self, node: str) -> None:
        folder = self._cluster.folder / node
        snapshots = sorted(folder.rglob("*.snapshot"), key=lambda path: path.stat().st_mtime)
        if snapshots:
            with snapshots[-1].open("r+b") as file:
                size = file.seek(0, 2)
                file.seek(self._draw.randrange(size))
                byte = file.read(1)
                file.seek(-1, 1)
                file.write(bytes([byte[0] ^ 0x10]))
        await self._kill(node)

    async def _cut(self, address: str, length_s: float) -> None:
        port = address.rpartition(":")[2]
        rules = [["INPUT", "-i", "lo", "-p", "tcp", side, port, "-j", "DROP"] for side in ("--dport", "--sport")]
        for rule in rules:
            _iptables("-I", *rule)
        try:
            await asyncio.sleep(length_s)
        finally:
            for rule in rules:
                _iptables("-D", *rule)

    async def _fill_disk(self, length_s: float) -> None:
        assert self._pusher_disk is not None
        ballast = self._pusher_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(64 * 1024)):
                pass
        try:
            await asyncio.sleep(length_s)
        finally:
            ballast.unlink()


def _iptables(*arguments: str) -> None:
    subprocess.run(["iptables", *arguments], check=True)
