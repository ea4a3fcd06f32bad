"""Somebody else gives a node an import, by its instant port: it is an alarm, no import is done, and the way out that
docs/operations.md tells leads out."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from fasttree.client import Client
from fasttree.v1 import pusher_pb2, treenode_pb2, treenode_pb2_grpc
from tests.command.fasttree_command import FastTree
from tests.fakes.pusher import fake_pusher

HEADER = "member_id,sponsor_id,status,rank,joined_on,pv\n"
ALONE = HEADER + "A,,A,1,2026-11-01,0\n"
MEMBERS = ALONE + "B,A,A,1,2026-11-02,10.00\nC,A,A,1,2026-11-03,5.00\n"
STRANGE_ID = 2**62


async def give(cluster: RunningCluster, name: str, content: bytes) -> None:
    """Has the node take a file that is served from elsewhere."""
    async with fake_pusher() as elsewhere:
        manifest = elsewhere.add_import(STRANGE_ID, content, as_of_position=0, force=True)
        request = treenode_pb2.LoadImportRequest(
            manifest=manifest, sources=[elsewhere.address], pusher_address=str(cluster.endpoints["pusher"])
        )
        stub = treenode_pb2_grpc.TreeNodeServiceStub(cluster.channel(cluster.node(name)["instant"]))
        async for progress in stub.LoadImport(request, timeout=60):
            last = progress
        assert last.phase == treenode_pb2.IMPORT_PHASE_DONE


async def test_a_node_with_an_import_of_somebody_else_is_named_until_it_begins_anew(tmp_path: Path) -> None:
    async with (
        running_cluster(tmp_path / "cluster") as cluster,
        Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
    ):
        (tmp_path / "members.csv").write_text(MEMBERS)
        await client.upload_import(tmp_path / "members.csv")
        await cluster.wait_applied(0, import_id=1)
        fasttree = FastTree(tmp_path / "client", client.endpoints)
        assert (await fasttree("status")).code == 0
        primary = await cluster.wait_primary()
        passive = next(name for name in cluster.node_names if name != primary)
        await give(cluster, passive, ALONE.encode())

        async def is_named() -> bool:
            return (
                f"{passive} serves import {STRANGE_ID}, which the pusher never gave" in (await fasttree("status")).err
            )

        await wait_for(is_named, 60, "the alarm")
        assert "Traceback" not in (cluster.folder / "logs" / "pusher.log").read_text()
        await client.upload_import(tmp_path / "members.csv")

        async def state() -> pusher_pb2.ImportStatus:
            return (await cluster.pusher()).imports[0]

        async def primary_has_it() -> bool:
            done = [
                node.node for node in (await state()).nodes if node.progress.phase == treenode_pb2.IMPORT_PHASE_DONE
            ]
            return bool(done) and passive not in done

        await wait_for(primary_has_it, 60, "the other node to take the newer import")
        assert (await state()).state == pusher_pb2.IMPORT_STATE_ROLLING_OUT

        # The way out: its state is moved away, and it begins anew.
        pid = cluster.kill(passive, signal.SIGSTOP)
        shutil.rmtree(cluster.folder / "state" / passive)
        cluster.kill(passive, signal.SIGKILL)

        async def began_anew() -> bool:
            return cluster.pid_of(passive) != pid

        await wait_for(began_anew, 60, "another process")

        async def is_done() -> bool:
            return (await state()).state == pusher_pb2.IMPORT_STATE_DONE

        await wait_for(is_done, 120, "the import to be done")
        await cluster.wait_ready()
        assert (await fasttree("status")).code == 0
