"""What the page of the cluster shows: what `fasttree status` prints, live, and what is wrong on top."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from fasttree.v1 import coordinator_pb2
from services.console.api.runbook import Runbook
from tests.command.fasttree_command import FastTree
from tests.console.conftest import Asking, running_console
from tests.fakes.cluster import FakeCluster
from tests.waiting import until

ROOT = Path(__file__).parents[2]


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """As a browser reads them."""
    name = ""
    async for line in answer.content:
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


async def state_where(answer: aiohttp.ClientResponse, holds: Any) -> dict[str, Any]:
    """The first state of a stream of which that is so."""
    async with asyncio.timeout(60), aclosing(events(answer)) as heard:  # type: ignore[type-var]
        async for name, data in heard:
            if name == "state" and holds(data):
                return data  # type: ignore[no-any-return]
    raise AssertionError("the stream ended")


def texts(state: dict[str, Any]) -> str:
    return "\n".join(problem["text"] for problem in state["problems"])


async def test_it_shows_what_the_command_prints(cluster: FakeCluster, console: Asking, tmp_path: Any) -> None:
    async def known() -> bool:
        _, state = await console.get("/api/state")
        status = state["status"]
        return bool(status["log"] and status["coordinators"]) and len(state["holds"]) == 2

    await until(known, "all answers")
    _, state = await console.get("/api/state")
    printed = (await FastTree(tmp_path, cluster.endpoints)("status", "--json")).json
    faults = [problem["text"] for problem in state["problems"] if problem["fault"]]
    assert faults == printed.pop("problems")
    for one in (*state["status"]["nodes"], *printed["nodes"]):
        one.pop("silent_ms")
    assert state["status"] == printed
    assert state["holds"]["n1"]["members"] == 4


async def test_a_browser_hears_of_changes_by_itself(cluster: FakeCluster, console: Asking) -> None:
    async with console.session.get("/api/events") as answer:
        await state_where(answer, lambda state: state["status"]["primary"] == "n1")
        assert await console.post("/api/switchover", to_node="n2") == (
            200,
            {"from_node": "n1", "to_node": "n2", "epoch": 5, "took_ms": 12},
        )
        moved = await state_where(answer, lambda state: state["status"]["primary"] == "n2")
        assert moved["changes"][0]["text"] == "epoch 5: n2 is primary (before: n1)"
        assert (await console.post("/api/pause"))[0] == 200
        paused = await state_where(answer, lambda state: state["status"]["paused"])
        assert "elections are paused" in texts(paused)
        assert (await console.post("/api/resume"))[0] == 200
        await state_where(answer, lambda state: not state["status"]["paused"])


async def test_who_is_away_is_said_to_be_away_and_comes_back(cluster: FakeCluster, console: Asking) -> None:
    async with console.session.get("/api/events") as answer:
        await cluster.coordinator.stop()
        gone = await state_where(answer, lambda state: "coordinator does not answer" in texts(state))
        assert gone["status"]["primary"] is None  # what was so before is not shown as if it were so now
        await cluster.pusher.stop()
        gone = await state_where(answer, lambda state: "pusher does not answer" in texts(state))
        assert gone["status"]["log"] is None
        await cluster.coordinator.start()
        await cluster.pusher.start()
        back = await state_where(answer, lambda state: not any(one["fault"] for one in state["problems"]))
        assert back["status"]["primary"] == "n1"


async def test_what_is_refused_says_why(console: Asking) -> None:
    status, answer = await console.post("/api/switchover", to_node="n9")
    assert status == 404
    assert answer["error"]["message"].startswith("no node n9")
    async with console.session.post("/api/switchover", data=b"[1]") as refused:
        assert (refused.status, (await refused.json())["error"]["message"]) == (
            400,
            "the request must be a JSON object",
        )
    async with console.session.post("/api/switchover", data=b"x" * 70_000) as refused:
        assert refused.status == 400


async def test_no_more_browsers_follow_than_are_allowed(cluster: FakeCluster) -> None:
    async with running_console(cluster, viewers_max=1) as asking:
        async with asking.session.get("/api/events") as first:
            assert first.status == 200
            status, answer = await asking.get("/api/events")
            assert status == 503
            assert "console.viewers_max" in answer["error"]["message"]
        await until(lambda: asking.console.viewers.count == 0, "the first one to be gone")


async def test_a_browser_that_reads_nothing_is_let_go(cluster: FakeCluster) -> None:
    async with running_console(cluster, stall_s=0.2) as asking:
        for number in range(3_000):
            cluster.coordinator.add_node(f"silent-{number}", coordinator_pb2.NODE_STATE_PASSIVE)
        cluster.coordinator.tell_watchers()
        reader, writer = await asyncio.open_connection("127.0.0.1", asking.console.http.port, limit=1_024)
        writer.write(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\nX-FastTree-Console: 1\r\n\r\n")
        await reader.readline()
        await until(lambda: asking.console.viewers.stalled == 1, "the console to give it up")
        await until(lambda: asking.console.viewers.count == 0, "its place to be free")
        writer.close()


async def test_every_problem_has_its_entry_in_the_runbook(console: Asking) -> None:
    _, answer = await console.get("/api/runbook")
    assert answer["alerts"] == Runbook().alerts
    primary = next(one for one in answer["alerts"] if one["alert"] == "FastTreeNoPrimary")
    assert primary["passages"][0].startswith("### There is no primary")
    leading = [one for one in answer["alerts"] if ".md#" in one["mend"]]
    assert all(one["passages"] for one in leading)
    # An installed package has the pages that they are of.
    pages = {page for one in leading for page in re.findall(r"\]\((\w+\.md)#", one["mend"])}
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {f"docs/{page}" for page in pages} <= shipped["force-include"].keys()


async def test_the_graph_has_a_step_for_each_look(console: Asking) -> None:
    async with console.session.get("/api/events") as answer:
        steps: list[dict[str, Any]] = []
        async with asyncio.timeout(60), aclosing(events(answer)) as heard:  # type: ignore[type-var]
            async for name, data in heard:
                steps += data if name == "lag" else []
                if len(steps) >= 5:
                    break
    assert [step["at"] for step in steps] == sorted({step["at"] for step in steps})


async def test_each_of_several_coordinators_and_pushers_is_shown(cluster: FakeCluster) -> None:
    """As the command shows them: who is away says nothing by itself."""
    active, pusher = cluster.coordinator.address, cluster.pusher.address
    cluster.coordinator.cluster.pushers.add(name="p1", address=pusher, alive=True)
    cluster.endpoints = replace(cluster.endpoints, coordinator=f"{active},127.0.0.1:1", pusher=f"127.0.0.1:1,{pusher}")
    async with running_console(cluster) as console, console.session.get("/api/events") as answer:
        state = await state_where(answer, lambda state: state["status"]["pushers_not_named"])
        assert [each["state"] for each in state["status"]["coordinators"]] == ["active", "not reached"]
        assert [each["address"] for each in state["status"]["pushers_not_named"]] == ["127.0.0.1:1"]
        assert "the coordinator at 127.0.0.1:1 can't be reached: Connection refused" in texts(state)
        assert "the coordinator has not heard the pusher at 127.0.0.1:1, nor can it be reached" in texts(state)
