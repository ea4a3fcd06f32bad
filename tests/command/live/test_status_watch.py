"""`fasttree status --watch`: on a terminal, in a pipe, as JSON; through an outage; its ends."""

from __future__ import annotations

import signal

import pytest

from fasttree.client import Endpoints
from tests.command.fasttree_command import FastTree
from tests.command.live.terminal import at_terminal
from tests.fakes.cluster import FakeCluster


async def test_it_is_redrawn_in_its_place_until_a_key_ends_it(cluster: FakeCluster, fasttree: FastTree) -> None:
    cluster.coordinator.cluster.name = "dot-\x1b[31mlive"
    async with at_terminal(fasttree.endpoints_path, "status", "--watch", "--every", "0.1") as terminal:
        await terminal.shows("primary n1")
        assert "\x1b[32mprimary" in terminal.drawn
        cluster.coordinator.cluster.primary = "n2"
        await terminal.shows("primary n2")
        assert max(map(len, terminal.frame)) <= 80
        assert "\x1b[31m" not in terminal.drawn
        terminal.resize(24, 40)
        await terminal.shows("import  …")
        assert max(map(len, terminal.frame)) <= 40
        terminal.press("q")
        assert await terminal.ends() == 0
        assert "dot-\\x1b[31mlive · epoch 4 · primary n2" in terminal.left_behind
        assert terminal.is_echoing()


@pytest.mark.parametrize(("wish", "code"), [("keys", 130), (signal.SIGTERM, 143)], ids=["ctrl_c", "term"])
async def test_whatever_ends_it_gives_the_terminal_back(
    cluster: FakeCluster, fasttree: FastTree, wish: str | signal.Signals, code: int
) -> None:
    async with at_terminal(fasttree.endpoints_path, "status", "--watch", "--every", "0.1", NO_COLOR="1") as terminal:
        await terminal.shows("primary n1")
        if isinstance(wish, signal.Signals):
            terminal.send(wish)
        else:
            terminal.press("\x03")
        assert await terminal.ends() == code
        assert "Traceback" not in terminal.drawn
        assert "\x1b[32m" not in terminal.drawn
        assert terminal.is_echoing()


async def test_it_goes_on_through_an_outage_and_follows_a_cluster_to_other_ports(
    cluster: FakeCluster, fasttree: FastTree
) -> None:
    arguments = ("status", "--watch", "--every", "0.1", "--timeout", "0.5")
    # So wide that no line with a path in it is broken.
    async with at_terminal(fasttree.endpoints_path, *arguments, columns=400) as terminal:
        await terminal.shows("primary n1")
        await cluster.coordinator.stop()
        await terminal.shows("error: coordinator: ")
        fasttree.endpoints_path.unlink()
        await terminal.shows("endpoints.json does not exist")
        cluster.coordinator.address = ""
        await cluster.coordinator.start()  # at another port
        changed = Endpoints(pusher=cluster.pusher.address, coordinator=cluster.coordinator.address)
        changed.write(fasttree.endpoints_path)
        await terminal.shows("primary n1")
        assert not any("error" in line for line in terminal.frame)


async def test_in_a_pipe_it_is_plain_text(cluster: FakeCluster, fasttree: FastTree) -> None:
    ran = await fasttree("status", "--watch", "--every", "0.1", "--count", "2")
    once = await fasttree("status")
    assert ran.code == 0
    times, blocks = [], ran.out.strip().split("\n\n")
    for block in blocks:
        time, _, text = block.partition("\n")
        times.append(time)
        assert text == once.out.strip()
    assert len(times) == 2
    assert "\x1b" not in ran.out


async def test_as_json_it_is_a_line_a_look(cluster: FakeCluster, fasttree: FastTree) -> None:
    ran = await fasttree("status", "--watch", "--every", "0.1", "--count", "3", "--json")
    once = (await fasttree("status", "--json")).json
    assert len(ran.json_lines) == 3
    for line in ran.json_lines:
        assert line.pop("at").endswith("Z")
        assert line.keys() == once.keys()
        assert (line["primary"], line["problems"]) == ("n1", [])


async def test_the_last_look_says_how_it_ends(cluster: FakeCluster, fasttree: FastTree) -> None:
    await cluster.pusher.stop()
    ran = await fasttree("status", "--watch", "--every", "0.1", "--count", "1", "--timeout", "0.5")
    assert ran.code == 1
    assert ran.err.startswith("error: pusher: ")


async def test_how_it_looks_is_asked_of_watch_alone(cluster: FakeCluster, fasttree: FastTree) -> None:
    ran = await fasttree("status", "--every", "1")
    assert (ran.code, ran.out) == (2, "")
    assert "add --watch" in ran.err
