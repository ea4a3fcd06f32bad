"""Two builds side by side: the later meaning of updates begins once every node knows it, and one that doesn't waits."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from fasttree.client import Client, Endpoints
from fasttree.v1 import types_pb2
from services.shared.rules import RULE_VERSION
from tests.command.fasttree_command import FastTree
from tests.end_to_end.library_tree import LibraryTree
from tests.end_to_end.test_engine_failures import page
from tests.end_to_end.test_failover import kill_and_come_back, load_library, wait_vip
from tests.updates import enrolled, posted, removed


@dataclass
class Builds:
    """Which processes are of the later build, from their next start on."""

    path: Path
    later: set[str] = field(default_factory=set)

    async def upgrade(self, cluster: RunningCluster, part: str) -> None:
        self.later.add(part)
        await self._restart(cluster, part)

    async def downgrade(self, cluster: RunningCluster, part: str) -> None:
        self.later.discard(part)
        await self._restart(cluster, part)

    async def _restart(self, cluster: RunningCluster, part: str) -> None:
        self.path.write_text("\n".join(sorted(self.later)))
        await kill_and_come_back(cluster, part)


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builds:
    path = tmp_path / "later"
    path.write_text("")
    folder = Path(__file__).parent / "later_build"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("LATER_BUILD", str(path))
    return Builds(path)


async def push(client: Client, *updates: types_pb2.Update) -> int:
    """The position of the last one."""
    receipts = [receipt async for receipt in client.push(updates)]
    assert [receipt.message for receipt in receipts if receipt.code] == []
    return receipts[-1].position


async def same_digests(cluster: RunningCluster, position: int) -> None:
    await cluster.wait_applied(position)
    digests = {(await cluster.digest(name, position)).digest for name in cluster.node_names}
    assert len(digests) == 1


async def sells_and_leaves(client: Client, cluster: RunningCluster, member_id: str, sponsor_id: str) -> int:
    """A new member sells and is removed, with nothing said of the volume; what is left of it with the sponsor."""
    amount = 12_300
    before = await volume(client, sponsor_id)
    updates = [enrolled(member_id, sponsor_id), posted(f"sale-{member_id}", member_id, amount), removed(member_id)]
    await same_digests(cluster, await push(client, *updates))
    return await volume(client, sponsor_id) - before


async def volume(client: Client, member_id: str) -> int:
    return (await client.reports.get_member(member_id)).member.pv_hundredths


@pytest.mark.timeout(900)
async def test_a_rolling_upgrade_never_has_two_trees(
    library: LibraryTree, library_csv: Path, tmp_path: Path, builds: Builds
) -> None:
    async with running_cluster(tmp_path / "cluster") as cluster:
        endpoints_file = cluster.folder / "endpoints.json"
        async with Client.from_endpoints_file(endpoints_file) as client:
            fasttree = FastTree(tmp_path / "shell", Endpoints.read(endpoints_file))
            await load_library(client, library_csv)
            await cluster.wait_ready()
            sponsor = library.member_ids[1]
            await wait_vip(cluster.endpoints["vip"], sponsor)
            assert await sells_and_leaves(client, cluster, "new-1", sponsor) == 12_300

            # One node of each build, and the later pusher: it waits for the other node, and says so.
            await builds.upgrade(cluster, "n2")
            await builds.upgrade(cluster, "pusher")
            assert await sells_and_leaves(client, cluster, "new-2", sponsor) == 12_300
            known = await cluster.pusher()
            assert (known.rules.version, known.known_rule_version) == (RULE_VERSION, RULE_VERSION + 1)
            assert list(known.rule_version_waits_for) == ["n1"]
            assert f"version {RULE_VERSION}: {RULE_VERSION + 1} waits for n1" in (await fasttree("status")).out

            await builds.upgrade(cluster, "n1")

            async def raised() -> bool:
                return (await cluster.pusher()).rules.version == RULE_VERSION + 1

            await wait_for(raised, 60, "the version to be raised")
            assert "waits for" not in (await fasttree("status")).out
            record = (await cluster.pusher()).log_end.position
            await same_digests(cluster, record)
            assert await sells_and_leaves(client, cluster, "new-3", sponsor) == 0

            # A node that goes back to the earlier build stops before the record, serves what it has, and says so.
            await builds.downgrade(cluster, "n2")
            await stopped_before(cluster, fasttree, record)
            await cluster.wait_primary()
            position = await push(client, posted("while-n2-waits", sponsor))
            assert (await cluster.node_status("n2")).status.position == record - 1 < position
            await builds.upgrade(cluster, "n2")
            await same_digests(cluster, position)
            assert await sells_and_leaves(client, cluster, "new-4", sponsor) == 0


async def stopped_before(cluster: RunningCluster, fasttree: FastTree, record: int) -> None:
    """n2 is ready as of the update before the record, and tells why everywhere that somebody would look."""

    async def halted() -> bool:
        return (await cluster.node_status("n2")).status.halted_before == record

    await wait_for(halted, 120, "n2 to stop before the record")
    status = (await cluster.node_status("n2")).status
    assert (status.position, status.fault_position) == (record - 1, 0)
    later = f"updates have the meaning of version {RULE_VERSION + 1}, and this build knows {RULE_VERSION}"
    why = f"halted before update {record}: from here on {later}"
    assert why in status.halt_reason
    shown = (await fasttree("status")).out
    assert f"n2: {why}: upgrade it" in shown
    assert "log skip" not in shown
    http = cluster.node("n2")["http"]
    assert why in await page(http, "/readyz")
    metric = [line for line in (await page(http, "/metrics")).splitlines() if "node_halted_before{" in line]
    assert [float(line.rpartition(" ")[2]) for line in metric] == [record]
    skipped = await fasttree("log", "skip", str(record), "--reason", "x")
    assert (skipped.code, "which every node needs" in skipped.err) == (1, True)
