"""The nodes' logs as one: merged, followed, and who can't be had named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from fasttree.client import Client, FastTreeClientError
from fasttree.v1 import coordinator_pb2
from services.datatrax.logs import asking
from services.datatrax.logs.asking import NodePages
from services.datatrax.logs.gathering import GatheredLog
from services.datatrax.logs.places import NodePlaces
from services.shared.debug.debug_log import NODE_LOG, DebugLog
from services.shared.debug.pages import DebugPages
from tests.waiting import until

PATH = f"/debug/{NODE_LOG}"


class Places:
    """Where the nodes are, as a test says."""

    def __init__(self) -> None:
        self.problem = ""
        self.nodes: dict[str, str] = {}

    async def now(self) -> dict[str, str]:
        return dict(self.nodes)


class Cluster:
    """Nodes with their own pages, and the gathered log of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.places, self.pages = folder, Places(), NodePages(answer_s=5.0)
        self.logs: dict[str, DebugLog] = {}
        self.gathered = GatheredLog(PATH, cast("NodePlaces", self.places), self.pages)
        self._runners: dict[str, tuple[web.AppRunner, DebugPages]] = {}

    async def start(self, name: str) -> None:
        log = self.logs[name] = DebugLog(self.folder / name / NODE_LOG, 1 << 20)
        served = DebugPages({NODE_LOG: log}, log.follow)
        await self.serve(name, served.routes(), served)

    async def serve(self, name: str, routes: list[web.RouteDef], served: DebugPages | None = None) -> None:
        application = web.Application()
        application.add_routes(routes)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.places.nodes[name] = f"127.0.0.1:{runner.addresses[0][1]}"
        self._runners[name] = runner, served or DebugPages({}, _nothing)

    async def end(self, name: str) -> None:
        runner, served = self._runners.pop(name)
        served.end()
        await runner.cleanup()

    async def close(self) -> None:
        await self.gathered.close()
        await self.pages.close()
        for name in list(self._runners):
            await self.end(name)
        for log in self.logs.values():
            log.close()


def note(into: list[str], line: str) -> None:
    into.append(line)


def is_followed(log: DebugLog) -> bool:
    return log.broadcast.heard


def is_alone(log: DebugLog) -> bool:
    return not log.broadcast.heard


async def _nothing() -> AsyncIterator[str]:
    raise AssertionError
    yield ""


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    made = Cluster(folder)
    await made.start("n1")
    await made.start("n2")
    try:
        yield made
    finally:
        await made.close()


