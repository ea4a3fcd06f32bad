"""`fasttree push`: what it says of what it can't read, of many refusals, and when it is stopped."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.command.fasttree_command import FastTree
from tests.fakes.cluster import FakeCluster, fake_cluster


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with fake_cluster() as started:
        yield started


@pytest.fixture
def fasttree(cluster: FakeCluster, tmp_path: Path) -> FastTree:
    return FastTree(tmp_path, cluster.endpoints)


def order(update_id: str, amount: str = "12.50") -> str:
    return f'{{"update_id": "{update_id}", "volume_posted": {{"member_id": "m1", "amount": "{amount}"}}}}\n'


async def started(fasttree: FastTree, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "fasttree.command", "--endpoints", str(fasttree.endpoints_path), *arguments)
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)


async def test_a_byte_order_mark_is_no_fault(cluster: FakeCluster, fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "updates.jsonl").write_text("\ufeff" + order("o-1") + order("o-2"), encoding="utf-8")
    ran = await fasttree("push", "updates.jsonl")
    assert (ran.code, ran.out) == (0, "pushed 2 updates: 2 new; positions 1 to 2\n")


async def test_what_is_no_utf_8_is_said_so(fasttree: FastTree, tmp_path: Path) -> None:
    (tmp_path / "updates.jsonl").write_bytes(order("o-1").encode() + order("\u00e9").encode("latin-1"))
    ran = await fasttree("push", "updates.jsonl")
    assert ran.err.startswith("error: updates.jsonl, line 2: not UTF-8: save the file as UTF-8 (the lines before it")


async def test_many_refusals_of_one_kind_are_counted(fasttree: FastTree, tmp_path: Path) -> None:
    taken = "".join(order(f"o-{number}") for number in range(30))
    other = "".join(order(f"o-{number}", "99") for number in range(30))
    (tmp_path / "updates.jsonl").write_text(taken + other)
    ran = await fasttree("push", "updates.jsonl")
    lines = ran.err.splitlines()
    assert lines[0].startswith("error: updates.jsonl, line 31 (o-0): other content under this id")
    assert lines[9].startswith("error: updates.jsonl, line 40 (o-9): ")
    assert lines[10].startswith("error: 20 more updates refused for a reason such as: other content under this id")
    assert lines[11:] == ["error: 30 of 60 updates refused; the reasons stand above"]
    as_json = await fasttree("push", "updates.jsonl", "--json")
    assert len([line for line in as_json.json_lines if line["code"]]) == 30


async def test_who_stops_it_hears_how_far_it_was(fasttree: FastTree) -> None:
    process = await started(fasttree, "push", "-")
    assert process.stdin is not None
    process.stdin.write((order("o-1") + order("o-2")).encode())
    await process.stdin.drain()
    process.stdin.write(order("o-2", "7").encode())
    await process.stdin.drain()
    assert process.stderr is not None
    refused = await asyncio.wait_for(process.stderr.readline(), 30)
    assert b"(o-2): other content" in refused
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert err.decode().rstrip() == (
        "interrupted; pushed 3 updates: 2 new, 1 refused; positions 1 to 2; "
        "what has no receipt may be pushed again, nothing counts twice"
    )


async def test_a_reader_that_has_enough_is_no_failure(fasttree: FastTree) -> None:
    """As `| head` is."""
    process = await started(fasttree, "push", "-", "--json")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(order("o-1").encode())
    await process.stdin.drain()
    await asyncio.wait_for(process.stdout.readline(), 30)
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # no public way to close it
    process.stdin.write("".join(order(f"o-{number}") for number in range(2, 50)).encode())
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0
