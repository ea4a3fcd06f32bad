"""A console that is killed in the middle of a drill: its next start undoes what that did, and until then it is told."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from fasttree.client import Client, NotFoundError
from fasttree.client.drill.receipt import SWITCHOVER
from fasttree.v1 import pusher_pb2
from services.console.http.guarding import OWN_HEADER
from tests.command.fasttree_command import FastTree

pytestmark = pytest.mark.timeout(600)
WAIT_S = 90.0


async def asked(cluster: RunningCluster, path: str, method: str = "GET") -> dict[str, Any]:
    """Of the console, as its pages ask it; nothing where it is away."""
    address = f"http://{cluster.endpoints['console']}{path}"
    try:
        async with (
            aiohttp.ClientSession(headers={OWN_HEADER: "1"}) as session,
            session.request(method, address, json={} if method == "POST" else None) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())
    except aiohttp.ClientConnectionError:
        return {}


async def drill_is(cluster: RunningCluster, condition: str, *, running: bool, step: str = "") -> dict[str, Any]:
    """Waits until that is so of the newest drill; returns it."""

    async def so() -> dict[str, Any]:
        told = await asked(cluster, "/api/drill")
        newest = told.get("newest")
        there = newest and told["running"] == running and (not step or step in [one["step"] for one in newest["steps"]])
        return dict(newest) if newest and there else {}

    return dict(await wait_for(so, WAIT_S, condition))


async def test_a_drill_whose_console_is_killed_is_undone_by_the_next_one(library_csv: Path, tmp_path: Path) -> None:
    async with (
        running_cluster(tmp_path / "cluster", console=True) as cluster,
        Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
    ):
        imported = await client.upload_import(library_csv)
        states = [status.state async for status in client.watch_import(imported.import_id, patience_s=WAIT_S)]
        assert states[-1] == pusher_pb2.IMPORT_STATE_DONE
        await cluster.wait_ready()
        before = await cluster.wait_primary()

        await asked(cluster, "/api/drill", "POST")
        await drill_is(cluster, "the switchover to be under way", running=True, step=SWITCHOVER)
        kept = json.loads((cluster.folder / "state" / "console" / "drill.json").read_text())
        assert kept["primary"] == before
        console = cluster.kill("console")
        cluster.kill("pusher", signal.SIGSTOP)  # so that nothing can be undone yet
        try:
            told = await drill_is(cluster, "the next console to undo the drill", running=True)
            assert told["of_before"] is True
            assert cluster.pid_of("console") != console
            fasttree = FastTree(tmp_path / "asks", client.endpoints)
            status = await fasttree("status")
            assert (status.code, "a drill from the console is not undone" in status.out + status.err) == (1, True)
            problems = (await asked(cluster, "/api/state"))["problems"]
            assert [one["alert"] for one in problems if kept["name"] in one["text"]] == ["FastTreeDrillNotUndone"]
        finally:
            cluster.kill("pusher", signal.SIGCONT)

        told = await drill_is(cluster, "the drill to be undone", running=False)
        assert (told["left_behind"], [step["good"] for step in told["steps"]]) == ("", [True])
        assert await cluster.wait_primary() == before
        with pytest.raises(NotFoundError):
            await client.reports.get_member(kept["name"])
        assert not (cluster.folder / "state" / "console" / "drill.json").exists()

        async def all_is_well() -> bool:
            return (await fasttree("status")).code == 0

        await wait_for(all_is_well, WAIT_S, "status to have nothing to say")
        assert (await asked(cluster, "/api/drill"))["not_undone"] is False
