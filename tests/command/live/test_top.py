"""`fasttree top`: on a terminal, as JSON, through an outage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.command.fasttree_command import FastTree
from tests.command.live.pages import Page, figures
from tests.command.live.terminal import at_terminal
from tests.fakes.cluster import FakeCluster


class Served(dict[str, Page]):
    """Pages by the part that shows them."""


@pytest.fixture
async def pages(cluster: FakeCluster) -> AsyncIterator[Served]:
    served = Served(
        n1=Page(figures("node", 10, 100, 1.0)),
        n2=Page(figures("node", 10, 0, 1.0)),
        pusher=Page(figures("pusher", 10, 0, 1.0)),
        coordinator=Page(figures("coordinator", 1, 0, 1.0)),
    )
    async with AsyncExitStack() as until_then:
        places = {name: await until_then.enter_async_context(page.served()) for name, page in served.items()}
        cluster.endpoints = replace(
            cluster.endpoints,
            nodes=tuple(replace(node, http=places[node.name]) for node in cluster.endpoints.nodes),
            http={name: places[name] for name in ("pusher", "coordinator")},
        )
        yield served


@pytest.fixture
def top(pages: Served, cluster: FakeCluster, tmp_path: Path) -> FastTree:
    return FastTree(tmp_path, cluster.endpoints)


async def test_it_shows_each_part_and_the_busiest_calls(pages: Served, top: FastTree, cluster: FakeCluster) -> None:
    async with at_terminal(top.endpoints_path, "top", "--every", "0.2", "--timeout", "0.5") as terminal:
        await terminal.shows("primary n1")
        for grown in range(1, 1_000):
            pages["n1"].text = figures("node", 10 + grown, 100 + 50 * grown, 1.0)
            if any("GetMember  n1" in line for line in terminal.frame):
                break
            await terminal.another()
        assert max(map(len, terminal.frame)) <= 80
        assert [line.split()[:3] for line in terminal.frame[2:6]] == [
            ["n1", "primary", "7"],
            ["n2", "passive", "7"],
            ["pusher", "0", "0"],
            ["coordinator", "64", "0"],
        ]
        pages["n2"].text = None
        await terminal.shows("says 503: not now")
        await cluster.coordinator.stop()
        await cluster.pusher.stop()
        await terminal.shows("error: coordinator: ")
        await terminal.shows("no answer")
        await terminal.shows("n1")
        await cluster.coordinator.start()
        await terminal.shows("primary n1")
        terminal.press("q")
        assert await terminal.ends() == 0


async def test_as_json_it_is_a_line_a_look(top: FastTree) -> None:
    ran = await top("top", "--json", "--every", "0.1", "--count", "2")
    assert ran.code == 0
    for line in ran.json_lines:
        assert (line["cluster"], line["primary"], line["epoch"], line["problems"]) == ("dot-test", "n1", 4, [])
        assert [(part["name"], part["kind"], part["state"]) for part in line["parts"]] == [
            ("n1", "node", "primary"),
            ("n2", "node", "passive"),
            ("pusher", "pusher", ""),
            ("coordinator", "coordinator", ""),
        ]
        assert line["parts"][0]["updates_per_s"] == line["parts"][0]["reads_per_s"] == 0.0


async def test_where_no_port_is_known_it_says_so(cluster: FakeCluster, fasttree: FastTree) -> None:
    ran = await fasttree("top", "--count", "1", "--every", "0.1")
    assert ran.code == 0
    assert "n2: its HTTP port is not known: name it in the endpoints file, as http" in ran.out


async def test_where_nobody_answers_the_end_is_1(cluster: FakeCluster, fasttree: FastTree) -> None:
    await cluster.stop()
    ran = await fasttree("top", "--count", "1", "--every", "0.1", "--timeout", "0.3")
    assert ran.code == 1
    assert ran.err.startswith("error: coordinator: ")
    await cluster.start()


async def test_an_id_is_of_the_report_that_was_named_so(cluster: FakeCluster, fasttree: FastTree) -> None:
    ran = await fasttree("top", "m1", "--by", "pv")
    assert ran.code == 2
    assert "fasttree largest" in ran.err
