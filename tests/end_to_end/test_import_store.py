"""The machine of the pusher that took an import is gone, and so are both nodes' disks: the file is in the store, and
the nodes get it from the pusher that goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from pathlib import Path

from bench.changeovers.orders import active_pusher
from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.rivals.postgres_replicas import ReplicatedPostgres
from bench.servers.s3_server import S3Server
from fasttree.client import Client
from tests.end_to_end.test_failover import load_library
from tests.object_store import s3_settings
from tests.postgresql_server import schema_settings

WAIT_S = 120.0


async def test_an_import_outlives_the_pusher_that_took_it(
    library_csv: Path, postgresql: ReplicatedPostgres, s3: S3Server, tmp_path: Path
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        log = stack.enter_context(schema_settings(postgresql))
        settings = {
            "log_store": "postgresql",
            "log_url": log.log_url,
            "log_schema": log.postgresql.log_schema,
            # As on machines of their own: what this disk has is not what counts.
            "import_look_s": 3_600.0,
            **s3_settings(s3, tmp_path),
        }
        given = [part for name, value in settings.items() for part in ("--set", f"pusher.{name}={value}")]
        cluster: RunningCluster = await stack.enter_async_context(
            running_cluster(tmp_path / "cluster", arguments=("--pushers", "2", *given))
        )
        client = await stack.enter_async_context(Client.from_endpoints_file(cluster.folder / "endpoints.json"))
        await load_library(client, library_csv)
        await cluster.wait_ready()
        before = await active_pusher(client)
        kept = (await client.get_pusher()).imports_kept
        assert (kept.shared, kept.problem) == (True, "")

        cluster.kill(before.pusher, signal.SIGSTOP)
        nodes = {name: cluster.kill(name, signal.SIGSTOP) for name in cluster.node_names}
        for folder in ("pusher/imports", *nodes):
            await asyncio.to_thread(shutil.rmtree, cluster.folder / "state" / folder)
        for part in (before.pusher, *nodes):
            cluster.kill(part, signal.SIGKILL)

        async def began_anew() -> bool:
            return all(cluster.pid_of(name) != pid for name, pid in nodes.items())

        await wait_for(began_anew, WAIT_S, "other processes of the nodes")
        after = await active_pusher(client, other_than=before.pusher_epoch)
        assert after.pusher != before.pusher
        await cluster.wait_applied(0, import_id=1, timeout_s=WAIT_S)
        await cluster.wait_ready()
        updates = (await judge_log(client, [])).updates
        assert await differing_nodes(cluster, replay(library_csv, updates)) == []
