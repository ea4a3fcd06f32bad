"""A drill from the page: what is refused, what is told of it, and that it can be broken off. The drill itself is tried
on real clusters (`tests/command/test_up.py`, `tests/end_to_end/test_console.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fasttree.client.drill.drill import Drill
from fasttree.client.drill.receipt import Step
from tests.console.conftest import Asking, running_console
from tests.fakes.cluster import FakeCluster


async def over(console: Asking, is_over: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What the page is told, once that is so."""
    async with asyncio.timeout(60):
        while True:
            _, told = await console.get("/api/drill")
            if is_over(told):
                return dict(told)
            await asyncio.sleep(0.01)


async def test_a_console_that_knows_no_process_kills_none(console: Asking) -> None:
    assert (await console.get("/api/drill"))[1] == {
        "can_kill": False,
        "reads_per_s": 200.0,
        "orders_per_s": 100.0,
        "running": False,
        "newest": None,
    }
    status, answer = await console.post("/api/drill", kill=True)
    assert (status, "console.endpoints_file" in answer["error"]["message"]) == (400, True)
    assert (await console.post("/api/drill", kill="yes"))[0] == 400


async def test_a_drill_that_can_not_begin_says_why_in_its_receipt(cluster: FakeCluster, console: Asking) -> None:
    cluster.coordinator.cluster.paused = True
    assert (await console.post("/api/drill"))[0] == 200
    told = (await over(console, lambda told: told["newest"] is not None and not told["running"]))["newest"]
    assert [(step["step"], step["good"]) for step in told["steps"]] == [("ready and equal", False)]
    assert "elections are paused" in told["steps"][0]["problem"]
    assert (told["receipt"]["good"], told["left_behind"]) == (False, "")


async def test_one_drill_at_a_time_and_one_that_is_broken_off_undoes_what_it_did(
    console: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone = asyncio.Event()

    async def begin(drill: Drill, _: Step) -> None:
        drill._primary_before = "n1"

    async def held(drill: Drill) -> None:
        async with drill._step("held"):
            await asyncio.Event().wait()

    async def undo(drill: Drill) -> None:
        await asyncio.sleep(0)
        undone.set()

    monkeypatch.setattr(Drill, "_begin", begin)
    monkeypatch.setattr(Drill, "_look", held)
    monkeypatch.setattr(Drill, "_undo", undo)
    assert (await console.post("/api/drill"))[0] == 200
    told = await over(console, lambda told: len(told["newest"]["steps"]) == 2)
    assert [step["over"] for step in told["newest"]["steps"]] == [True, False]
    assert (await console.post("/api/drill"))[0] == 409
    for _ in range(3):  # whoever is impatient breaks off no undoing
        assert (await console.post("/api/drill/end"))[0] == 200
    told = (await over(console, lambda told: not told["running"]))["newest"]
    assert told["steps"][-1]["problem"] == "broken off"
    assert undone.is_set()
    assert "NOT undone" in told["left_behind"]  # this test's undoing undoes nothing


async def test_an_endpoints_file_that_can_not_be_read_is_named(cluster: FakeCluster, tmp_path: Path) -> None:
    async with running_console(cluster, endpoints_file=str(tmp_path / "none.json")) as console:
        status, answer = await console.post("/api/drill", kill=True)
        assert (status, "none.json" in answer["error"]["message"]) == (502, True)
        assert (await console.get("/api/drill"))[1]["newest"] is None


async def test_a_drill_is_an_operators(cluster: FakeCluster, tmp_path: Path) -> None:
    async with running_console(cluster, key_file=str(tmp_path / "key")) as console:
        assert (await console.get("/api/drill"))[0] == 401
        for path in ("/api/drill", "/api/drill/end"):
            assert (await console.post(path))[0] == 401
