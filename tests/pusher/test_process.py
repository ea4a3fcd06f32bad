"""The pusher as a process: killed, stopped, out of disk, started twice."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import random
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
from google.rpc import code_pb2

from bench.cluster.cluster import free_port
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc, types_pb2
from services.pusher.log.inspection import dump_log, verify_log
from services.shared.serving.channels import open_channel
from tests.pusher.pusher_process import PusherProcess
from tests.pusher.running_pusher import push
from tests.pusher.updates import orders
from tests.waiting import until

FAILED = grpc.StatusCode.FAILED_PRECONDITION


async def push_until_broken(address: str, updates: list[types_pb2.Update], receipts: dict[str, int]) -> None:
    """Pushes on one stream until it breaks (the process was killed) or all have receipts; notes each at once."""

    async def requests() -> AsyncIterator[pusher_pb2.PushUpdatesRequest]:
        for begin in range(0, len(updates), 40):
            yield pusher_pb2.PushUpdatesRequest(updates=updates[begin : begin + 40])

    async with open_channel(address) as channel:
        try:
            async for response in pusher_pb2_grpc.PusherServiceStub(channel).PushUpdates(requests()):
                for receipt in response.receipts:
                    assert receipt.code == code_pb2.OK
                    assert receipts.setdefault(receipt.update_id, receipt.position) == receipt.position
        except grpc.aio.AioRpcError:
            return


async def test_what_it_writes_is_for_its_own_user_alone(tmp_path: Path) -> None:
    """Whatever the umask is that it was started with."""
    process = PusherProcess(tmp_path, f"pusher.upload_folder={tmp_path / 'uploads'}")
    await process.start(("/bin/sh", "-c", 'umask 022; exec "$0" "$@"'))
    try:
        async with open_channel(process.address) as channel:
            await push(pusher_pb2_grpc.PusherServiceStub(channel), orders(0, 1))
        written = [tmp_path / "state", tmp_path / "uploads"]
        written += [path for folder in written if folder.is_dir() for path in folder.rglob("*")]
        assert {"log.db", "log.end", "done", "imports"} <= {path.name for path in written}
        open_to_others = [path for path in written if path.stat().st_mode & 0o077]
        assert not open_to_others
    finally:
        await process.end(signal.SIGTERM)


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    """Clients push on with the same ids over several kills: every id is there once, at the position that was told."""
    process = PusherProcess(tmp_path)
    updates = orders(0, 20_000)
    receipts: dict[str, int] = {}
    draw = random.Random(20161108)
    for _ in range(3):
        await process.start()
        before = len(receipts)
        missing = [update for update in updates if update.update_id not in receipts]
        pushing = asyncio.create_task(push_until_broken(process.address, missing, receipts))
        goal = before + draw.randint(500, 3000)
        await until(lambda goal=goal: len(receipts) >= goal, "receipts")  # type: ignore[misc]
        await process.end(signal.SIGKILL)
        await pushing
        assert len(receipts) < len(updates)
    await process.start()
    await push_until_broken(process.address, updates, receipts)
    assert await process.end() == 0
    assert len(receipts) == len(updates)
    stored = {update.update_id: position for position, update in dump_log(tmp_path / "state")}
    assert stored.pop("fasttree/founded") == 1
    assert stored == receipts
    found = verify_log(tmp_path / "state")
    assert (found.problems, found.records) == ([], 1 + len(updates))


async def test_a_full_disk_refuses_with_a_clear_text_and_all_goes_on_afterwards(tmp_path: Path) -> None:
    """The limit on file sizes makes every further write fail, as a full disk does."""
    process = PusherProcess(tmp_path)
    await process.start(("prlimit", "--fsize=600000:unlimited"))
    async with open_channel(process.address) as channel:
        stub = pusher_pb2_grpc.PusherServiceStub(channel)
        receipts: list[pusher_pb2.Receipt] = []
        for begin in range(0, 20_000, 500):
            receipts += await push(stub, orders(begin, 500))
        taken = [receipt for receipt in receipts if receipt.code == code_pb2.OK]
        refused = [receipt for receipt in receipts if receipt.code == code_pb2.RESOURCE_EXHAUSTED]
        assert taken
        assert refused
        assert len(taken) + len(refused) == len(receipts)
        assert "make room" in refused[0].message
        assert [receipt.position for receipt in taken] == list(range(2, len(taken) + 2))
        told = await stub.GetPusher(pusher_pb2.GetPusherRequest(), timeout=30)
        assert "no room" in told.closed_reason or "make room" in told.closed_reason  # so `fasttree status` says it
        # The same process goes on as soon as there is room.
        limit = await asyncio.create_subprocess_exec("prlimit", f"--pid={process.pid}", "--fsize=unlimited")
        assert await limit.wait() == 0
        again = await push(stub, orders(0, 20_000), batch=500)
        assert {receipt.code for receipt in again} == {code_pb2.OK}
        assert (await stub.GetPusher(pusher_pb2.GetPusherRequest(), timeout=30)).closed_reason == ""
    assert await process.end() == 0
    found = verify_log(tmp_path / "state")
    assert (found.problems, found.records) == ([], 20_001)


async def test_sigterm_ends_open_streams_and_exits_with_0(tmp_path: Path) -> None:
    process = PusherProcess(tmp_path)
    await process.start()
    async with open_channel(process.address) as channel:
        call = pusher_pb2_grpc.PusherServiceStub(channel).PushUpdates()
        await call.write(pusher_pb2.PushUpdatesRequest(updates=orders(0, 10)))
        first = await call.read()
        assert isinstance(first, pusher_pb2.PushUpdatesResponse)
        ended = asyncio.create_task(process.end())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await ended == 0
    assert "Traceback" not in process.log.read_text()


async def test_a_second_pusher_on_the_same_folder_is_told_who_has_it(tmp_path: Path) -> None:
    process = PusherProcess(tmp_path)
    await process.start()
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.pusher", "--set", f"pusher.state_folder={tmp_path / 'state'}",
        "--set", "pusher.listen_host=127.0.0.1", "--set", "pusher.port=0", "--set", "pusher.http_port=0",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await asyncio.wait_for(second.communicate(), 30)
    assert second.returncode == 1
    assert f"in use by process {process.pid}" in errors.decode()
    assert len(errors.decode().splitlines()) == 1
    assert await process.end() == 0


async def test_a_log_that_lost_its_end_is_told_to_whoever_asks_until_it_is_whole_again(tmp_path: Path) -> None:
    http_port = free_port()
    process = PusherProcess(tmp_path, f"pusher.http_port={http_port}")
    await process.start()
    async with open_channel(process.address) as channel:
        await push(pusher_pb2_grpc.PusherServiceStub(channel), orders(0, 10))
    await process.end()
    log = tmp_path / "state" / "log.db"
    whole = log.read_bytes()
    change = sqlite3.connect(log, isolation_level=None)
    change.execute("DELETE FROM log WHERE position = 11")
    change.close()
    before = len(process.log.read_text().splitlines())
    await process.start()
    (told,) = process.log.read_text().splitlines()[before:]
    assert "its end is lost" in told
    answer = await process.get()
    assert "ends at position 10, but 11 was acknowledged" in answer.log_damage == answer.closed_reason
    async with open_channel(process.address) as channel:
        stub = pusher_pb2_grpc.PusherServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await push(stub, orders(10, 1))
        assert (caught.value.code(), caught.value.details()) == (FAILED, answer.log_damage)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.AdoptLog(pusher_pb2.AdoptLogRequest(reason="no"))
        assert (caught.value.code(), caught.value.details()) == (FAILED, answer.log_damage)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReadLog(pusher_pb2.ReadLogRequest(first_position=1)).read()
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, answer.log_damage)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{http_port}") as http:
        ready = await http.get("/readyz")
        assert (ready.status, await ready.text()) == (503, answer.log_damage + "\n")
        figures = await (await http.get("/metrics")).text()
        assert re.search(r"^fasttree_pusher_log_damaged_records\S* 1", figures, re.MULTILINE)
        assert re.search(r"^fasttree_pusher_closed\S* 1", figures, re.MULTILINE)
    (tmp_path / "copy").write_bytes(whole)
    with (tmp_path / "state" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # `fasttree log restore` may have the folder
    (tmp_path / "copy").replace(log)

    async def goes_on() -> bool:
        with contextlib.suppress(grpc.aio.AioRpcError):
            return (await process.get()).log_end.position == 11
        return False

    await until(goes_on, "the pusher to take the log that was brought back")
    async with open_channel(process.address) as channel:
        (receipt,) = await push(pusher_pb2_grpc.PusherServiceStub(channel), orders(10, 1))
    assert receipt.position == 12
    assert await process.end() == 0


async def test_a_pusher_that_waits_for_its_log_ends_on_term(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "log.db").write_bytes(b"no database at all" * 1_000)
    process = PusherProcess(tmp_path)
    await process.start()
    assert "is damaged" in (await process.get()).log_damage
    assert await process.end() == 0
