"""A console in this process, over a small cluster of fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from services.console.app import Console
from services.console.http.guarding import OWN_HEADER
from services.console.settings import ConsoleSettings
from services.shared.config.sections import ClusterSettings
from tests.fakes.cluster import FakeCluster, fake_cluster


class Asking:
    """A console, and who asks it as its own pages do."""

    def __init__(self, console: Console, session: aiohttp.ClientSession) -> None:
        self.console = console
        self.session = session

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and JSON."""
        async with self.session.get(path, headers=headers) as response:
            return response.status, await response.json()

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Status and JSON."""
        async with self.session.post(path, json=body) as response:
            return response.status, await response.json()


@asynccontextmanager
async def running_console(cluster: FakeCluster, **settings: Any) -> AsyncIterator[Asking]:
    """Quick to look, and at a free port."""
    there = cluster.endpoints
    quick = {"port": 0, "poll_s": 0.05, "node_poll_s": 0.05, "answer_s": 0.3, "tell_s": 0.01}
    console = await Console.start(
        ClusterSettings.of(coordinator=there.coordinator),
        ConsoleSettings.of(vip=there.vip, pusher=there.pusher, **quick, **settings),
    )
    try:
        base = f"http://127.0.0.1:{console.http.port}"
        async with aiohttp.ClientSession(base, headers={OWN_HEADER: "1"}) as session:
            yield Asking(console, session)
    finally:
        await console.stop()


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with fake_cluster() as started:
        for node, heard in zip(started.nodes, started.coordinator.cluster.nodes, strict=True):
            heard.address.instant = node.address
        yield started


@pytest.fixture
async def console(cluster: FakeCluster) -> AsyncIterator[Asking]:
    async with running_console(cluster) as asking:
        yield asking
