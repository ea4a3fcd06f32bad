"""What ids for good cost a push: python -m bench.log_ids --store postgresql --ids 100000000

A log with so many ids of trimmed records takes pushes of new ids, beside one that has none, in turns. The ids are made
as keys that nobody pushed: what they cost is the same, and hashing a hundred million texts is not what is measured.
Needs 28 bytes of disk for each, in `--dir`, three times that for PostgreSQL, and 4 to 8 of memory.

PostgreSQL 15 is a server of its own without standbys, which waits for its disk; so is NATS' one. A log in JetStream has
its index on the pusher's disk, which is made from the stream: here it is filled, and the stream knows nothing of it.

The last line is JSON. `ratio`: pushes a second, to those without ids; the median of neighbours in time. `open_s`: until
the log is open; `open_anew_s`: where the pusher has no copy of its ids, which it has from the server then.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click
import numpy as np

from bench.rivals.postgres_replicas import replicated_postgres
from bench.servers.nats_servers import nats_servers
from fasttree.v1 import types_pb2
from services.pusher.log.ids.archive import RunRow, run_path
from services.pusher.log.ids.runs import Entries, write_run
from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.jetstream.store import JetstreamLog
from services.pusher.log.postgresql.settings import PostgresqlSettings
from services.pusher.log.postgresql.store import PostgresqlLog
from services.pusher.log.postgresql.writing import Transaction
from services.pusher.log.settings import LogSettings
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import LogStore
from services.shared.wire.record import content_bytes

_PIECE = 1 << 20
#: As a log of that size has them: a large run, and three of each smaller size.
_LEVELS = 9
_SMALLEST = 1_000
_TURN = 5_000
_SERVER = """
listen_addresses = ''
shared_buffers = 256MB
max_wal_size = 4GB
wal_level = replica
"""
_CLUSTER = "bench"


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


def _write_runs(folder: Path, count: int) -> list[RunRow]:
    """Files of so many ids."""
    sizes = [size for level in range(1, _LEVELS) for size in [count // 4**level // 4] * 3 if size >= _SMALLEST]
    sizes.insert(0, count - sum(sizes))
    rows = [RunRow(number, 20 - number // 3) for number in range(1, len(sizes) + 1)]
    folder.mkdir(exist_ok=True)
    for row, size in zip(rows, sizes, strict=True):
        write_run(run_path(folder, row.number), size, _pieces(size, row.number))
    return rows


class _Engine(NamedTuple):
    """How logs of one engine are opened, and filled while they are open.

    Attributes:
        open: In a folder, under a name.
        fill: Returns where the files of ids are.
        keeps: Whether what it was filled with is there when it is opened again.
        has_copy: Whether those files are a copy of what a server has.
    """

    open: Callable[[Path, str], LogStore]
    fill: Callable[[LogStore, Path, int], Path]
    keeps: bool
    has_copy: bool


def _fill_sqlite(store: LogStore, folder: Path, count: int) -> Path:
    assert isinstance(store, SqliteLog)
    rows = _write_runs(folder / "ids", count)
    with store._transaction() as writer:
        writer.executemany("INSERT INTO id_runs VALUES (?, ?)", rows)
    return folder / "ids"


def _fill_postgresql(store: LogStore, folder: Path, count: int) -> Path:
    assert isinstance(store, PostgresqlLog)
    for row in _write_runs(folder / "postgresql-ids", count):
        store.write(partial(_count_in, store, row))
    return folder / "postgresql-ids"


def _count_in(store: PostgresqlLog, row: RunRow, transaction: Transaction) -> None:
    store._ids.count_in(transaction.connection, row)


def _fill_jetstream(store: LogStore, folder: Path, count: int) -> Path:
    assert isinstance(store, JetstreamLog)
    place = store._ids.folder
    store._ids._archive.refresh(_write_runs(place, count))
    return place


@contextlib.contextmanager
def _engine(name: str) -> Iterator[_Engine]:
    """The engine, with its server where it has one."""
    if name == "sqlite":
        yield _Engine(lambda folder, _: SqliteLog(folder), _fill_sqlite, keeps=True, has_copy=False)
    elif name == "postgresql":
        with replicated_postgres(_SERVER, synchronous_commit="on", standbys=()) as server:

            def open_postgresql(folder: Path, log: str) -> LogStore:
                settings = LogSettings(log_url=server.url(), postgresql=PostgresqlSettings(log_schema=log))
                return PostgresqlLog(folder, settings, _CLUSTER)

            yield _Engine(open_postgresql, _fill_postgresql, keeps=True, has_copy=True)
    else:
        with nats_servers(count=1) as nats:

            def open_jetstream(folder: Path, log: str) -> LogStore:
                jetstream = JetstreamSettings(nats_stream=log, nats_replicas=1)
                return JetstreamLog(folder, LogSettings(log_url=nats.url, jetstream=jetstream), _CLUSTER)

            yield _Engine(open_jetstream, _fill_jetstream, keeps=False, has_copy=False)


class _Pusher:
    """One log, and how fast it takes groups of new ids."""

    def __init__(self, store: LogStore, counts_up: bool) -> None:
        self.store = store
        self._counts_up = counts_up
        self._pushed = 0
        self.rates: list[float] = []

    def push(self, group: int, groups: int) -> None:
        made: list[tuple[list[str], list[bytes]]] = []
        for _ in range(groups):
            ids = [self._new_id() for _ in range(group)]
            change = types_pb2.VolumePosted(member_id="M1", amount_hundredths=100)
            made.append((ids, [content_bytes(types_pb2.Update(update_id=each, volume_posted=change)) for each in ids]))
        began_s = time.perf_counter()
        for ids, contents in made:
            self.store.append(ids, contents)
        self.rates.append(group * groups / (time.perf_counter() - began_s))

    def _new_id(self) -> str:
        self._pushed += 1
        return f"order-{self._pushed}" if self._counts_up else uuid.uuid4().hex


def _timed_open(engine: _Engine, folder: Path, name: str) -> tuple[LogStore, float]:
    folder.mkdir(exist_ok=True)
    began_s = time.perf_counter()
    store = engine.open(folder, name).claim_alone()
    return store, round(time.perf_counter() - began_s, 2)


def _measure(engine: _Engine, folder: Path, ids: int, group: int, rounds: int, counts_up: bool) -> dict[str, float]:
    figures: dict[str, float] = {}
    much, _ = _timed_open(engine, folder / "much", "much")
    files = engine.fill(much, folder / "much", ids)
    if engine.keeps:
        much.close()
        if engine.has_copy:
            copying, figures["open_anew_s"] = _timed_open(engine, folder / "anew", "much")
            copying.close()
        much, figures["open_s"] = _timed_open(engine, folder / "much", "much")
    none, figures["open_s_without_ids"] = _timed_open(engine, folder / "none", "none")
    pushers = _Pusher(much, counts_up), _Pusher(none, counts_up)
    for turn in range(rounds):
        for pusher in pushers[:: -1 if turn % 2 else 1]:
            pusher.push(group, max(1, _TURN // group))
    rates = [pusher.rates[2:] for pusher in pushers]
    figures["pushes_per_s"], figures["pushes_per_s_without_ids"] = (round(statistics.median(each)) for each in rates)
    # Of neighbours in time: what else the machine does meanwhile is in both.
    figures["ratio"] = round(statistics.median(one / two for one, two in zip(*rates, strict=True)), 3)
    figures["bytes_an_id_on_disk"] = round(sum(path.stat().st_size for path in files.iterdir()) / ids, 2)
    for pusher in pushers:
        pusher.store.close()
    return figures


@click.command()
@click.option(
    "--store", "name", type=click.Choice(["sqlite", "postgresql", "jetstream"]), default="sqlite", show_default=True
)
@click.option("--ids", default=100_000_000, show_default=True, help="Ids of trimmed records.")
@click.option("--group", default=500, show_default=True, help="Updates of one commit.")
@click.option("--rounds", default=200, show_default=True, type=click.IntRange(3), help="Turns of each log.")
@click.option("--counts-up", is_flag=True, help="Pushed ids count up; else they are random.")
@click.option("--dir", "parent", type=click.Path(path_type=Path, exists=True), help="Where to work.")
def main(name: str, ids: int, group: int, rounds: int, counts_up: bool, parent: Path | None) -> None:
    """Prints the figures as JSON."""
    with TemporaryDirectory(dir=parent) as folder, _engine(name) as engine:
        figures = _measure(engine, Path(folder), ids, group, rounds, counts_up)
    print(json.dumps({"store": name, "ids": ids, "group": group, **figures}))


if __name__ == "__main__":
    main()
