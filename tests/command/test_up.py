"""`fasttree up`: a real cluster, from an empty folder to the end."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.read_load import ReadLoad
from fasttree.client import Client, Endpoints, PushOptions, update_from_json
from fasttree.command.local.free_ports import free_ports
from fasttree.v1 import coordinator_pb2, pusher_pb2
from services.shared.serving.channels import open_channel
from tests.command.fasttree_command import FastTree

pytestmark = pytest.mark.timeout(900)

#: The first start of a version on a machine compiles every kernel.
START_S = 600.0
WAIT_S = 60.0
ORDERS = 4_000
MEMBERS = "member_id,sponsor_id,status,rank,joined_on,pv\nroot,,A,5,2020-01-01,10.00\na,root,A,1,2021-02-03,2.50\n"


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = WAIT_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (result := await condition()):
        assert time.monotonic() < deadline, f"waited in vain for {condition.__name__}"
        await asyncio.sleep(0.05)
    return result


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def pids(endpoints: Endpoints) -> list[int]:
    return [node.pid for node in endpoints.nodes] + [pid for part, pid in endpoints.pids.items() if part != "up"]


class Up:
    """A running `fasttree up`."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self.process = process

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints.read(self.folder / "endpoints.json")

    @property
    def log(self) -> str:
        return (self.folder.parent / "up.log").read_text()

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return await asyncio.wait_for(self.process.wait(), WAIT_S)


@asynccontextmanager
async def up(folder: Path, *further: str) -> AsyncIterator[Up]:
    port = free_ports("127.0.0.1", 1)[0]
    with (folder.parent / "up.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fasttree.command", "up", "--dir", str(folder), "--vip-port", str(port), *further),
            stdout=log,
            stderr=log,
        )
    started = Up(folder, process)
    try:

        async def is_ready() -> bool:
            assert process.returncode is None, started.log
            return (folder / "endpoints.json").exists()

        await until(is_ready, START_S)
        yield started
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_cluster_from_its_start_to_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    async with up(folder) as cluster:
        endpoints = cluster.endpoints
        assert [node.name for node in endpoints.nodes] == ["n1", "n2"]
        assert all(alive(pid) for pid in pids(endpoints))
        admin = (folder / "vip-admin.sock").stat()
        assert stat.S_ISSOCK(admin.st_mode)
        assert not admin.st_mode & 0o077
        (tmp_path / "members.csv").write_text(MEMBERS)
        async with Client(endpoints, read_your_writes=True) as client:
            await import_members(client, tmp_path / "members.csv")
            order = '{"update_id": "o-1", "volume_posted": {"member_id": "a", "amount": "7.00"}}'
            options = PushOptions(ack_level=pusher_pb2.ACK_LEVEL_ALL_NODES)
            receipts = [one async for one in client.push([update_from_json(order)], options)]
            assert [receipt.position for receipt in receipts] == [2]
            assert (await client.reports.get_member("root")).member.gv_hundredths == 1950
            await import_and_go_back(cluster, client, tmp_path)
            await kill_the_primary(cluster, client)
            assert (await client.reports.get_member("root")).member.gv_hundredths == 1950
            await kill_the_pusher_under_a_push(cluster, client)
        assert open_to_others(folder) == []
        processes = pids(cluster.endpoints)
        assert await cluster.stop() == 0, cluster.log
        assert not any(alive(pid) for pid in processes)
        assert {path.suffix for path in folder.rglob("*")} >= {".db", ".end", ".snapshot", ".log", ".csv", ".toml"}
        assert open_to_others(folder) == []
        assert not (folder / "endpoints.json").exists()

    async with up(folder) as again, Client(again.endpoints) as client:
        answer = await client.reports.get_member("root")
        assert (answer.member.gv_hundredths, answer.as_of.position) == (1950 + ORDERS, 2 + ORDERS)
        ran = await FastTree(tmp_path, again.endpoints)("verify")
        assert ran.code == 0, ran.err
        assert await again.stop() == 0, again.log


