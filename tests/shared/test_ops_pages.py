"""Every page of the HTTP ports and every metric, beside the lists in `ops_pages/`: what monitors go by; and
docs/metrics.md, which has every figure that the services declare.

`REWRITE=1` writes both anew from what the services show and declare; read the difference then.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families

from services.coordinator.app import Coordinator
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.stores.store import MemoryStore
from services.datatrax.app import DataTrax
from services.datatrax.in_force.watching import WatchedConfiguration
from services.datatrax.settings import DataTraxSettings
from services.shared.config.sections import ClusterSettings
from services.shared.serving.channels import open_channel
from services.shared.serving.metrics import Declared
from tests.console.conftest import running_console
from tests.datatrax.least_file import file_of
from tests.datatrax.messages.gateway import Gateway, write_channels
from tests.docs.test_alert_rules import promtool
from tests.fakes.cluster import fake_cluster
from tests.fakes.heartbeats import Heartbeats
from tests.fakes.node import FakeNode
from tests.fakes.pusher import fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.pusher.running_pusher import running_pusher
from tests.treenode.running_node import running_node
from tests.updates import enrolled
from tests.waiting import until

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
LISTS = Path(__file__).parent / "ops_pages"
PAGES = ("/livez", "/readyz", "/primary", "/debug/x")
PATHS = ("/livez", "/readyz", "/primary", "/debug/mtree.log?lines=0", "/debug/hpushup.log?lines=x", "/debug/x", "/")


_TITLES = {"datatrax": "DataTrax"}


class Shown(NamedTuple):
    """One service: its HTTP port, what it declares, and the pages that monitors go by."""

    http: str
    declared: Sequence[Declared]
    paths: Sequence[str] = PATHS


@asynccontextmanager
async def coordinator(folder: Path) -> AsyncIterator[Shown]:
    settings = CoordinatorSettings(listen_host="127.0.0.1", port=0, http_port=0)
    running = await Coordinator.start(ClusterSettings(name="dot-test"), settings, MemoryStore())
    try:
        async with open_channel(f"127.0.0.1:{running.server.port}") as channel:
            await Heartbeats(channel, "n1", cluster="dot-test").talk()
            yield Shown(f"127.0.0.1:{running.http.port}", running.metrics.declared)
    finally:
        await running.stop()


@asynccontextmanager
async def pusher(folder: Path) -> AsyncIterator[Shown]:
    node = FakeNode()
    await node.start()
    async with running_pusher(folder, [node]) as running:
        await until(lambda: any(told.connected for told in running.fan_out.progress()), "the stream to the node")
        yield Shown(f"127.0.0.1:{running.http.port}", running.metrics.declared)
    await node.stop()


@asynccontextmanager
async def treenode(folder: Path) -> AsyncIterator[Shown]:
    async with (
        fake_pusher() as feeder,
        running_node(folder) as running,
        Stream(running, feeder) as stream,
    ):
        feeder.updates = [enrolled("A")]
        await stream.hello()
        await stream.send([1])
        yield Shown(running.address.http, running.metrics.declared)


@asynccontextmanager
async def datatrax(folder: Path) -> AsyncIterator[Shown]:
    """With everything that has figures: CBLDATATRAX, a spool, messages."""
    file, hosts = folder / "CBLDATATRAX", folder / "hosts"
    file.write_text(file_of())
    hosts.write_text("vip.example.com\n")
    gateway = await Gateway().start()
    settings = DataTraxSettings.of(
        pusher="127.0.0.1:1",
        instant_port=0,
        http_port=0,
        spool_folder=str(folder / "spool"),
        message_port=0,
        message_folder=str(folder / "state"),
        message_channels_file=str(write_channels(folder, gateway)),
    )
    watched = WatchedConfiguration(file, "live", hosts, 60.0, folder / "kept")
    service = await DataTrax.start(ClusterSettings(), settings, watched)
    try:
        yield Shown(f"127.0.0.1:{service.http.port}", service.metrics.declared, PAGES)
    finally:
        await service.stop()
        await gateway.stop()


@asynccontextmanager
async def console(folder: Path) -> AsyncIterator[Shown]:
    async with fake_cluster() as cluster, running_console(cluster) as asking:
        running = asking.console
        yield Shown(f"127.0.0.1:{running.http.port}", running.metrics.declared, PAGES)


Service = Callable[[Path], AbstractAsyncContextManager[Shown]]


SERVICES: tuple[Any, ...] = (coordinator, pusher, treenode, datatrax, console)


@pytest.mark.parametrize(("name", "service"), [(f.__name__, f) for f in SERVICES])
async def test_pages_and_metrics_are_those_of_the_list(name: str, service: Service, tmp_path: Path) -> None:
    async with service(tmp_path) as shown, aiohttp.ClientSession(f"http://{shown.http}") as session:
        lines = [await page(session, path) for path in shown.paths]
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
        declared = {each.name: each for each in shown.declared}
        assert len(declared) == len(shown.declared)
        shown_names = {
            family.name + "_total" * (family.type == "counter") for family in text_string_to_metric_families(text)
        }
        assert {each for each in shown_names - declared.keys() if not each.endswith("_created")} <= {"target_info"}
    check_page(name, shown.declared)
    text = "\n".join([*lines, ""])
    expected = LISTS / f"{name}.txt"
    if os.environ.get("REWRITE"):
        expected.write_text(text)
    assert text == expected.read_text()


def check_page(name: str, declared: Sequence[Declared]) -> None:
    """The service's section of docs/metrics.md has all that it declares."""
    title = f"\n## {_TITLES.get(name, name.capitalize())}\n"
    rows = []
    for each in sorted(declared):
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{each.name}` | {each.kind} | {labels} | {each.description.rstrip('.')} |")
    section = "\n".join(["", "| figure | kind | labels | what |", "|---|---|---|---|", *rows, ""])
    text = PAGE.read_text()
    named = set(re.findall(rf"fasttree_{name.removeprefix('tree')}_\w+", text.partition("\n## ")[0]))
    assert named <= {each.name for each in declared}
    head, _, rest = text.partition(title)
    found, more, after = rest.partition("\n## ")
    if os.environ.get("REWRITE"):
        PAGE.write_text(f"{head}{title}{section}{more}{after}")
        return
    assert found == section, "docs/metrics.md is stale: REWRITE=1 writes it anew"


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
