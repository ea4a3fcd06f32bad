"""What it costs that state on disk is sealed: orders to every node, and a snapshot on its way to the disk and back.

Two clusters stand beside each other, as `fasttree up` starts them, one of them with a file of keys, and take orders in
turns, as in `bench.tls`: until every node has applied the last. Snapshots are a node's own writing and reading of a
state of so many megabytes, both ways in turns, durable each time.

The last line is JSON: sealed_orders_ratio (sealed to clear, medians of the rounds), and what the pusher spends on an
order (sealed_pusher_cpu_ratio), which a busy machine changes less; sealed_save_ratio and sealed_read_ratio, of seconds;
and the figures that they are made of. `make bench-sealing`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import uvloop

from bench.engine.genealogy import Genealogy, make_genealogy
from bench.fanout import loaded_cluster, say
from bench.tls.__main__ import orders
from services.shared.files.durable import open_new
from services.shared.files.sealed.keys import new_key_line, parse_keys
from services.shared.files.sealed.own import keys_for_now
from services.treenode.snapshots.background_send import warm_up as warm_up_sealing
from services.treenode.snapshots.background_write import warm_up as warm_up_writing
from services.treenode.snapshots.state_file import StateLayout, read_state
from services.treenode.snapshots.state_writing import StateWriting

CLEAR, SEALED = "clear", "sealed"
_TIMEOUT_S = 600.0
#: One array of a tree, more or less.
_ARRAY_MB = 8


class Found:
    """Figures of all rounds."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def keep(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(value)
        say(f"{name} {value:,.3f}")

    def figures(self, **ratios: str) -> dict[str, float]:
        """Medians; and by each name, what is sealed to what is clear of a figure."""
        medians = {name: round(statistics.median(values), 3) for name, values in self._values.items()}
        return medians | {
            name: round(medians[f"{SEALED}_{figure}"] / medians[f"{CLEAR}_{figure}"], 3)
            for name, figure in ratios.items()
        }


def in_turn(number: int) -> tuple[str, str]:
    """Whoever comes first in one round comes second in the next."""
    return (CLEAR, SEALED) if number % 2 == 0 else (SEALED, CLEAR)


async def measure_orders(genealogy: Genealogy, count: int, rounds: int) -> dict[str, float]:
    """Two clusters."""
    ids, found = [text.decode() for text in genealogy.ids.tolist()], Found()
    async with contextlib.AsyncExitStack() as stack:
        keys = Path(stack.enter_context(TemporaryDirectory(prefix="fasttree-sealing-"))) / "state.keys"
        keys.touch(0o600)
        keys.write_text(new_key_line("bench"))
        given = {CLEAR: (), SEALED: ("--set", f"sealing.key_file={keys}")}
        clusters = {
            way: await stack.enter_async_context(loaded_cluster(genealogy, 2, *more)) for way, more in given.items()
        }
        for cluster in clusters.values():
            await cluster.wait_at_rest()
        for number in range(rounds):
            for way in in_turn(number):
                rate, used_us = await orders(clusters[way], ids, f"{way}{number}", count)
                found.keep(f"{way}_orders_per_s", rate)
                found.keep(f"{way}_pusher_cpu_us", used_us)
    return found.figures(sealed_orders_ratio="orders_per_s", sealed_pusher_cpu_ratio="pusher_cpu_us")


async def _saved_s(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> float:
    descriptor = open_new(path)
    try:
        began_s = time.perf_counter()
        await StateWriting(descriptor, path.name, StateLayout(arrays), {}, {}).finished(_TIMEOUT_S)
        return time.perf_counter() - began_s
    finally:
        os.close(descriptor)


async def measure_snapshots(megabytes: int, rounds: int) -> dict[str, float]:
    """A state on its way to a disk and back, the file in the system's memory yet."""
    draw, found = np.random.default_rng(1), Found()
    arrays = {
        f"a{number}": draw.integers(0, 1 << 62, _ARRAY_MB << 17, np.int64) for number in range(megabytes // _ARRAY_MB)
    }
    keys = parse_keys(new_key_line("bench").encode(), "bench")
    warm_up_writing()
    warm_up_sealing()
    with TemporaryDirectory(prefix="fasttree-sealing-") as name:
        for number in range(rounds):
            for way in in_turn(number):
                path = Path(name) / "1-2.snapshot"
                with keys_for_now(keys if way == SEALED else None):
                    found.keep(f"{way}_save_s", await _saved_s(path, arrays))
                    began_s = time.perf_counter()
                    await asyncio.to_thread(read_state, path)
                    found.keep(f"{way}_read_s", time.perf_counter() - began_s)
    return found.figures(sealed_save_ratio="save_s", sealed_read_ratio="read_s")


async def measure(members: int, count: int, megabytes: int, rounds: int) -> dict[str, Any]:
    """All figures of one run."""
    figures = await measure_snapshots(megabytes, rounds)
    if count:
        figures |= await measure_orders(make_genealogy(members, seed=1, roots=1), count, rounds)
    return figures | {"members": members, "orders": count, "state_mb": megabytes, "rounds": rounds}


def main() -> None:
    """Runs both."""
    parser = argparse.ArgumentParser(prog="python -m bench.sealing", description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--orders", type=int, default=300_000, help="a round; 0: none, snapshots alone")
    parser.add_argument("--megabytes", type=int, default=400, help="of the state that is saved and read")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    figures = uvloop.run(measure(arguments.members, arguments.orders, arguments.megabytes, arguments.rounds))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