def open_to_others(folder: Path) -> list[str]:
    """What somebody else than its owner may read, write or list: the whole company is in it."""
    found = [folder, *folder.rglob("*")]
    return [str(path) for path in found if path.lstat().st_mode & 0o077 and not path.is_symlink()]


async def import_and_go_back(cluster: Up, client: Client, folder: Path) -> None:
    """Another file, and the way back to the one before; the order that came after it counts again."""
    (folder / "other.csv").write_text(MEMBERS.replace("2.50", "99.00"))
    await import_members(client, folder / "other.csv")
    assert (await client.reports.get_member("root")).member.gv_hundredths == 10900
    ran = await FastTree(folder / "client", cluster.endpoints)("import", "rollback", "--wait", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["file_name"], ran.json["state"]) == ("members.csv", "done")
    assert (await client.reports.get_member("root")).member.gv_hundredths == 1950


async def import_members(client: Client, path: Path) -> None:
    manifest = await client.upload_import(path)
    states = [status.state async for status in client.watch_import(manifest.import_id)]
    assert states[-1] == pusher_pb2.IMPORT_STATE_DONE


async def kill_the_primary(cluster: Up, client: Client) -> None:
    """It is replaced, comes back with the same ports, and is ready again."""
    before = cluster.endpoints
    primary = (await client.get_cluster()).primary
    killed = before.node(primary)
    os.kill(killed.pid, signal.SIGKILL)

    async def another_is_primary() -> bool:
        return (await client.get_cluster()).primary not in ("", primary)

    await until(another_is_primary)

    async def is_back() -> bool:
        now = cluster.endpoints.node(primary)
        assert (now.report, now.instant, now.http) == (killed.report, killed.instant, killed.http)
        nodes = {node.address.name: node for node in (await client.get_cluster()).nodes}
        ready = nodes[primary].status.state == coordinator_pb2.NODE_STATE_PASSIVE
        return now.pid != killed.pid and nodes[primary].alive and ready

    await until(is_back)
    log = (cluster.folder / "logs" / "coordinator.log").read_text()
    assert f"{primary} is not primary any more: its lease of 1 s is over: nothing was heard of it for" in log


async def kill_the_pusher_under_a_push(cluster: Up, client: Client) -> None:
    """The push goes on when the pusher is back: every order has a receipt and counts once."""
    orders = [
        update_from_json(f'{{"update_id": "k-{number}", "volume_posted": {{"member_id": "a", "amount": "0.01"}}}}')
        for number in range(ORDERS)
    ]
    positions = []
    async for receipt in client.push(orders, PushOptions(window_updates=500, batch_updates_max=100)):
        assert receipt.code == 0, receipt.message
        positions.append(receipt.position)
        if len(positions) == ORDERS // 4:
            os.kill(cluster.endpoints.pids["pusher"], signal.SIGKILL)
    assert positions == list(range(3, 3 + ORDERS))
    assert (await client.reports.get_member("root")).member.gv_hundredths == 1950 + ORDERS


async def test_nobody_is_left_when_up_itself_is_killed(tmp_path: Path) -> None:
    async with up(tmp_path / "cluster", "--nodes", "1") as cluster:
        processes = pids(cluster.endpoints)
        in_use = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fasttree.command", "up", "--dir", str(tmp_path / "cluster"), "--vip-port", "1"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, error = await in_use.communicate()
        assert in_use.returncode == 1
        assert error.startswith(b"error: the state folder")
        assert b"in use" in error
        cluster.process.kill()
        await cluster.process.wait()

        async def all_gone() -> bool:
            return not any(alive(pid) for pid in processes)

        await until(all_gone)


async def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        fasttree = FastTree(tmp_path, Endpoints())
        ran = await fasttree("up", "--dir", "cluster", "--vip-port", str(port))
    assert ran.code == 1
    assert ran.err.startswith(f"error: port {port} on 127.0.0.1 is in use; give another one with --vip-port")
    assert not (tmp_path / "cluster").exists()


