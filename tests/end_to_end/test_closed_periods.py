"""A month is closed while the cluster goes on: every node answers of it what was true then, whatever happens after."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bench.cluster.cluster import RunningCluster, free_port, running_cluster, wait_for
from fasttree.client import Client, Endpoints, FailedPreconditionError, NodeEndpoint, UploadOptions
from fasttree.v1 import pusher_pb2, report_pb2, treenode_pb2, treenode_pb2_grpc, types_pb2
from tests.command.fasttree_command import FastTree
from tests.end_to_end.library_tree import LibraryTree
from tests.end_to_end.test_failover import kill_and_come_back, load_library, wait_vip
from tests.updates import enrolled, moved, removed

MONTH = "2026-11"


@dataclass
class Books:
    """What must be true of the month: the file's own totals, and each order added to everybody above."""

    library: LibraryTree
    added: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def order(self, update_id: str, member_id: str, amount_hundredths: int, period: str = "") -> types_pb2.Update:
        sponsors = {entry.member_id: entry.sponsor_id for entry in self.library.entries}
        above = member_id
        while above:
            self.added[above] += amount_hundredths
            above = sponsors[above]
        posted = types_pb2.VolumePosted(member_id=member_id, amount_hundredths=amount_hundredths, period=period)
        return types_pb2.Update(update_id=update_id, volume_posted=posted)

    def group_volumes(self) -> dict[str, int]:
        return {
            member_id: totals.gv_hundredths + self.added[member_id] for member_id, totals in self.library.totals.items()
        }


async def push(client: Client, *updates: types_pb2.Update) -> None:
    receipts = [receipt async for receipt in client.push(updates)]
    assert [receipt.message for receipt in receipts if receipt.code] == []


async def said_by_client(client: Client, node: str) -> dict[str, int]:
    """Each member's group volume when the month was closed."""
    options = report_pb2.ReportOptions(as_of_period=MONTH)
    found: dict[str, int] = {}
    async for part in client.reports_at(node).stream_downline(report_pb2.StreamDownlineRequest(options=options)):
        found.update((member.member_id, member.gv_hundredths) for member in part.members)
    return found


async def said_by_command(command: FastTree, node: str) -> dict[str, int]:
    columns = ("--columns", "member_id,gv", "--format", "csv")
    ran = await command("downline", "--as-of-period", MONTH, "--node", node, *columns)
    assert ran.code == 0, ran.err
    return {row["member_id"]: round(float(row["gv"]) * 100) for row in csv.DictReader(io.StringIO(ran.out))}


