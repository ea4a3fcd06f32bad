"""The pusher's log is lost, in each way in which logs are lost: the nodes serve on with the old numbers, nothing is
taken in the dark, and what is brought back or adopted goes on."""

from __future__ import annotations

import json
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.cluster.cluster import RunningCluster, running_cluster, wait_for
from bench.cluster.read_load import ReadLoad
from fasttree.client import Client, FailedPreconditionError, PushOptions, UploadOptions
from fasttree.v1 import pusher_pb2, report_pb2, report_pb2_grpc, types_pb2
from services.pusher.log.sqlite import SqliteLog
from tests.updates import posted

HEADER = "member_id,sponsor_id,status,rank,joined_on,pv\n"
MEMBERS = HEADER + "A,,A,1,2026-11-01,0\nB,A,A,1,2026-11-02,10.00\nC,A,A,1,2026-11-03,5.00\n"
MORE_MEMBERS = MEMBERS + "D,C,A,1,2026-11-20,100.00\n"


async def push(client: Client, *updates: types_pb2.Update) -> list[pusher_pb2.Receipt]:
    async def all_of() -> AsyncIterator[types_pb2.Update]:
        for update in updates:
            yield update

    return [receipt async for receipt in client.push(all_of(), PushOptions(ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES))]


async def numbers(cluster: RunningCluster, name: str, member_id: str = "A") -> tuple[int, int, int, int]:
    """What a node says of a member: group volume and downline, and what that is as of."""
    stub = report_pb2_grpc.ReportServiceStub(cluster.channel(cluster.node(name)["report"]))
    answer = await stub.GetMember(report_pb2.GetMemberRequest(member_id=member_id), timeout=5)
    return (answer.member.gv_hundredths, answer.member.downline_count, answer.as_of.import_id, answer.as_of.position)


async def all_numbers(cluster: RunningCluster) -> list[tuple[int, int, int, int]]:
    return [await numbers(cluster, name) for name in cluster.node_names]