async def test_a_part_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    fasttree = FastTree(tmp_path, Endpoints())
    port = free_ports("127.0.0.1", 1)[0]
    for wrong in ("nonsense", "foolishness"):
        (tmp_path / f"{wrong}.json").write_text("no key")
        words = [f"tokens.keys={tmp_path}/{wrong}.json", "tokens.issuer=me", "tokens.audience=us"]
        given = [word for each in words for word in ("--set", each)]
        ran = await fasttree("up", "--dir", "cluster", "--vip-port", str(port), *given)
        assert ran.code == 1
        assert "ended while it started" in ran.err
        assert wrong in ran.err
    assert "nonsense" not in ran.err, "that was said at the start before"


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("cluster.nonsense=1", "[cluster] has no field nonsense"),
        ("pusher.port=70000", "must be a whole number from 0 to 65,535"),
        ("tls.policy=nowhere.json", "there is no such file here"),
    ],
)
async def test_a_wrong_setting_is_told_before_anything_starts(tmp_path: Path, setting: str, told: str) -> None:
    ran = await FastTree(tmp_path, Endpoints())("up", "--dir", "cluster", "--set", setting)
    assert ran.code == 1
    assert ran.err.startswith("error: --set ")
    assert told in ran.err
    assert not (tmp_path / "cluster").exists()


async def test_an_old_name_in_the_settings_is_told_with_the_new_one(tmp_path: Path) -> None:
    settings = tmp_path / "cluster" / "cluster.toml"
    settings.parent.mkdir()
    settings.write_text('[cluster]\nname = "dot-local"\n\n[pusher]\ngrace_s = 3\n')
    port = free_ports("127.0.0.1", 1)[0]
    ran = await FastTree(tmp_path, Endpoints())("up", "--dir", "cluster", "--vip-port", str(port))
    assert ran.code == 1
    assert (
        f"error: {settings}: pusher.grace_s = 3: pusher.grace_s is now pusher.drain_grace_s: set that instead"
        in ran.err
    )


async def test_a_node_comes_and_goes_while_reports_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    async with (
        up(folder, "--sample", "--nodes", "2") as cluster,
        open_channel(cluster.endpoints.vip) as channel,
        ReadLoad(channel, ["10126", "10420"], rate_per_s=50.0, deadline_s=30.0) as reads,
    ):
        fasttree = FastTree(tmp_path, cluster.endpoints)
        fasttree.endpoints_path = folder / "endpoints.json"
        vip = cluster.endpoints.pids["vip"]
        # Broken off half way; the next one finishes what it began. No node starts while who starts them is held.
        adding = (
            sys.executable,
            "-m",
            "fasttree.command",
            "--endpoints",
            str(folder / "endpoints.json"),
            "node",
            "add",
        )
        pipe = asyncio.subprocess.PIPE
        cluster.process.send_signal(signal.SIGSTOP)
        for is_last in (False, True):
            added = await asyncio.create_subprocess_exec(*adding, stdout=pipe, stderr=pipe)
            assert added.stderr is not None
            assert (await added.stderr.readline()).startswith(b"n3 starts")
            if not is_last:
                added.kill()
                await added.communicate()
        cluster.process.send_signal(signal.SIGCONT)
        out, err = await added.communicate()
        assert (added.returncode, out) == (0, b"n3 is ready\n"), err
        assert (await fasttree("verify")).out.splitlines()[-1].startswith("3 nodes hold the same")
        assert (await fasttree("switchover", "--to", "n3")).code == 0
        refused = await fasttree("node", "remove", "n3")
        assert refused.err.startswith("error: n3 is primary: `fasttree switchover` first")
        gone = cluster.endpoints.node("n2").pid
        removed = await fasttree("node", "remove", "n2")
        assert removed.code == 0, removed.err
        assert not alive(gone)
        assert [node.name for node in cluster.endpoints.nodes] == ["n1", "n3"]
        listed = (await fasttree("node", "list", "--json")).json
        assert [node["node"] for node in listed["nodes"] if node["host"]] == ["n1", "n3"]
        assert (await fasttree("member", "10126")).code == 0
        assert (dict(reads.failures), reads.reads > 50) == ({}, True)
        assert cluster.endpoints.pids["vip"] == vip
        assert await cluster.stop() == 0, cluster.log
    async with up(folder) as again:
        assert [node.name for node in again.endpoints.nodes] == ["n1", "n3"]


