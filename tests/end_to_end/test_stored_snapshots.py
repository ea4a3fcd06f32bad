"""Every disk of every node is lost, and the import's file too: the nodes start from what is stored in a bucket, and
follow the log."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from bench.cluster.cluster import running_cluster, wait_for
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.servers.s3_server import S3Server
from fasttree.client import Client
from fasttree.v1 import types_pb2
from tests.end_to_end.library_tree import LibraryTree
from tests.end_to_end.test_failover import load_library
from tests.object_store import snapshot_settings
from tests.updates import posted

WAIT_S = 120.0
ORDERS = 200


async def push(client: Client, members: list[str], first: int) -> int:
    """So many orders more; the log's end then."""

    async def orders() -> AsyncIterator[types_pb2.Update]:
        for number in range(first, first + ORDERS):
            yield posted(f"O-{number}", members[number % len(members)])

    return [receipt async for receipt in client.push(orders())][-1].position


async def test_three_nodes_start_from_a_bucket_when_all_their_disks_are_lost(
    library: LibraryTree, library_csv: Path, s3: S3Server, tmp_path: Path
) -> None:
    stored = snapshot_settings(
        s3, tmp_path, snapshot_interval_s=0.2, snapshot_store_interval_s=0.2, snapshot_look_s=0.2
    )
    given = [part for name, value in stored.items() for part in ("--set", f"treenode.{name}={value}")]
    async with contextlib.AsyncExitStack() as stack:
        folder = tmp_path / "cluster"
        cluster = await stack.enter_async_context(running_cluster(folder, nodes=3, arguments=tuple(given)))
        client = await stack.enter_async_context(Client.from_endpoints_file(folder / "endpoints.json"))
        await load_library(client, library_csv)
        await cluster.wait_ready()
        end = await push(client, library.member_ids[1:], 0)
        await cluster.wait_applied(end, import_id=1)

        async def is_stored() -> bool:
            nodes = [(await cluster.node_status(name)).status.stored_snapshot for name in cluster.node_names]
            return all((node.import_id, node.position) == (1, end) and not node.problem for node in nodes)

        await wait_for(is_stored, WAIT_S, "a stored snapshot that every node knows of")
        pids = {name: cluster.kill(name, signal.SIGSTOP) for name in cluster.node_names}
        for lost in (*pids, "pusher/imports"):
            await asyncio.to_thread(shutil.rmtree, folder / "state" / lost)
        later = await push(client, library.member_ids[1:], ORDERS)
        for name in pids:
            cluster.kill(name, signal.SIGKILL)

        async def began_anew() -> bool:
            return all(cluster.pid_of(name) != pid for name, pid in pids.items())

        await wait_for(began_anew, WAIT_S, "other processes of the nodes")
        await cluster.wait_applied(later, import_id=1, timeout_s=WAIT_S)
        await cluster.wait_ready()
        updates = (await judge_log(client, [])).updates
        assert await differing_nodes(cluster, replay(library_csv, updates)) == []
