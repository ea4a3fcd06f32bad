"""An event loop that is held up costs no role: heartbeats leave from a thread of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from bench.chaos.poison import path_with_defect
from bench.cluster.cluster import running_cluster, wait_for

#: How often each node's loop is held up, for 0.8 s of every second, while the primary has to stay what it is.
HOLDS = 12


async def test_a_held_loop_costs_no_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tmp_path / "held"
    monkeypatch.setenv("PYTHONPATH", path_with_defect())
    monkeypatch.setenv("FASTTREE_HOLD_LOOP", str(held))
    async with running_cluster(tmp_path / "cluster", nodes=2) as running:
        await running.wait_ready()
        before = await running.wait_primary()
        epoch = (await running.cluster()).epoch
        held.touch()
        for _ in range(HOLDS):
            await asyncio.sleep(1.0)
            cluster = await running.cluster()
            assert (cluster.epoch, cluster.primary) == (epoch, before), "a role changed"
            assert all(node.alive for node in cluster.nodes)
        held.unlink()

        async def delay_s() -> float:
            url = f"http://{running.endpoints['nodes'][0]['http']}/metrics"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                lines = (await answer.text()).splitlines()
            (line,) = [line for line in lines if line.startswith("fasttree_node_loop_delay_seconds")]
            return float(line.rpartition(" ")[2])

        # It was held up, really, and the node says so.
        assert await wait_for(delay_s, 30, "the metrics") > 0.4
