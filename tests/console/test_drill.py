"""A drill from the page: what is refused, what is told of it, and that it can be broken off. The drill itself is tried
on real clusters (`tests/command/test_up.py`, `tests/end_to_end/test_console.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fasttree.client.drill.drill import Drill
from fasttree.client.drill.receipt import UNDONE, DrillError, Step
from services.shared.serving.process import StartupError
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
        "not_undone": False,
        "kept": False,
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


async def test_what_a_drill_has_to_undo_is_written_down_before_it_changes_anything(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    pushed = asyncio.Event()

    async def push(_: Drill, update: Any) -> None:
        kept.append((update.update_id, json.loads((tmp_path / "drill.json").read_text())))
        pushed.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Drill, "_push", push)
    async with running_console(cluster, state_folder=str(tmp_path)) as console:
        await console.post("/api/drill")
        async with asyncio.timeout(60):
            await pushed.wait()
        ((update_id, found),) = kept
        assert (update_id, found["primary"]) == (f"{found['name']}-enrol", "n1")
        told = (await console.get("/api/drill"))[1]
        assert (told["running"], told["not_undone"]) == (True, False)  # it undoes that itself
        monkeypatch.setattr(Drill, "_undo", _nothing)
    assert (tmp_path / "drill.json").exists()


async def test_a_record_that_can_not_be_read_is_told(cluster: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "drill.json").write_text("{")
    async with running_console(cluster, state_folder=str(tmp_path)) as console:
        problems = (await console.get("/api/state"))[1]["problems"]
        (told,) = [one for one in problems if one["alert"] == "FastTreeDrillNotUndone"]
        assert (str(tmp_path / "drill.json") in told["text"], told["fault"]) == (True, True)


async def _nothing(_: Drill) -> None:
    """Undoes nothing."""


async def test_what_a_console_before_left_undone_is_told_and_undone_and_until_then_no_other_drill_begins(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"name": "drill-0123456789ab", "primary": "n2", "begun_ms": 1_700_000_000_000}
    (tmp_path / "drill.json").write_text(json.dumps(left))
    asked: list[tuple[str, str]] = []
    works = False

    async def undo(drill: Drill) -> None:
        asked.append((drill._name, drill._primary_before))
        with contextlib.suppress(DrillError):
            async with drill._step(UNDONE):
                if not works:
                    raise DrillError("n2 does not answer")
            await drill._keeps(None)

    monkeypatch.setattr(Drill, "_undo", undo)
    async with running_console(cluster, state_folder=str(tmp_path)) as console:
        told = await over(console, lambda told: bool(told["newest"]["steps"]))
        assert (told["running"], told["not_undone"], told["newest"]["of_before"]) == (True, True, True)
        assert told["newest"]["begun_at"] == left["begun_ms"]
        assert (await console.post("/api/drill"))[0] == 409
        problems = (await console.get("/api/state"))[1]["problems"]
        assert [one["alert"] for one in problems if left["name"] in one["text"]] == ["FastTreeDrillNotUndone"]
        await console.post("/api/drill/end")  # nobody has to wait for it
        told = await over(console, lambda told: not told["running"])
        assert (told["not_undone"], "NOT undone" in told["newest"]["left_behind"]) == (True, True)
        assert await _figure(console) == "1.0"
        assert (await console.post("/api/drill"))[0] == 409
    works = True
    async with running_console(cluster, state_folder=str(tmp_path)) as console:
        told = await over(console, lambda told: not told["running"])
        assert (told["not_undone"], told["newest"]["left_behind"]) == (False, "")
        assert await _figure(console) == "0.0"
        assert not (tmp_path / "drill.json").exists()
    assert set(asked) == {(left["name"], "n2")}


async def _figure(console: Asking) -> str:
    async with console.session.get("/metrics") as answer:
        (line,) = [line for line in (await answer.text()).splitlines() if line.startswith("fasttree_console_drill_not")]
    return line.split()[-1]


async def test_a_journal_that_can_not_be_written_keeps_the_drill_from_changing_anything(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_console(cluster, state_folder=str(tmp_path)) as console:
        (tmp_path / "drill.json.part").mkdir()
        await console.post("/api/drill")
        told = (await over(console, lambda told: not told["running"]))["newest"]
        assert "what would have to be undone can't be written down" in told["steps"][0]["problem"]
        assert told["left_behind"] == ""
        assert cluster.pusher.pushed_messages == 0


async def test_a_state_folder_is_one_consoles_and_what_can_not_be_read_there_is_named(
    cluster: FakeCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "drill.json").write_text("{")
    async with running_console(cluster, state_folder=str(tmp_path)) as console:
        assert "drill.json" in caplog.text
        assert (await console.get("/api/drill"))[1]["newest"] is None
        with pytest.raises(StartupError, match="is in use"):
            async with running_console(cluster, state_folder=str(tmp_path)):
                raise AssertionError("it started")
