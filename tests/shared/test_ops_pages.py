"""Every page of the three HTTP ports and every metric, beside the lists in `ops_pages/`: what monitors go by.

`REWRITE=1` writes the lists anew from what the services show; read the difference then.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families

from services.coordinator.app import Coordinator
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.store import MemoryStore
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from tests.docs.test_alert_rules import promtool
from tests.fakes.heartbeats import Heartbeats
from tests.fakes.node import FakeNode
from tests.fakes.pusher import fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.pusher.running_pusher import running_pusher
from tests.treenode.running_node import running_node
from tests.updates import enrolled
from tests.waiting import until

LISTS = Path(__file__).parent / "ops_pages"
PATHS = ("/livez", "/readyz", "/primary", "/debug/mtree.log?lines=0", "/debug/hpushup.log?lines=x", "/debug/x", "/")


@asynccontextmanager
async def coordinator(folder: Path) -> AsyncIterator[str]:
    settings = CoordinatorSettings(listen_host="127.0.0.1", port=0, http_port=0)
    running = await Coordinator.start(ClusterSettings(name="dot-test"), settings, MemoryStore())
    try:
        async with open_channel(f"127.0.0.1:{running.server.port}") as channel:
            await Heartbeats(channel, "n1", cluster="dot-test").talk()
            yield f"127.0.0.1:{running.http.port}"
    finally:
        await running.stop()


@asynccontextmanager
async def pusher(folder: Path) -> AsyncIterator[str]:
    node = FakeNode()
    await node.start()
    async with running_pusher(folder, [node]) as running:
        await until(lambda: any(told.connected for told in running.fan_out.progress()), "the stream to the node")
        yield f"127.0.0.1:{running.http.port}"
    await node.stop()


@asynccontextmanager
async def treenode(folder: Path) -> AsyncIterator[str]:
    async with (
        fake_pusher() as feeder,
        running_node(folder) as running,
        Stream(running, feeder) as stream,
    ):
        feeder.updates = [enrolled("A")]
        await stream.hello()
        await stream.send([1])
        yield running.address.http


Service = Callable[[Path], AbstractAsyncContextManager[str]]


@pytest.mark.parametrize(("name", "service"), [(f.__name__, f) for f in (coordinator, pusher, treenode)])
async def test_pages_and_metrics_are_those_of_the_list(name: str, service: Service, tmp_path: Path) -> None:
    async with service(tmp_path) as address, aiohttp.ClientSession(f"http://{address}") as session:
        lines = [await page(session, path) for path in PATHS]
        async with session.get("/metrics") as response:
            assert response.content_type == "text/plain"
            text = await response.text()
            lines += ["", *metrics(text)]
        promtool("check", "metrics", text=text)
        async with session.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response:
            assert response.content_type == "application/openmetrics-text"
            named = {family.name for family in parse_open_metrics(await response.text())}
        plain = {family.name.removesuffix("_info") for family in text_string_to_metric_families(text)}
        assert named == plain - created(text)
    text = "\n".join([*lines, ""])
    expected = LISTS / f"{name}.txt"
    if os.environ.get("REWRITE"):
        expected.write_text(text)
    assert text == expected.read_text()


async def page(session: aiohttp.ClientSession, path: str) -> str:
    async with session.get(path) as response:
        return f"{path} {response.status} {(await response.text())!r}"


def created(text: str) -> set[str]:
    """What only the older format has as metrics of their own."""
    return {family.name for family in text_string_to_metric_families(text) if family.name.endswith("_created")}


def metrics(text: str) -> list[str]:
    """Each metric's name, type, description and labels."""
    return [
        f"{family.name} {family.type} {sorted({label for sample in family.samples for label in sample.labels})} "
        f"{family.documentation}"
        for family in text_string_to_metric_families(text)
        if not family.name.endswith("_created")
    ]
