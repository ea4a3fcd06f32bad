"""What ids for good cost a push: python -m bench.log_ids --ids 100000000

A log with so many ids of trimmed records takes pushes of new ids, beside one that has none, in turns. The ids are made
as keys that nobody pushed: what they cost is the same, and hashing a hundred million texts is not what is measured.
Needs 28 bytes of disk for each, in `--dir`, and 4 to 8 of memory.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from fasttree.v1 import types_pb2
from services.pusher.log.ids.archive import run_path
from services.pusher.log.ids.runs import Entries, write_run
from services.pusher.log.sqlite import SqliteLog
from services.shared.wire.record import content_bytes

_PIECE = 1 << 20
#: As a log of that size has them: a large run, and three of each smaller size.
_LEVELS = 9


def _pieces(count: int, seed: int) -> Iterator[Entries]:
    """Evenly spread keys in their order."""
    draw = np.random.default_rng(seed)
    step = (1 << 64) // count
    for first in range(0, count, _PIECE):
        size = min(_PIECE, count - first)
        high = np.arange(first, first + size, dtype=np.uint64) * np.uint64(step)
        high += draw.integers(0, step, size, dtype=np.uint64)
        low = draw.integers(0, 1 << 32, size, dtype=np.uint32)
        yield Entries(high, low, draw.integers(1, 1 << 63, size, dtype=np.uint64), high)


def _fill(folder: Path, count: int) -> None:
    """Runs of so many ids, which the log in the folder counts."""
    store = SqliteLog(folder).claim_alone()
    sizes = [size for level in range(1, _LEVELS) for size in [count // 4**level // 4] * 3 if size]
    sizes.insert(0, count - sum(sizes))
    with store._transaction() as writer:
        for number, size in enumerate(sizes, 1):
            path = run_path(folder / "ids", number)
            path.parent.mkdir(exist_ok=True)
            write_run(path, size, _pieces(size, number))
            writer.execute("INSERT INTO id_runs VALUES (?, ?)", (number, 20 - number // 3))
    store.close()


class _Pusher:
    """One log, and how fast it takes groups of new ids."""

    def __init__(self, folder: Path) -> None:
        began_s = time.perf_counter()
        self.store = SqliteLog(folder).claim_alone()
        self.open_s = time.perf_counter() - began_s
        self._pushed = 0
        self.rates: list[float] = []

    def push(self, group: int, groups: int) -> None:
        made: list[tuple[list[str], list[bytes]]] = []
        for _ in range(groups):
            ids = [f"order-{self._pushed + number}" for number in range(group)]
            self._pushed += group
            change = types_pb2.VolumePosted(member_id="M1", amount_hundredths=100)
            made.append((ids, [content_bytes(types_pb2.Update(update_id=each, volume_posted=change)) for each in ids]))
        began_s = time.perf_counter()
        for ids, contents in made:
            self.store.append(ids, contents)
        self.rates.append(group * groups / (time.perf_counter() - began_s))


@click.command()
@click.option("--ids", default=100_000_000, show_default=True, help="Ids of trimmed records.")
@click.option("--group", default=500, show_default=True, help="Updates of one commit.")
@click.option("--rounds", default=20, show_default=True, help="Turns of each log.")
@click.option("--dir", "parent", type=click.Path(path_type=Path, exists=True), help="Where to work.")
def main(ids: int, group: int, rounds: int, parent: Path | None) -> None:
    """Prints the figures as JSON."""
    with TemporaryDirectory(dir=parent) as folder:
        with_ids, without = Path(folder) / "with", Path(folder) / "without"
        for each in (with_ids, without):
            each.mkdir()
        _fill(with_ids, ids)
        pushers = _Pusher(with_ids), _Pusher(without)
        for _ in range(rounds):
            for pusher in pushers:
                pusher.push(group, max(1, 5_000 // group))
        much, none = (statistics.median(pusher.rates[2:]) for pusher in pushers)
        # Of neighbours in time: what else the machine does meanwhile is in both.
        ratio = statistics.median(one / two for one, two in zip(*(pusher.rates[2:] for pusher in pushers), strict=True))
        on_disk = sum(path.stat().st_size for path in (with_ids / "ids").iterdir())
        figures = {
            "ids": ids,
            "group": group,
            "pushes_per_s": round(much),
            "pushes_per_s_without_ids": round(none),
            "slower_percent": round(100 * (1 - ratio), 1),
            "bytes_an_id_on_disk": round(on_disk / ids, 2),
            "open_s": round(pushers[0].open_s, 2),
            "open_s_without_ids": round(pushers[1].open_s, 2),
        }
        for pusher in pushers:
            pusher.store.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
