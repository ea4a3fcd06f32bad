"""A pusher whose log can't be opened, where that log lies in servers: nothing in its folder says when it is whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.cluster.cluster import free_port
from services.pusher.log.memory import MemoryLog
from services.pusher.log.settings import LogSettings
from services.pusher.log.store import LogDamagedError, LogStore, StoreFullError
from services.pusher.settings import PusherSettings
from services.pusher.without_log import open_log


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
