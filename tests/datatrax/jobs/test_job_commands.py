"""`fasttree datatrax transfer` and `run`: what they say, by words, JSON and exit code; no job runs twice at once."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fasttree.client import Client, Endpoints, NodeEndpoint
from fasttree.v1 import types_pb2
from services.datatrax.jobs.lock import JobHeldError, job_lock
from services.pusher.app import Pusher
from tests.command.fasttree_command import FastTree, Ran
from tests.datatrax.least_file import file_of
from tests.docs.small_cluster import small_cluster
from tests.fakes.import_file import csv_of
from tests.fakes.node import FakeNode
from tests.pusher.running_pusher import running_pusher
from tests.updates import enrolled

MEMBERS = csv_of([("a", "", "1.00"), ("b", "a", "2.00")])


@dataclass
class Host:
    """The DataTrax host, two nodes and a pusher elsewhere."""

    folder: Path
    fasttree: FastTree
    nodes: list[FakeNode]
    pusher: Pusher

    @property
    def spool(self) -> Path:
        return self.folder / "FT50201"

    async def datatrax(self, *words: str) -> Ran:
        return await self.fasttree("datatrax", *words, "--datatrax", str(self.folder))

    def file(self, name: str = "members.csv", content: bytes = MEMBERS) -> str:
        path = self.folder.parent / name
        path.write_bytes(content)
        return str(path)

    def imports(self) -> list[types_pb2.ImportManifest]:
        return [status.manifest for status in self.pusher.catalog.newest(10)]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    nodes = [await FakeNode(name).start() for name in ("n1", "n2")]
    (tmp_path / "datatrax").mkdir()
    async with running_pusher(tmp_path, nodes) as pusher:
        address = f"127.0.0.1:{pusher.server.port}"
        ends = tuple(NodeEndpoint(name=node.name, report=node.address, instant=node.address) for node in nodes)
        fasttree = FastTree(tmp_path / "shell", Endpoints(pusher=address, vip=address, nodes=ends))
        yield Host(tmp_path / "datatrax", fasttree, nodes, pusher)
    for node in nodes:
        await node.stop()


# -- transfer


async def test_a_file_is_sent_and_served(host: Host) -> None:
    sent = await host.datatrax("transfer", host.file())
    assert (sent.code, sent.out) == (0, "export-transfer: 1 file sent (import 1 served)\n"), sent.err
    assert [node.import_id for node in host.nodes] == [1, 1]
    assert (host.spool / "outgoing/sent/members.csv").read_bytes() == MEMBERS


async def test_decoupled_it_is_written_first_and_sent_later_as_of_when_it_was_written(host: Host) -> None:
    (host.folder / "CBLDATATRAX").write_text("[FastTree]\nFastTree-decoupled-transfer=Y\n")
    async with Client(Endpoints.read(host.fasttree.endpoints_path)) as client:
        assert [each.code async for each in client.push([enrolled("x")])] == [0]
        put = await host.datatrax("transfer", host.file())
        assert (put.code, "members.csv waits in" in put.out) == (0, True), put.err
        assert host.imports() == []
        assert [each.code async for each in client.push([enrolled("y", "x")])] == [0]
    ran = await host.datatrax("run", "export-transfer", "--json")
    assert (ran.code, ran.json["ok"]) == (0, True), ran.err
    assert ran.json["sent"]["members.csv"]["as_of_position"] == 2
    again = await host.datatrax("run", "export-transfer")
    assert (again.code, again.out) == (0, "export-transfer: 0 files sent\n")


async def test_zipped_as_cbldatatrax_says_and_as_somebody_says_else(host: Host) -> None:
    (host.folder / "CBLDATATRAX").write_text("[FastTree]\nzipped-transfer=Y\nFastTree-zip-process=zip-7\n")
    put = await host.datatrax("transfer", "--later", "--as-of-position", "1", host.file(), "--json")
    assert put.json["waiting"] == ["members.csv.zip"]
    other = await host.datatrax("transfer", "--later", "--packing", "gzip", host.file("other.csv"), "--json")
    assert other.json["waiting"] == ["other.csv.gz"]
    assert gzip.decompress((host.spool / "outgoing/other.csv.gz").read_bytes()) == MEMBERS
    assert (host.spool / "outgoing/members.csv.zip.done").read_text() == "1\n"


async def test_what_is_refused_ends_with_1_and_says_which_and_why(host: Host) -> None:
    refused = await host.datatrax("transfer", "--now", host.file("bad.csv", csv_of([("a", "nobody", "1")])))
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("error: export-transfer: 1 file sent (import 1); 1 refused, bad.csv: ")
    empty = await host.datatrax("transfer", host.file("empty.csv", b""), "--json")
    assert (empty.code, empty.json["ok"], "the file is empty" in empty.json["refused"]["empty.csv"]) == (1, False, True)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["transfer"], 2, "Missing argument"),
        (["transfer", "absent.csv"], 1, "absent.csv: No such file"),
        (["transfer", ".", "--later"], 2, "is a directory"),
        (["transfer", "absent.csv", "--as-of-position", "-1"], 2, "is no position"),
        (["transfer", "absent.csv", "--packing", "rar"], 2, "'rar' is not one of"),
        (["run", "sweep"], 2, "No such command 'sweep'"),
        (["run", "prune", "--done-days", "-1"], 2, "--done-days"),
        (["run", "prune", "--done-days", "nan"], 2, "is no number"),
        (["run", "prune", "--endpoints", "x"], 2, "No such option"),
        (["run", "verify", "--cbldatatrax", "absent"], 1, "absent: can't read it"),
    ],
)
async def test_what_can_not_be_asked_is_one_line_with_the_way_out(
    host: Host, words: list[str], code: int, why: str
) -> None:
    ran = await host.datatrax(*words)
    assert (ran.code, why in ran.err, ran.err.count("\n")) == (code, True, 1), ran.err


async def test_a_folder_that_is_not_there_is_named(host: Host) -> None:
    ran = await host.fasttree("datatrax", "run", "prune", "--datatrax", str(host.folder / "none"))
    assert (ran.code, ran.err) == (
        1,
        f"error: {host.folder / 'none'} is no folder: name DataTrax's by --datatrax DIR\n",
    )


@pytest.mark.timeout(300)
async def test_a_run_that_is_killed_again_and_again_sends_each_file_once(host: Host) -> None:
    files = [host.file(f"run-{number}.csv", csv_of([(f"m{number}", "", "1.00")] * 1)) for number in range(6)]
    put = await host.datatrax("transfer", "--later", "--packing", "zstd", *files, "--json")
    assert len(put.json["waiting"]) == 6
    kills = 0
    for delay in [0.3, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 1.7]:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-P", "-m", "fasttree.command", "--endpoints", str(host.fasttree.endpoints_path)],
            *["datatrax", "run", "export-transfer", "--no-wait", "--datatrax", str(host.folder)],
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await process.wait()
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            process.send_signal(signal.SIGKILL)
        kills += await process.wait() == -signal.SIGKILL
    ended = await host.datatrax("run", "export-transfer", "--no-wait")
    assert ended.code == 0, ended.err
    names = [each.file_name for each in host.imports()]
    assert sorted(names) == [f"run-{number}.csv.zst" for number in range(6)]
    assert kills > 0


# -- one run at a time


async def test_a_job_that_runs_is_let_run(host: Host) -> None:
    with job_lock(host.spool / "jobs", "prune"):
        held = await host.datatrax("run", "prune")
        assert held.code == 75
        assert held.err.startswith(f"error: prune runs already, process {os.getpid()} on ")
        assert held.err.endswith("Z: this run did nothing\n")
        as_json = await host.datatrax("run", "prune", "--json")
        assert (as_json.code, as_json.json["held"], as_json.json["ok"]) == (75, True, False)
        assert (await host.datatrax("run", "verify")).code == 0, "another job has its own"
    assert (await host.datatrax("run", "prune")).code == 0
    assert (host.spool / "jobs" / "prune.lock").read_bytes() == b""


def test_a_lock_ends_with_its_process_whatever_stands_in_it(tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_bytes(b'{"pid": "\xff" \x1b[31m' * 100)
    with job_lock(tmp_path, "x"), pytest.raises(JobHeldError, match="x runs already"), job_lock(tmp_path, "x"):
        raise AssertionError("two have it")
    (tmp_path / "y.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"), job_lock(tmp_path, "y"):
        raise AssertionError("a link is nobody's lock")
    assert not (tmp_path / "elsewhere").exists()


# -- verify


async def test_nodes_that_hold_the_same_are_told_and_those_that_do_not(host: Host) -> None:
    assert (await host.datatrax("transfer", host.file())).code == 0
    good = await host.datatrax("run", "verify")
    assert good.code == 0, good.err
    assert good.out.startswith("verify: 2 nodes hold the same at import 1, ")
    host.nodes[1].tree.members["a"] = ("", 12345)
    bad = await host.datatrax("run", "verify", "--json")
    assert (bad.code, bad.json["ok"]) == (1, False)
    assert "the nodes do not hold the same" in bad.json["text"]
    await host.nodes[0].stop()
    gone = await host.datatrax("run", "verify", "--timeout", "1")
    assert (gone.code, gone.err.startswith("error: verify: n1: ")) == (1, True)


# -- check


async def test_the_check_is_a_job_too(host: Host) -> None:
    (host.folder / "CBLDATATRAX").write_text(file_of())
    checked = await host.datatrax("run", "check", "--json")
    assert (checked.code, checked.json["job"], checked.json["ok"]) == (1, "check", False), checked.err
    assert any(not each["good"] and "hosts.50201" in str(each) for each in checked.json["checks"])
    words = await host.datatrax("run", "check")
    assert (words.code, words.err.startswith("error: check: "), words.err.count("\n")) == (1, True, 1)


# -- prune


async def test_what_has_lain_long_enough_goes_and_is_told_before(host: Host) -> None:
    for place in ("done", "refused", "outgoing/sent"):
        (host.spool / place).mkdir(parents=True)
        (host.spool / place / "orders.jsonl").write_bytes(b"x" * 10)
    young = await host.datatrax("run", "prune", "--json")
    assert (young.json["files"], young.json["text"]) == ([], "0 files removed, 0 bytes")
    await asyncio.sleep(0.1)
    arguments = ["--done-days", "0.000001", "--refused-days", "0"]
    told = await host.datatrax("run", "prune", *arguments, "--dry-run")
    assert told.out == "prune: 2 files would be removed, 20 bytes\n"
    done = await host.datatrax("run", "prune", *arguments, "--json")
    assert sorted(each["file"] for each in done.json["files"]) == ["done/orders.jsonl", "outgoing/sent/orders.jsonl"]
    assert (host.spool / "refused/orders.jsonl").exists()
    assert not (host.spool / "done/orders.jsonl").exists()


# -- a whole cluster


@pytest.mark.timeout(300)
async def test_every_packing_is_served_by_real_nodes(tmp_path: Path) -> None:
    (tmp_path / "datatrax").mkdir()
    (tmp_path / "cluster").mkdir()
    async with small_cluster(tmp_path / "cluster") as client:
        fasttree = FastTree(tmp_path / "shell", Endpoints(pusher=client.endpoints.pusher, vip=client.endpoints.pusher))
        for number, packing in enumerate(("none", "gzip", "zip", "zstd"), 1):
            file = tmp_path / f"members-{packing}.csv"
            file.write_bytes(MEMBERS)
            place = ["--datatrax", str(tmp_path / "datatrax"), "--packing", packing]
            sent = await fasttree("datatrax", "transfer", str(file), *place)
            assert (sent.code, sent.out) == (0, f"export-transfer: 1 file sent (import {number} served)\n"), sent.err
