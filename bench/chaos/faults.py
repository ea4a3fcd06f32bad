"""Faults that a whole cluster on this machine can suffer, each with the way back.

Rules that keep the verdict honest: a fault touches at most one tree node, and the next one begins only when the cluster
is whole again, so that a ready node can be reached from the VIP at every moment, and no read has an excuse to fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.chaos.imports import Imports
from bench.chaos.links import LinkState
from bench.chaos.months import Months
from bench.chaos.poison import Poison
from bench.chaos.up import control_path
from bench.cluster.cluster import RunningCluster, wait_for
from fasttree.client import Client, FastTreeClientError
from fasttree.command.local.parts import COORDINATOR, PUSHER, VIP

RESTART_TIMEOUT_S = 60.0
#: As `fasttree up` names it.
CLUSTER = "dot-local"


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        kind: What happens, as it is counted.
        detail: To whom, and how long.
        inject: Does it and undoes it; the cluster may still be coming back when it returns.
    """

    kind: str
    detail: str
    inject: Callable[[], Awaitable[None]]


class Faults:
    """Draws faults for a cluster."""

    def __init__(
        self,
        cluster: RunningCluster,
        client: Client,
        imports: Imports,
        poison: Poison,
        months: Months,
        draw: random.Random,
        *,
        network: bool,
        pusher_disk: Path | None,
    ) -> None:
        self._cluster = cluster
        self._client = client
        self._imports = imports
        self._poison = poison
        self._months = months
        self._draw = draw
        self._network = network
        self._pusher_disk = pusher_disk

    async def next_fault(self) -> Fault:
        """The next fault, drawn at random."""
        cluster = self._cluster
        node = self._draw.choice(cluster.node_names)
        primary = (await cluster.cluster()).primary or node
        length_s = self._draw.uniform(0.3, 3.0)
        lasts = f" for {length_s:.1f} s"
        choices = [
            Fault("kill the primary", primary, functools.partial(self._kill, primary)),
            Fault("kill a node", node, functools.partial(self._kill, node)),
            Fault("kill the pusher", "", functools.partial(self._kill, PUSHER)),
            Fault("kill the coordinator", "", functools.partial(self._kill, COORDINATOR)),
            Fault("stop the primary", f"{primary}{lasts}", functools.partial(self._freeze, primary, length_s)),
            Fault("stop the pusher", lasts, functools.partial(self._freeze, PUSHER, length_s)),
            Fault("stop the coordinator", lasts, functools.partial(self._freeze, COORDINATOR, length_s)),
            Fault("damage a snapshot", f"of {node}, and kill it", functools.partial(self._damage_snapshot, node)),
            Fault("end a node", f"{node}, in order", functools.partial(self._kill, node, signal.SIGTERM)),
            Fault("switch over", "", self._switch_over),
            Fault("poison an update", "and skip it", self._poison.push_and_skip),
            Fault("end a month", "", self._months.end_one),
            Fault("change settings", f"of {node}, and kill it", functools.partial(self._change_settings, node)),
        ]
        if await self._imports.settled():
            choices.append(Fault("push an import", "", self._imports.push))
        if self._network:
            choices += self._partitions(node, length_s)
        if self._pusher_disk is not None:
            detail = f"the pusher's, for {length_s:.1f} s"
            choices.append(Fault("fill a disk", detail, functools.partial(self._fill_disk, length_s)))
        # There are as many links as pairs of parts: a third of the faults is theirs.
        return self._link_fault(length_s) if self._draw.random() < 0.35 else self._draw.choice(choices)

    def _partitions(self, node: str, length_s: float) -> list[Fault]:
        cluster = self._cluster
        ports = {
            f"{node}'s instant port": cluster.node(node)["instant"],
            f"{node}'s report port": cluster.node(node)["report"],
            "the coordinator": cluster.endpoints["coordinator"],
            "the pusher": cluster.endpoints["pusher"],
        }
        return [
            Fault("drop packets", f"of {whose} for {length_s:.1f} s", functools.partial(self._cut, address, length_s))
            for whose, address in ports.items()
        ]

    def _link_fault(self, length_s: float) -> Fault:
        links = json.loads(control_path(self._cluster.folder).with_suffix(".json").read_text())
        link = self._draw.choice(sorted(links))
        kind = self._draw.choice(("cut", "delay", "break"))
        if kind == "cut":
            state = LinkState(cut=True)
        elif kind == "delay":
            # As long as a heartbeat's interval, or as a lease.
            state = LinkState(delay_s=self._draw.choice((0.02, 0.1, 0.3, 1.0)))
        else:
            # A response whose head is with the client already can't be asked for again by any VIP: those links break
            # between messages, the others anywhere.
            state = LinkState(break_after_bytes=0 if link.startswith(f"{VIP}-") else self._draw.randrange(2_000))
        detail = f"{link} for {length_s:.1f} s" + (f", by {state.delay_s:g} s" if state.delay_s else "")
        return Fault(f"{kind} a link", detail, functools.partial(self._spoil_link, link, state, length_s))

    async def _spoil_link(self, link: str, state: LinkState, length_s: float) -> None:
        await self._set_link(link, state)
        try:
            await asyncio.sleep(length_s)
        finally:
            await self._set_link(link, LinkState())

    async def _set_link(self, link: str, state: LinkState) -> None:
        reader, writer = await asyncio.open_unix_connection(control_path(self._cluster.folder))
        writer.write(json.dumps({"link": link, **asdict(state)}).encode() + b"\n")
        await reader.readline()
        writer.close()

    async def _switch_over(self) -> None:
        # A refusal (the target has just failed to catch up, say) is an answer too.
        with contextlib.suppress(FastTreeClientError):
            await self._client.switchover()

    async def whole_again(self) -> None:
        """Waits until every process is up, every node ready, and one primary."""
        await self._cluster.wait_ready(timeout_s=RESTART_TIMEOUT_S)
        await wait_for(self._all_connected, RESTART_TIMEOUT_S, "the pusher to have a stream to every node")

    async def _all_connected(self) -> bool:
        nodes = (await self._cluster.pusher()).nodes
        connected = [node.node for node in nodes if node.connected and not node.halted_before]
        return set(connected) >= set(self._cluster.node_names)

    async def _kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> None:
        old_pid = self._cluster.kill(part, number)

        async def started_again() -> bool:
            return self._cluster.pid_of(part) != old_pid

        await wait_for(started_again, RESTART_TIMEOUT_S, f"{part} to be started again")

    async def _change_settings(self, node: str) -> None:
        """Writes other rules into the settings: a node that begins with them takes nothing of them.

        Other parts read them only when they are started again for another reason.
        """
        year = self._draw.randrange(2030, 2040)
        text = f'[cluster]\nname = "{CLUSTER}"\nvolume_types = ["QV", "PV"]\nperiods = ["{year}-01"]\n'
        (self._cluster.folder / "cluster.toml").write_text(f"{text}import_removed_percent_max = 0.5\n")
        await self._kill(node)

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
