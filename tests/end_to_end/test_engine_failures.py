"""The engine fails at an update, on every node: no report fails, and `fasttree log skip` mends it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from bench.chaos.poison import path_with_defect
from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from bench.cluster.judge import differing_nodes, judge_log, replay
from bench.cluster.read_load import ReadLoad
from fasttree.client import Client, Endpoints, UploadOptions
from fasttree.v1 import pusher_pb2, types_pb2
from services.shared.serving.channels import open_channel
from tests.command.fasttree_command import FastTree
from tests.end_to_end.library_tree import LibraryTree
from tests.end_to_end.test_failover import kill_and_come_back, load_library, wait_vip
from tests.updates import enrolled, posted


def change_of_rank(update_id: str, member_id: str) -> types_pb2.Update:
    return types_pb2.Update(update_id=update_id, member_changed=types_pb2.MemberChanged(member_id=member_id, rank=7))


@dataclass
class Cluster:
    """A cluster with the library's members, whose engine has a defect."""

    running: RunningCluster
    client: Client
    command: FastTree
    members: list[str]
    receipts: list[pusher_pb2.Receipt]

    async def push(self, *updates: types_pb2.Update) -> int:
        """Takes the receipts; the position of the first one."""

        async def each() -> AsyncIterator[types_pb2.Update]:
            for update in updates:
                yield update

        receipts = [receipt async for receipt in self.client.push(each())]
        assert [receipt.message for receipt in receipts if receipt.code] == []
        self.receipts += receipts
        return receipts[0].position

    async def wait_halted(self, before: int, fault: int, *names: str) -> None:
        async def all_say_so() -> bool:
            statuses = [(await self.running.node_status(name)).status for name in names or self.running.node_names]
            return all(
                (status.halted_before, status.fault_position, status.position) == (before, fault, before - 1)
                for status in statuses
            )

        await wait_for(all_say_so, 120, f"the nodes to halt before {before}")

    async def skip(self, position: int, *options: str) -> None:
        ran = await self.command("log", "skip", str(position), "--reason", "ticket 88", *options)
        assert ran.code == 0, ran.err

    async def expect_equal(self, library_csv: Path) -> None:
        """Every node goes on to the log's end, and holds what a replay of the log gives."""
        updates = (await judge_log(self.client, self.receipts)).updates
        assert await differing_nodes(self.running, replay(library_csv, updates)) == []


@contextlib.asynccontextmanager
async def broken_cluster(
    folder: Path, library: LibraryTree, library_csv: Path, monkeypatch: pytest.MonkeyPatch, *, nodes: int = 2
) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("PYTHONPATH", path_with_defect())
    async with running_cluster(folder / "cluster", nodes=nodes) as running:
        endpoints_file = running.folder / "endpoints.json"
        async with Client.from_endpoints_file(endpoints_file) as client:
            await load_library(client, library_csv)
            await running.wait_ready()
            command = FastTree(folder / "command", Endpoints.read(endpoints_file))
            await wait_vip(running.endpoints["vip"], library.member_ids[0])
            yield Cluster(running, client, command, library.member_ids, [])