def page(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def lose(cluster: RunningCluster, loss: str, elsewhere: Path) -> None:
    """The pusher dies, and its log is gone when the next one starts. What it was is kept elsewhere."""
    folder = cluster.folder / "state" / "pusher"
    pid = cluster.kill("pusher", signal.SIGSTOP)
    shutil.copytree(folder, elsewhere, dirs_exist_ok=True)
    match loss:
        case "folder":
            shutil.rmtree(folder)
        case "log.db":
            for name in ("log.db", "log.db-wal", "log.db-shm"):
                (folder / name).unlink(missing_ok=True)
        case "log.db without its WAL":
            for name in ("log.db-wal", "log.db-shm"):
                (folder / name).unlink()
        case "another file":
            (elsewhere / "another").mkdir()
            SqliteLog(elsewhere / "another").claim_alone().close()
            for name in ("log.db-wal", "log.db-shm"):
                (folder / name).unlink()
            shutil.copy(elsewhere / "another" / "log.db", folder / "log.db")
    cluster.kill("pusher", signal.SIGKILL)

    async def is_gone() -> bool:
        return cluster.pid_of("pusher") != pid

    await wait_for(is_gone, 60, "another process of the pusher")


def bring_back(cluster: RunningCluster, elsewhere: Path) -> None:
    """As an operator would copy it: the log itself last. The pusher tries again and again meanwhile."""
    folder = cluster.folder / "state" / "pusher"
    (folder / "log.db").unlink(missing_ok=True)
    for name in ("log.db-shm", "log.db-wal"):
        (folder / name).unlink(missing_ok=True)
    shutil.copy(elsewhere / "log.db-wal", folder / "log.db-wal")
    shutil.copy(elsewhere / "log.db", folder / "log.db.copy")
    (folder / "log.db.copy").replace(folder / "log.db")


LOSSES = {
    "log.db": "where the log lies in a server, set pusher.log_store as it was; else bring it back",
    "log.db without its WAL": "receipts were given from",
    "another file": "is another log",
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_log_whose_mark_is_there_is_not_begun_anew(loss: str, tmp_path: Path) -> None:
    async with (
        running_cluster(tmp_path / "cluster") as cluster,
        Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
        ReadLoad(cluster.channel(cluster.endpoints["vip"]), ["A"], rate_per_s=20.0) as reads,
    ):
        await _begin(cluster, client, tmp_path)
        before = await all_numbers(cluster)
        reads.failures.clear()
        await lose(cluster, loss, tmp_path / "elsewhere")

        async def is_told() -> bool:
            return LOSSES[loss] in (cluster.folder / "logs" / "pusher.log").read_text()

        await wait_for(is_told, 60, "the pusher to say what is wrong")
        assert await all_numbers(cluster) == before
        bring_back(cluster, tmp_path / "elsewhere")

        async def goes_on() -> bool:
            return not (await cluster.pusher()).closed_reason

        await wait_for(goes_on, 60, "the pusher to start")
        (receipt,) = await push(client, posted("O-3", "C", 100))
        assert (receipt.position, receipt.code) == (4, 0)
        assert not reads.failures


async def _begin(cluster: RunningCluster, client: Client, folder: Path) -> None:
    """A tree of three members, and two orders."""
    (folder / "members.csv").write_text(MEMBERS)
    manifest = await client.upload_import(folder / "members.csv")
    await cluster.wait_applied(0, import_id=manifest.import_id)
    receipts = await push(client, posted("O-1", "B", 700), posted("O-2", "C", 200))
    assert [receipt.code for receipt in receipts] == [0, 0]
    await cluster.wait_ready()


async def test_an_empty_folder_is_adopted_by_an_operators_word_only(tmp_path: Path) -> None:
    async with (
        running_cluster(tmp_path / "cluster") as cluster,
        Client.from_endpoints_file(cluster.folder / "endpoints.json") as client,
        ReadLoad(cluster.channel(cluster.endpoints["vip"]), ["A"], rate_per_s=20.0) as reads,
    ):
        await _begin(cluster, client, tmp_path)
        before = await all_numbers(cluster)
        assert before[0][:2] == (2400, 2)
        reads.failures.clear()
        await lose(cluster, "folder", tmp_path / "elsewhere")

        async def is_closed() -> bool:
            return "another log" in (await cluster.pusher()).closed_reason

        await wait_for(is_closed, 60, "the pusher to say that its log is another one")
        with pytest.raises(FailedPreconditionError, match="fasttree log adopt"):
            await push(client, posted("O-9", "B", 100))
        with pytest.raises(FailedPreconditionError, match="fasttree log adopt"):
            await client.upload_import(tmp_path / "members.csv")
        status, text = page(cluster.endpoints["http"]["pusher"], "/readyz")
        assert (status, "another log" in text) == (503, True)
        for name in cluster.node_names:
            stands = await cluster.node_status(name)
            assert stands.refused_log_id == (await cluster.pusher()).log_id
            assert "fasttree log adopt" in stands.refused_reason
            status, text = page(cluster.node(name)["http"], "/readyz")
            assert (status, "refuses the pusher" in text) == (200, True)
            assert "pusher_refused{" in page(cluster.node(name)["http"], "/metrics")[1]
        assert await all_numbers(cluster) == before
        # A node that starts now serves what it has on its disk.
        cluster.kill(cluster.node_names[0], signal.SIGTERM)
        await cluster.wait_ready()
        assert await all_numbers(cluster) == before

        old_log_id = (await cluster.node_status(cluster.node_names[0])).status.log_id
        answer = await client.adopt_log("the disk is gone")
        assert list(answer.replaced_log_ids) == [old_log_id]
        (receipt,) = await push(client, posted("O-9", "B", 100))
        assert receipt.position == 2
        assert await all_numbers(cluster) == before  # until there is an import of this log
        (tmp_path / "more.csv").write_text(MORE_MEMBERS)
        manifest = await client.upload_import(tmp_path / "more.csv", UploadOptions(as_of_position=1, force=True))
        await cluster.wait_applied(2, import_id=manifest.import_id)
        assert {entry[:3] for entry in await all_numbers(cluster)} == {(11600, 3, 1)}
        digests = {(await cluster.digest(name, 2)).digest for name in cluster.node_names}
        assert len(digests) == 1
        for name in cluster.node_names:
            stands = await cluster.node_status(name)
            assert (stands.refused_reason, stands.HasField("old_tree")) == ("", False)
        print(json.dumps({"reads": reads.reads, "longest_gap_ms": round(reads.longest_gap_ms())}))
        assert not reads.failures