async def test_the_drill_on_a_live_cluster(tmp_path: Path) -> None:
    async with up(tmp_path / "cluster", "--sample") as cluster:
        fasttree = FastTree(tmp_path, cluster.endpoints)
        fasttree.endpoints_path = tmp_path / "cluster" / "endpoints.json"
        before = (await fasttree("status", "--json")).json["primary"]
        unasked = await fasttree("drill", "--json")
        assert (unasked.code, unasked.out) == (1, "")
        assert unasked.err.startswith(
            "error: a drill on this cluster: it makes another node primary, kills that one, and"
        )
        refused = await fasttree.at_a_terminal("drill", types="n\n")
        assert refused.code == 1
        assert (await fasttree("status", "--json")).json["log"]["position"] == 1
        await a_killed_drill_is_told_and_undone(fasttree, tmp_path, before)
        ran = await fasttree("drill", "--json", "--yes", "--read-timeout", "30")
        assert ran.code == 0, ran.err
        steps = {step["step"]: step for step in ran.json["steps"]}
        assert ran.json["good"] is True
        assert steps["nothing lost, nothing twice"]["lost"] == steps["nothing lost, nothing twice"]["twice"] == 0
        assert steps["nothing lost, nothing twice"]["acknowledged"] > 0
        assert steps["reads"]["failed"] == 0
        assert {each["result"] for each in ran.json["procedure_2016"]} == {"good"}, ran.json["procedure_2016"]
        assert steps["primary killed"]["election_ms"] > 0
        assert (await fasttree("status", "--json")).json["primary"] == before
        assert (await fasttree("search", "drill-", "--json")).json["members"] == []
        rejected = await fasttree("rejected", "--json")
        assert json.loads(rejected.out)["total_count"] == 0
        assert await cluster.stop() == 0, cluster.log


async def a_killed_drill_is_told_and_undone(fasttree: FastTree, folder: Path, before: str) -> None:
    """By kill -9 of the command, with its member in the tree and another node primary."""
    assert (await fasttree("drill", "--undo")).err.startswith("error: there is nothing to undo")
    # It kills nobody, and ends with the drill.
    kill_command = f"touch {folder / 'kills'}; exec tail -f --pid=$PPID /dev/null"
    drill = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fasttree.command", "drill", "--yes", "--json", "--kill-command", kill_command,
        cwd=folder, env={**os.environ, "FASTTREE_ENDPOINTS": str(fasttree.endpoints_path)},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip

    async def is_past_the_switchover() -> bool:
        return (folder / "kills").exists()

    await until(is_past_the_switchover)
    running = (await fasttree("status", "--json")).json
    assert [problem for problem in running["problems"] if "drill" in problem] == []  # it is under way
    assert "a drill is under way" in (await fasttree("drill", "--yes")).err
    drill.kill()
    await drill.wait()
    kept = fasttree.endpoints_path.parent / "drill" / "drill.json"
    member = json.loads(kept.read_text())["name"]
    for words in (("status",), ("drill", "--yes"), ("doctor",)):
        told = await fasttree(*words)
        said = told.out + told.err
        assert (told.code, f"its member {member} may be in the tree, and {before} was primary" in said) == (1, True)
        assert "`fasttree drill --undo`" in said
    undone = await fasttree("drill", "--undo", "--json")
    assert (undone.code, [step["step"] for step in undone.json["steps"]]) == (0, ["undone"]), undone.err
    status = await fasttree("status", "--json")
    assert (status.code, status.json["primary"], kept.exists()) == (0, before, False)
    assert (await fasttree("search", "drill-", "--json")).json["members"] == []
