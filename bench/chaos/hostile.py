"""Who means no good beside the faults: a reader, somebody who drops files, and a neighbour who keeps the disk busy.

Each is a process of its own, so that none of it is the judge's work. What they are answered is not judged here, since
nodes go and come: that is `make attack`'s. Here the others must not notice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.attack.files import NEVER_TAKEN, BadItems
from bench.attack.floods import ATTACKS as FLOODS
from bench.attack.reports import ATTACKS as REPORTS
from bench.cluster.cluster import RunningCluster

_SCALE = 0.2
_PAUSE_S = 0.5
#: What the neighbour writes before it waits for the disk.
_PIECE_BYTES = 16 << 20
_PIECES = 16


class Hostile:
    """All three, while it is open."""

    def __init__(self, cluster: RunningCluster, members: int, seed: int) -> None:
        self._cluster, self._members = cluster, members
        self._draw = random.Random(seed)
        self._tasks: list[asyncio.Task[None]] = []
        #: What was done so far.
        self.attacks = self.drops = 0

    async def __aenter__(self) -> Hostile:
        loops: tuple[Callable[[], Awaitable[None]], ...] = (self._read, self._drop, self._write)
        self._tasks = [asyncio.create_task(self._forever(each)) for each in loops]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def figures(self) -> dict[str, Any]:
        """What was done, and what should never have been taken."""
        done = self._cluster.folder / "upload" / "done"
        taken = [path.name for path in done.iterdir() if path.name.startswith(NEVER_TAKEN)] if done.exists() else []
        return {"attacks": self.attacks, "drops": self.drops, "taken": taken}

    async def _forever(self, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            await once()
            await asyncio.sleep(_PAUSE_S)

    async def _read(self) -> None:
        attack = self._draw.choice([*REPORTS, *FLOODS]).__name__
        arguments = ("--scale", str(_SCALE), "--members", str(self._members))
        await self._process("bench.attack.doors", attack, str(self._cluster.folder), *arguments)
        self.attacks += 1

    async def _drop(self) -> None:
        await self._process("bench.chaos.hostile", "drop", str(self._cluster.folder))
        self.drops += 1

    async def _write(self) -> None:
        await self._process("bench.chaos.hostile", "write", str(self._cluster.folder))

    async def _process(self, *module_and_arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *module_and_arguments),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def drop(folder: Path) -> None:
    """One bad thing of each kind into the upload folder, those apart that a node would have to refuse."""
    good = folder / "dropped.csv"
    good.write_text("member_id,sponsor_id\n1,\n")
    secret = folder / "secret"
    secret.write_text("member_id,sponsor_id\nSECRET,\n")
    items = BadItems(folder / "upload", good, secret)
    for put in items.all_of_them():
        if put != items.contents:
            try:
                put()
            except FileExistsError:
                continue  # the last one is not gone yet


def write(folder: Path) -> None:
    """A neighbour's file, each piece waited for."""
    path = folder / "neighbour"
    with path.open("wb") as file:
        for _ in range(_PIECES):
            file.write(os.urandom(_PIECE_BYTES))
            os.fsync(file.fileno())
    path.unlink()


def main() -> None:
    """One turn of one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("drop", "write"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    (drop if arguments.what == "drop" else write)(arguments.folder)


if __name__ == "__main__":
    main()
