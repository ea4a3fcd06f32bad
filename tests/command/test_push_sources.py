"""What `fasttree push` reads: whatever stands in a file's place, a line or nothing comes of it, and never a crash."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from tests.command.fasttree_command import FastTree
from tests.command.test_command_push import order
from tests.fakes.cluster import FakeCluster

NOTHING = "pushed 0 updates: 0 new\n"
TOO_LONG = "line 1: longer than 1048576 bytes; one update a line"


async def push(fasttree: FastTree, words: str, stdin: int | None = None) -> tuple[int, str, str]:
    """As a shell runs it; `words` may redirect."""
    command = f'exec "{sys.executable}" -m fasttree.command --endpoints "{fasttree.endpoints_path}" push {words}'
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(command, stdin=stdin, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("words", ["/dev/null", "- < /dev/null"])
async def test_a_device_that_has_nothing_is_as_an_empty_file(words: str, fasttree: FastTree) -> None:
    assert await push(fasttree, words) == (0, NOTHING, "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("/dev/zero", f"/dev/zero, {TOO_LONG}"),
        ("- < /dev/zero", f"standard input, {TOO_LONG}"),
        ("/", "/ can't be read: Is a directory"),
        ("- 0> written.jsonl", "standard input can't be read: Bad file descriptor"),
    ],
)
async def test_what_can_t_be_read_is_one_line(
    words: str, told: str, fasttree: FastTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert await push(fasttree, words) == (1, NOTHING, f"error: {told}\n")


async def test_a_pipe_that_is_only_written_to_is_one_line(fasttree: FastTree) -> None:
    reading, writing = os.pipe()
    try:
        code, _, err = await push(fasttree, "-", writing)
    finally:
        os.close(reading)
        os.close(writing)
    assert (code, err) == (1, "error: standard input can't be read: Bad file descriptor\n")


async def test_a_closed_standard_input_is_one_line(fasttree: FastTree) -> None:
    code, out, err = await push(fasttree, "- <&-")
    assert (code, out) == (2, "")
    assert err.startswith("error: standard input is closed: redirect a file to it, or name the file in place of -.")
    assert len(err.splitlines()) == 1


async def test_updates_come_by_a_socket_too(cluster: FakeCluster, fasttree: FastTree) -> None:
    writes, reads = socket.socketpair()
    with reads:
        with writes:
            writes.sendall(order("o-1").encode())
        assert await push(fasttree, "-", reads.fileno()) == (0, "pushed 1 update: 1 new; position 1\n", "")


async def test_what_was_pushed_before_a_refusal_of_all_is_said(
    cluster: FakeCluster, fasttree: FastTree, tmp_path: Path
) -> None:
    cluster.pusher.contested_from = "o-3"
    (tmp_path / "updates.jsonl").write_text(order("o-1") + order("o-2") + order("o-3"))
    ran = await fasttree("push", "updates.jsonl")
    assert (ran.code, ran.out) == (1, "pushed 2 updates: 2 new; positions 1 to 2\n")
    assert "another past than this log (1 update without a receipt: push again, same ids)" in ran.err
    assert len((await fasttree("push", "updates.jsonl", "--json")).json_lines) == 2