@contextlib.asynccontextmanager
async def further_node(cluster: RunningCluster, folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A third node, which knows the coordinator alone; its report and instant addresses."""
    ports = {name: free_port() for name in ("report_port", "instant_port", "http_port")}
    settings = {
        "cluster.coordinator": cluster.endpoints["coordinator"],
        "treenode.name": "n3",
        "treenode.state_folder": str(folder),
        **{f"treenode.{name}": str(port) for name, port in ports.items()},
    }
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    with (cluster.folder / "n3.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.treenode", "--config", str(cluster.folder / "cluster.toml"), *sets),
            stdout=log,
            stderr=log,
        )
    try:
        yield f"127.0.0.1:{ports['report_port']}", f"127.0.0.1:{ports['instant_port']}"
    finally:
        process.terminate()
        assert await process.wait() == 0


async def replaced(client: Client, path: Path, as_of_position: int) -> None:
    """The file takes the tree's place on every node."""
    manifest = await client.upload_import(path, UploadOptions(as_of_position=as_of_position, force=True))
    states = [status.state async for status in client.watch_import(manifest.import_id)]
    assert states[-1] == pusher_pb2.IMPORT_STATE_DONE


@pytest.mark.timeout(900)
async def test_a_closed_month_stays_as_it_was(
    library: LibraryTree, library_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTTREE_CLUSTER_PERIODS", MONTH)
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(running_cluster(tmp_path / "cluster"))
        endpoints_file = cluster.folder / "endpoints.json"
        client = await stack.enter_async_context(Client.from_endpoints_file(endpoints_file, read_your_writes=True))
        command = FastTree(tmp_path / "command", Endpoints.read(endpoints_file))
        await load_library(client, library_csv)
        await cluster.wait_ready()
        await wait_vip(cluster.endpoints["vip"], library.member_ids[0])
        books, members = Books(library), library.member_ids
        leaves = [each for each in members if not library.totals[each].downline_count]

        async def change(*arguments: str) -> None:
            ran = await command("period", *arguments)
            assert ran.code == 0, ran.err

        await push(client, *(books.order(f"O-{number}", members[number], 100 + number) for number in range(200)))
        with pytest.raises(FailedPreconditionError, match="is not closed for good yet"):
            await said_by_client(client, "n1")
        await change("open", "2026-12", "--current")
        await change("close", MONTH, "--late-until", "2099-01-01")
        await push(client, books.order("late", leaves[0], 4_200, MONTH))
        await change("close", MONTH)
        then = books.group_volumes()

        async def expect(*nodes: str) -> None:
            for node in nodes:
                assert await said_by_client(client, node) == then, node

        await expect("n1", "n2")
        assert await said_by_command(command, "n1") == then

        # More orders, members who come, go and stand elsewhere.
        other = Books(library)
        await push(client, *(other.order(f"P-{number}", members[number], 7) for number in range(300)))
        await push(client, enrolled("NEW-1", members[0]), moved("M-1", leaves[1], members[0]), removed(leaves[0]))
        now = await client.reports.get_member(members[0])
        assert now.member.gv_hundredths == other.added[members[0]]
        await expect("n1", "n2")
        left = await command("member", leaves[0])
        assert (left.code, "no member" in left.err) == (1, True)
        there = await command("member", leaves[0], "--as-of-period", MONTH, "--columns", "member_id,pv", "--json")
        assert there.json["members"][0]["member_id"] == leaves[0]
        assert there.json["as_of"]["closed_period"] == MONTH
        described = (await command("describe", "--as-of-period", MONTH, "--json")).json
        assert (described["members"], described["periods"]) == (len(members), [MONTH, "2026-12"])

        # Other trees: out of a file from before the closing, replayed over it, and out of one from after it.
        await replaced(client, library_csv, 1)
        await expect("n1", "n2")
        await replaced(client, library_csv, (await client.get_pusher()).log_end.position)
        await expect("n1", "n2")

        await kill_and_come_back(cluster, "n1")
        await expect("n1", "n2")
        assert await said_by_command(command, "n2") == then

        await expect_of_a_new_node(cluster, command, tmp_path, then)


async def expect_of_a_new_node(cluster: RunningCluster, command: FastTree, folder: Path, then: dict[str, int]) -> None:
    async with further_node(cluster, folder / "n3") as (report, instant):
        node = treenode_pb2_grpc.TreeNodeServiceStub(cluster.channel(instant))

        async def keeps_it() -> bool:
            answer = await node.GetNode(treenode_pb2.GetNodeRequest(), timeout=5)
            return [kept.period for kept in answer.kept_periods] == [MONTH]

        await wait_for(keeps_it, 120, "n3 to have the month")
        third = replace(
            Endpoints.read(cluster.folder / "endpoints.json"),
            nodes=(NodeEndpoint(name="n3", report=report, instant=instant),),
        )
        async with Client(third) as alone:
            assert await said_by_client(alone, "n3") == then
        assert await said_by_command(FastTree(folder / "third", third), "n3") == then

        listed = (await command("period", "list", "--json")).json
        (november,) = [each for each in listed if each["period"] == MONTH]
        assert [kept["node"] for kept in november["kept"]] == ["n1", "n2", "n3"]
        assert len({(kept["import_id"], kept["position"], kept["digest"]) for kept in november["kept"]}) == 1
        assert november["kept"][0]["import_id"] == 1
        assert "n1, n2, n3 (" in (await command("period", "list")).out
