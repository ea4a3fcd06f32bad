"""The HTTP port: figures, logs, the echo; and nothing else of the disk."""

import asyncio
import logging
from pathlib import Path

import aiohttp
import pytest

from services.shared.debug.broadcast import FOLLOWERS_MAX
from tests.fakes.pusher import fake_pusher
from tests.fakes.pusher_stream import Stream
from tests.treenode.running_node import running_node
from tests.updates import enrolled, posted

UPDATES = [enrolled("A"), posted("O-1", "A", 150), posted("O-2", "Z")]


async def get(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with session.get(url) as response:
        return response.status, await response.text()


async def test_logs_and_figures_tell_what_was_applied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "services.treenode")
    async with fake_pusher() as pusher, running_node(tmp_path) as node, Stream(node, pusher) as stream:
        pusher.updates = UPDATES
        await stream.hello()
        await stream.send([1, 2, 3])
        base = f"http://{node.address.http}"
        async with aiohttp.ClientSession() as session:
            status, text = await get(session, f"{base}/debug/hpushup.log")
            assert status == 200
            lines = [line.partition(" ")[2] for line in text.splitlines()]
            assert lines[:2] == ["1 E-A enrolled A sponsor - applied", "2 O-1 volume A +1.50 applied"]
            assert lines[2].startswith("3 O-2 volume Z +1.00 held: ")
            assert (await get(session, f"{base}/debug/hpushup.log?lines=1"))[1].count("\n") == 1
            assert "is PASSIVE" in (await get(session, f"{base}/debug/mtree.log?lines=1000"))[1]
            status, text = await get(session, f"{base}/metrics")
            assert status == 200
            figures = dict(
                line.replace('{cluster="dot-test",node="n1"}', "").rsplit(" ", 1)
                for line in text.splitlines()
                if not line.startswith("#")
            )
            assert float(figures["fasttree_node_position"]) == 3
            assert float(figures["fasttree_node_held_updates"]) == 1
            assert float(figures["fasttree_node_members"]) == 1
            assert float(figures["fasttree_node_ready"]) == 1
            assert float(figures["fasttree_node_applied_updates_total"]) == 3


@pytest.mark.parametrize(
    "path",
    [
        "/debug/lock",
        "/debug/..%2Flock",
        "/debug/../lock",
        "/debug/%2e%2e/lock",
        "/debug/mtree.log.1",
        "/debug/mtree.log%00",
        "/debug/",
        "/debug/logs/mtree.log",
        "/debug//etc/passwd",
        "/snapshots",
        "/",
    ],
)
async def test_no_other_name_exists(tmp_path: Path, path: str) -> None:
    async with running_node(tmp_path) as node:
        host, _, port = node.address.http.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.split()[1] in (b"404", b"400")


@pytest.mark.parametrize("lines", ["-1", "x", "1e9", "99999999999999999999", ""])
async def test_the_number_of_lines_is_a_number(tmp_path: Path, lines: str) -> None:
    async with running_node(tmp_path) as node, aiohttp.ClientSession() as session:
        status, _ = await get(session, f"http://{node.address.http}/debug/mtree.log?lines={lines}")
        assert status == 400
        assert (await get(session, f"http://{node.address.http}/debug/mtree.log?lines=999999999"))[0] == 200


async def test_followers_hear_what_comes_and_end_with_the_node(tmp_path: Path) -> None:
    async with fake_pusher() as pusher, aiohttp.ClientSession() as session:
        async with running_node(tmp_path) as node, Stream(node, pusher) as stream:
            pusher.updates = UPDATES
            await stream.hello()
            base = f"http://{node.address.http}"
            echo = await session.get(f"{base}/debug.txt")
            log = await session.get(f"{base}/debug/hpushup.log?follow=1&lines=0")
            assert (await echo.content.readline()).startswith(b"each update")
            await stream.send([1, 2])
            assert await echo.content.readline() == b"1 E-A enrolled A sponsor - applied\n"
            assert await echo.content.readline() == b"2 O-1 volume A +1.50 applied\n"
            assert (await log.content.readline()).endswith(b"1 E-A enrolled A sponsor - applied\n")
        assert await asyncio.wait_for(echo.content.read(), 20) == b""
        await asyncio.wait_for(log.content.read(), 20)
        echo.close()
        log.close()


async def test_followers_are_bounded(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        connector = aiohttp.TCPConnector(limit=FOLLOWERS_MAX + 1)
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"http://{node.address.http}/debug.txt"
            followers = [await session.get(url) for _ in range(FOLLOWERS_MAX)]
            for follower in followers:
                await follower.content.readline()
            one_more = await session.get(url)
            assert "try again later" in await one_more.text()
            for follower in followers:
                follower.close()
