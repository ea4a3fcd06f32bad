"""A pusher whose log can't be opened, where that log lies in servers: nothing in its folder says when it is whole."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from pathlib import Path
from typing import IO

import grpc.aio
import msgspec
import pytest

from bench.cluster.cluster import free_port
from fasttree.v1 import pusher_pb2, pusher_pb2_grpc
from services.pusher import without_log
from services.pusher.log.memory import MemoryLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogDamagedError, LogStore, StoreFullError
from services.pusher.settings import PusherSettings
from services.pusher.without_log import open_log
from services.shared.files.state_folder import lock_folder
from services.shared.serving.process import StartupError


@pytest.mark.parametrize(("store", "url"), [("jetstream", "nats://nats1"), ("postgresql", "postgresql://db/company")])
async def test_servers_are_asked_again_until_the_log_is_whole(
    tmp_path: Path, store: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = PusherSettings.of(port=free_port(), http_port=free_port(), state_folder=str(tmp_path))
    settings = msgspec.structs.replace(settings, log=LogSettings(log_store=store, log_url=url))
    tries = iter((LogDamagedError("the stream is gone"), LogDamagedError("the stream is gone"), StoreFullError("away")))

    def open_store() -> LogStore:
        for error in tries:
            raise error
        return MemoryLog()

    found = await open_log(settings, "test", open_store, look_s=0.001, servers_look_s=0.001)
    found.lock.close()
    assert isinstance(found.store, MemoryLog)
    assert caplog.text.count("the stream is gone") == 1


async def test_that_somebody_has_the_folder_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever brings the log back has it for minutes, and it is looked at every second."""
    caplog.set_level(logging.INFO)
    settings = PusherSettings.of(port=free_port(), http_port=free_port(), state_folder=str(tmp_path))
    settings = msgspec.structs.replace(settings, log=LogSettings(log_store="jetstream", log_url="nats://nats1"))
    looks = itertools.count()

    def lock(folder: Path) -> IO[str]:
        if 1 <= next(looks) < 50:
            raise StartupError(f"the state folder {folder} is in use by process 7")
        return lock_folder(folder)

    opens = iter((LogDamagedError("the stream is gone"), MemoryLog()))

    def open_store() -> LogStore:
        found = next(opens)
        if isinstance(found, LogDamagedError):
            raise found
        return found

    monkeypatch.setattr(without_log, "lock_folder", lock)
    (await open_log(settings, "test", open_store, look_s=0.001, servers_look_s=0.001)).lock.close()
    assert next(looks) == 51
    assert caplog.text.count("is in use by process 7; tries again") == 1
    assert "the log is whole again" in caplog.text


async def test_a_log_in_servers_that_are_away_is_waited_for_and_says_so(tmp_path: Path) -> None:
    settings = PusherSettings.of(port=free_port(), http_port=free_port(), state_folder=str(tmp_path))
    settings = msgspec.structs.replace(settings, log=LogSettings(log_store="postgresql", log_url="postgresql://db/co"))
    is_back = threading.Event()

    def open_store() -> LogStore:
        if not is_back.is_set():
            raise StoreFullError("can't use PostgreSQL at db/co: refused")
        return MemoryLog()

    opening = asyncio.create_task(open_log(settings, "test", open_store, look_s=0.001))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{settings.port}") as channel:
        pusher = pusher_pb2_grpc.PusherServiceStub(channel)
        answer = await pusher.GetPusher(pusher_pb2.GetPusherRequest(), wait_for_ready=True, timeout=30)
        assert answer.closed_reason == "can't use PostgreSQL at db/co: refused"
        assert not answer.log_damage
        with pytest.raises(grpc.aio.AioRpcError, match="refused") as refused:
            await pusher.SkipUpdate(pusher_pb2.SkipUpdateRequest(), timeout=30)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    is_back.set()
    found = await opening
    found.lock.close()
    assert isinstance(found.store, MemoryLog)


async def test_a_start_that_hangs_at_the_servers_leaves_the_loop_to_signals(tmp_path: Path) -> None:
    settings = PusherSettings.of(port=free_port(), http_port=free_port(), state_folder=str(tmp_path))
    entered, go_on = threading.Event(), threading.Event()

    def open_store() -> LogStore:
        entered.set()
        go_on.wait(60)
        return MemoryLog()

    opening = asyncio.create_task(open_log(settings, "test", open_store))
    await asyncio.to_thread(entered.wait, 60)
    assert not opening.done()  # and this runs, as a signal's handler would
    go_on.set()
    (await opening).lock.close()