async def test_no_report_fails_and_a_skip_mends_it(
    library: LibraryTree, library_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(broken_cluster(tmp_path, library, library_csv, monkeypatch))
        channel = await stack.enter_async_context(open_channel(cluster.running.endpoints["vip"]))
        a, b = cluster.members[1:3]
        # While a tree is made anew reports wait, and none fails: on a machine that is busy that may take its time.
        async with ReadLoad(channel, [cluster.members[0]], deadline_s=30.0) as load:
            await cluster.push(*(posted(f"O-{number}", a) for number in range(50)))
            before = (await cluster.running.cluster()).epoch

            # Before anything is changed; the nodes stay as they are, one of them primary.
            bad = await cluster.push(change_of_rank("poison-1", a), *(posted(f"P-{number}", b) for number in range(50)))
            await cluster.wait_halted(bad, bad)
            status = await cluster.command("status")
            assert f"halted before update {bad}: a defect of this program: ZeroDivisionError: planted" in status.out
            assert f"fasttree log skip {bad}" in status.out
            refused = await cluster.command("log", "skip", str(bad + 1), "--reason", "x")
            assert (refused.code, "nothing shows that" in refused.err) == (1, True)
            await kill_and_come_back(cluster.running, "n2")
            await cluster.wait_halted(bad, bad)
            await cluster.skip(bad)
            await cluster.expect_equal(library_csv)
            again = await cluster.command("log", "skip", str(bad), "--reason", "other")
            assert (again.code, "skipped already" in again.err) == (1, True)

            # In the middle of an update: the tree is made anew.
            bad = await cluster.push(change_of_rank("poison-midway-1", a), posted("Q-1", b))
            await cluster.wait_halted(bad, bad)
            await cluster.skip(bad)
            await cluster.expect_equal(library_csv)

            # A held one, once it is released.
            held = await cluster.push(posted("poison-held-1", "NEW-1"))
            arrival = await cluster.push(enrolled("NEW-1", a), posted("Q-2", "NEW-1"))
            await cluster.wait_halted(arrival, held)
            await cluster.skip(held)
            await cluster.expect_equal(library_csv)
            rejected = (await cluster.command("rejected", "--json")).out
            assert rejected.count("skipped by an operator: ticket 88") == 3
        print(json.dumps({"reads": load.reads, "longest_gap_ms": round(load.longest_gap_ms())}))
        assert not load.failures
        assert (await cluster.running.cluster()).epoch >= before

        # After restarts, and in the replay of an import that begins before all of it.
        for name in cluster.running.node_names:
            await kill_and_come_back(cluster.running, name)
        await cluster.expect_equal(library_csv)
        options = UploadOptions(as_of_position=1, force=True)
        manifest = await cluster.client.upload_import(library_csv, options)
        states = [status.state async for status in cluster.client.watch_import(manifest.import_id)]
        assert states[-1] == pusher_pb2.IMPORT_STATE_DONE
        await cluster.expect_equal(library_csv)


async def test_one_node_alone_fails(
    library: LibraryTree, library_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broken_cluster(tmp_path, library, library_csv, monkeypatch) as cluster:
        bad = await cluster.push(
            change_of_rank("poison-at-n1/1", cluster.members[1]), posted("O-1", cluster.members[2])
        )
        await cluster.wait_halted(bad, bad, "n1")
        await cluster.running.wait_primary()
        refused = await cluster.command("log", "skip", str(bad), "--reason", "x")
        assert (refused.code, "the fault is likely that of n1" in refused.err) == (1, True)
        await cluster.skip(bad, "--force")
        await cluster.running.wait_ready()
        await cluster.expect_equal(library_csv)


async def test_an_update_that_ends_every_process_is_tried_twice(
    library: LibraryTree, library_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broken_cluster(tmp_path, library, library_csv, monkeypatch) as cluster:
        a, b = cluster.members[1:3]
        bad = await cluster.push(change_of_rank("deadly-1", a), *(posted(f"O-{number}", b) for number in range(50)))
        await cluster.wait_halted(bad, bad)
        await cluster.running.wait_ready()
        assert "2 processes of this node have died of it" in (await cluster.command("status")).out
        await cluster.skip(bad)
        await cluster.expect_equal(library_csv)


async def test_a_difference_is_found_by_itself_and_the_node_is_named(
    library: LibraryTree, library_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broken_cluster(tmp_path, library, library_csv, monkeypatch, nodes=3) as cluster:
        assert (await cluster.command("status")).code == 0
        began_s = time.monotonic()
        await cluster.push(change_of_rank("differ-at-n2/1", cluster.members[1]))

        async def found() -> list[str]:
            return [node for known in (await cluster.running.pusher()).differences for node in known.nodes]

        assert await wait_for(found, 60, "the difference to be found") == ["n2"]
        print(json.dumps({"found_after_s": round(time.monotonic() - began_s, 1)}))
        status = await cluster.command("status")
        assert (status.code, "n2 differ from n1, n3" in status.err) == (1, True)
        metrics = await page(Endpoints.read(cluster.running.folder / "endpoints.json").http["pusher"], "/metrics")
        lines = [line for line in metrics.splitlines() if line.startswith("fasttree_pusher_node_differs")]
        assert [line.rpartition(" ")[2] for line in lines if 'node="n2"' in line] == ["1.0"]
        assert [line.rpartition(" ")[2] for line in lines if 'node="n2"' not in line] == ["0.0", "0.0"]


async def page(address: str, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as answer:
        return await answer.text()