async def test_the_ends_of_all_logs_are_merged_by_time_and_name_their_node(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        for number in range(4):
            nodes.logs[f"n{1 + number % 2}"].write([f"line {number}"])
            await asyncio.sleep(0.005)  # each has a millisecond of its own
        lines = await nodes.gathered.last(100)
        assert [(line.split()[0], line.partition("Z ")[2]) for line in lines] == [
            ("n1", "line 0"), ("n2", "line 1"), ("n1", "line 2"), ("n2", "line 3"),
        ]  # fmt: skip
        assert [line.partition("Z ")[2] for line in await nodes.gathered.last(2)] == ["line 2", "line 3"]
        assert await nodes.gathered.last(0) == []


async def test_a_node_that_can_not_be_had_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        nodes.logs["n1"].write(["here"])
        await nodes.end("n2")
        lines = await nodes.gathered.last(10)
        assert lines[0].startswith("n1 ")
        assert lines[0].endswith(" here")
        assert lines[1].startswith("n2 can't be read: ")
        nodes.places.nodes.clear()
        nodes.places.problem = "the coordinator is away"
        assert await nodes.gathered.last(10) == ["the coordinator is away"]
        nodes.places.problem = ""
        assert await nodes.gathered.last(10) == ["no node is known to the coordinator"]


async def test_lines_are_followed_from_every_node_also_one_that_comes_later(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        heard: list[str] = []

        async def listen() -> None:
            async for line in nodes.gathered.follow():
                note(heard, line.split(" ", 2)[0] + " " + line.rpartition(" ")[2])

        def has(line: str) -> bool:
            return line in heard

        listening = asyncio.create_task(listen())
        for name in ("n1", "n2"):
            await until(partial(is_followed, nodes.logs[name]), f"{name} to be followed")
            nodes.logs[name].write(["first"])
            await until(partial(has, f"{name} first"), f"the line of {name}")
        await nodes.start("n3")
        await until(lambda: nodes.logs["n3"].broadcast.heard, "n3 to be followed")
        nodes.logs["n3"].write(["later"])
        await until(lambda: has("n3 later"), "the line of n3")
        # It goes, and is there again at another place.
        await nodes.end("n2")
        await until(lambda: any(line.startswith("n2 ") and line != "n2 first" for line in heard), "word of n2")
        await nodes.start("n2")
        await until(lambda: nodes.logs["n2"].broadcast.heard, "n2 to be followed again")
        nodes.logs["n2"].write(["back"])
        await until(lambda: has("n2 back"), "its line")
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        # Nobody follows here, so nobody is followed.
        for name in ("n1", "n2", "n3"):
            await until(partial(is_alone, nodes.logs[name]), f"{name} to be let go")


async def test_two_who_follow_cost_each_node_one_stream(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        heard: list[list[str]] = [[], []]

        async def listen(into: list[str]) -> None:
            async for line in nodes.gathered.follow():
                note(into, line)

        listening = [asyncio.create_task(listen(into)) for into in heard]
        await until(lambda: nodes.logs["n1"].broadcast.heard, "n1 to be followed")
        nodes.logs["n1"].write(["a line"])
        await until(lambda: all(heard), "the line at both")
        assert len(nodes.logs["n1"].broadcast._followers) == 1
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)


@pytest.mark.parametrize("attack", ["endless", "one line", "error", "elsewhere", "terminal"])
async def test_what_a_node_may_cost_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str) -> None:
    monkeypatch.setattr(asking, "_ANSWER_BYTES_MAX", 100_000)

    async def page(request: web.Request) -> web.StreamResponse:
        if attack == "elsewhere":
            raise web.HTTPFound("http://127.0.0.1:1/")
        if attack == "error":
            return web.Response(status=500, text="\x1b[31m" + "x" * 5_000)
        response = web.StreamResponse()
        await response.prepare(request)
        if attack == "terminal":
            await response.write(b"\x1b[2J\xff line\n")
        for _ in range(0 if attack == "terminal" else 1_000):
            await response.write(b"x" * 1_000 + (b"\n" if attack == "endless" else b""))
        return response

    async with cluster(tmp_path) as nodes:
        nodes.places.nodes.clear()
        await nodes.serve("n9", [web.get("/debug/{name}", page)])
        (line,) = await nodes.gathered.last(10)
        assert len(line) < 3_000
        assert "\x1b" not in line
        assert line.startswith("n9 \\x1b[2J" if attack == "terminal" else "n9 can't be read: ")


async def test_pages_serve_it_as_any_log(tmp_path: Path) -> None:
    async with cluster(tmp_path) as nodes:
        nodes.logs["n2"].write(["a line"])
        served = DebugPages({NODE_LOG: nodes.gathered}, nodes.gathered.follow)
        await nodes.serve("host", served.routes(), served)
        place = nodes.places.nodes.pop("host")
        async with aiohttp.ClientSession() as session, session.get(f"http://{place}{PATH}") as response:
            assert (await response.text()).endswith(" a line\n")
        async with aiohttp.ClientSession() as session, session.get(f"http://{place}{PATH}?follow=1") as response:
            assert (await response.content.readline()).endswith(b" a line\n")
            await until(lambda: nodes.logs["n1"].broadcast.heard, "n1 to be followed")
            nodes.logs["n1"].write(["another"])
            assert (await asyncio.wait_for(response.content.readline(), 60)).endswith(b" another\n")


async def test_the_nodes_that_were_known_are_asked_while_the_coordinator_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.datatrax.logs.places._FRESH_S", 0.0)

    class Coordinator:
        away = False

        async def get_cluster(self) -> coordinator_pb2.Cluster:
            if self.away:
                raise FastTreeClientError("nobody\nthere")
            nodes = [
                coordinator_pb2.ClusterNode(
                    address=coordinator_pb2.NodeAddress(name=name, http=http), alive=name != "gone"
                )
                for name, http in (("n1", "10.0.0.1:50200"), ("gone", "10.0.0.2:50200"), ("odd", "x/y@z:1"))
            ]
            return coordinator_pb2.Cluster(nodes=nodes)

    coordinator = Coordinator()
    places = NodePlaces(cast("Client", coordinator))
    assert await places.now() == {"n1": "10.0.0.1:50200"}
    coordinator.away = True
    assert await places.now() == {"n1": "10.0.0.1:50200"}
    assert places.problem == "nobody\\x0athere"
