"""What stays in the folder of 2016, and what goes once it is old."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from fasttree.client import Client, Endpoints
from fasttree.v1 import coordinator_pb2
from services.datatrax.progress import ProgressFiles
from tests.fakes.coordinator import FakeCoordinator
from tests.waiting import until

DAY_S = 86_400.0


def aged(path: Path, text: str, days: float) -> Path:
    path.write_text(text)
    changed_s = time.time() - days * DAY_S
    os.utime(path, (changed_s, changed_s))
    return path


async def test_files_of_nodes_that_have_left_go_and_nothing_else_does(tmp_path: Path) -> None:
    coordinator = FakeCoordinator()
    await coordinator.start()
    coordinator.add_node("ftsp01", coordinator_pb2.NODE_STATE_PRIMARY, import_id=4, position=17)
    coordinator.add_node("ftsp02", coordinator_pb2.NODE_STATE_PASSIVE)
    coordinator.cluster.nodes[1].alive = False
    gone = [aged(tmp_path / "ftsp03.50201", "", 31.0), aged(tmp_path / "old.50201", "old: passive, import 1\n", 40.0)]
    stay = [
        aged(tmp_path / "ftsp02.50201", "ftsp02: passive, import 4\n", 90.0),  # away, and still in the cluster
        aged(tmp_path / "ftsp04.50201", "", 29.0),
        aged(tmp_path / "ftsp03.50202", "", 90.0),  # another cluster's
        aged(tmp_path / "hosts.50201", "", 90.0),
        aged(tmp_path / "hosts.50201.before", "ftsp01 50100 50201\n", 90.0),
        aged(tmp_path / "notes.50201", "whom to call\n", 90.0),
    ]
    (tmp_path / "FT.50201").mkdir()
    (tmp_path / "link.50201").symlink_to(gone[0])
    client = Client(Endpoints(coordinator=coordinator.address))
    running = asyncio.create_task(ProgressFiles(tmp_path, 50_201, client, 30.0 * DAY_S).run())
    await until(lambda: not any(path.exists() for path in gone), "the old ones to go")
    assert all(path.exists() for path in stay)
    assert {path.name for path in tmp_path.iterdir()} == {
        "ftsp01.50201", "FT.50201", "link.50201", *(path.name for path in stay),
    }  # fmt: skip
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()
    await coordinator.stop()


async def test_a_coordinator_that_knows_nobody_yet_has_nothing_removed(tmp_path: Path) -> None:
    coordinator = FakeCoordinator()
    await coordinator.start()
    old = aged(tmp_path / "ftsp03.50201", "", 90.0)
    client = Client(Endpoints(coordinator=coordinator.address))
    running = asyncio.create_task(ProgressFiles(tmp_path, 50_201, client, 1.0).run())
    await asyncio.sleep(0.2)
    assert old.exists()
    coordinator.add_node("ftsp01", coordinator_pb2.NODE_STATE_PRIMARY)
    await until(lambda: not old.exists(), "it to go")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()
    await coordinator.stop()
