"""A damaged log is told where people look, and what needs none of the damaged records goes on."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from fasttree.v1 import pusher_pb2
from services.pusher.log.damage import LogCheck
from services.pusher.log.frames import Run
from services.pusher.log.memory import MemoryLog
from services.pusher.log.sqlite import SqliteLog
from services.pusher.log.store import KnownDamage, LogDamagedError, StoreFullError
from tests.pusher.running_pusher import push, running_pusher, stub_of
from tests.pusher.updates import ids_and_contents, order, orders
from tests.waiting import until


def damaged_log(folder: Path, *positions: int) -> SqliteLog:
    """A log of 20 updates, one bit of each of these records flipped on its disk."""
    store = SqliteLog(folder).claim_alone()
    store.append(*ids_and_contents(orders(0, 20)))
    frames = {position: store.read(position, position, 1).data for position in positions}
    store.close()
    content = bytearray((folder / "log.db").read_bytes())
    for frame in frames.values():
        content[content.rindex(frame) + len(frame) - 4] ^= 1
    (folder / "log.db").write_bytes(content)
    return SqliteLog(folder).claim_alone()


async def test_a_damaged_record_is_in_status_readyz_and_metrics_before_anybody_needs_it(tmp_path: Path) -> None:
    store = damaged_log(tmp_path, 7, 9)
    async with running_pusher(tmp_path, store=store) as pusher, stub_of(pusher) as stub:

        async def told() -> str:
            return (await stub.GetPusher(pusher_pb2.GetPusherRequest())).log_damage

        async def both() -> bool:
            return "1 more" in await told()

        await until(both, "both records")
        assert (await told()).startswith("the log is damaged: log record at position 7 is damaged")
        assert (await told()).endswith("see docs/operations.md, `A damaged log`")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{pusher.http.port}") as http:
            ready = await http.get("/readyz")
            assert (ready.status, await ready.text()) == (200, f"ready; {await told()}\n")
            assert re.search(r"\nfasttree_pusher_log_damaged_records\S* 2", await (await http.get("/metrics")).text())
        (receipt,) = await push(stub, [order(100)])
        assert receipt.position == store.ends().last


async def test_damaged_ids_of_trimmed_records_are_told_before_an_update_comes_again(tmp_path: Path) -> None:
    """Of a pusher at which nothing happens."""
    store = SqliteLog(tmp_path).claim_alone()
    store.append(*ids_and_contents(orders(0, 6_000)))
    store.trim(6_000, 6_000)
    (run,) = (tmp_path / "ids").iterdir()
    async with running_pusher(tmp_path, store=store) as pusher, stub_of(pusher) as stub:
        looking = asyncio.create_task(LogCheck(store, piece_pause_s=0.0, round_pause_s=0.0).run())
        try:
            assert store.damage.count(1) == 0
            with run.open("r+b") as file:
                file.seek(70_000)  # of a block that was good when it was read last
                file.write(b"other bytes")
            await until(lambda: store.damage.count(1), "the damage")
        finally:
            looking.cancel()
        told = (await stub.GetPusher(pusher_pb2.GetPusherRequest())).log_damage
        assert told.startswith(f"the log is damaged: {run} is damaged at byte 65568; bring it back from a backup")
        assert told.endswith("see docs/operations.md, `A damaged log`")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{pusher.http.port}") as http:
            assert re.search(r"\nfasttree_pusher_log_damaged_records\S* 1", await (await http.get("/metrics")).text())
        (receipt,) = await push(stub, [order(10_000)])
        assert receipt.position == store.ends().last


def test_whoever_meets_damage_it_is_known(tmp_path: Path) -> None:
    store = damaged_log(tmp_path, 7)
    assert store.damage.in_words(1) == ""
    with pytest.raises(LogDamagedError):
        store.append(*ids_and_contents([order(6)]))  # at position 7: what it was can't be compared
    assert "position 7" in store.damage.in_words(1)
    store.close()
    store = SqliteLog(tmp_path).claim_alone()
    with pytest.raises(LogDamagedError):
        store.read(1, 20, 1 << 20)
    assert store.damage.count(1) == 1
    store.close()


async def test_the_look_goes_past_damage_and_what_is_trimmed_harms_nobody() -> None:
    store = MemoryLog().claim_alone()
    store.append(*ids_and_contents(orders(0, 20)))
    for position in (3, 4, 20):
        store.frames[position] = store.frames[position][:-1] + b"?"
    looking = asyncio.create_task(LogCheck(store, piece_pause_s=0.0, round_pause_s=0.0).run())
    try:
        await until(lambda: store.damage.count(1) == 3, "all three")
    finally:
        looking.cancel()
    assert "position 3 is damaged" in store.damage.in_words(1)
    assert "position 20 is damaged" in store.damage.in_words(5)
    assert (store.damage.count(5), store.damage.in_words(21)) == (1, "")


class FailingLog(MemoryLog):
    """Its first reads fail, for other reasons than a damaged record."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = [StoreFullError("the disk fails"), LogDamagedError("a page of the index")]

    def read(self, first_position: int, last_position: int, bytes_max: int) -> Run:
        if self.fails:
            raise self.fails.pop()
        return super().read(first_position, last_position, bytes_max)


async def test_the_look_outlives_a_disk_that_fails() -> None:
    store = FailingLog().claim_alone()
    store.append(*ids_and_contents(orders(0, 20)))
    store.frames[1] = b"?"
    looking = asyncio.create_task(LogCheck(store, piece_pause_s=0.0, round_pause_s=0.0).run())
    try:
        await until(lambda: store.damage.count(1) == 1, "the damaged record")
    finally:
        looking.cancel()


def test_what_is_known_is_bounded() -> None:
    damage = KnownDamage()
    for position in range(5_000):
        damage.note(LogDamagedError("x" * 100, position))
    assert damage.count(0) == 1_000
    assert len(damage.in_words(0)) < 300
