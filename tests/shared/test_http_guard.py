"""The HTTP port: half requests, and requests under a stranger's name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from services.shared.serving import http_guard
from services.shared.serving.http_guard import PatientSite, host_check, host_problem, http_logger, own_names
from tests.waiting import until

NAMES = own_names(["ftsp01.example.com", "Monitor.Example.COM.", ""])
WAIT_S = 30.0


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:50200", "[::1]:50200", "[fe80::1%eth0]:1", "::1", "10.1.2.3:50200", ""),
        *("ftsp01.example.com", "FTSP01.example.com:50200", "ftsp01.example.com.:50200", "monitor.example.com"),
        *("n1", "n1:50200", "n1.fasttree.svc.cluster.local:50200", "n1.fasttree.svc", "a.internal", "x.localhost"),
        socket.gethostname(),
    ],
)
def test_own_names_pass(host: str) -> None:
    assert host_problem(host, NAMES) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:50200",
        "127.0.0.1.evil.example",
        "ftsp01.example.com.evil.example:1",
        "1.2.3.4.5:1",
    ],
)
def test_a_strangers_name_does_not(host: str) -> None:
    assert "cluster.http_hosts" in str(host_problem(host, NAMES))


@asynccontextmanager
async def serving(head_s: float) -> AsyncIterator[tuple[PatientSite, int]]:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.path}\n")

    application = web.Application(middlewares=[host_check(NAMES, {"/livez"})])
    application.router.add_get("/{name}", page)
    runner = web.AppRunner(application, access_log=None, logger=http_logger)
    await runner.setup()
    site = PatientSite(runner, "127.0.0.1", 0, head_s)
    await site.start()
    try:
        yield site, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def get(port: int, path: str, host: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers={"Host": host}) as answer,
    ):
        return answer.status


async def test_pages_answer_known_names_and_checks_answer_all() -> None:
    async with serving(10.0) as (_, port):
        assert await get(port, "/metrics", "127.0.0.1") == 200
        assert await get(port, "/metrics", f"evil.example:{port}") == 421
        assert await get(port, "/debug.txt", "evil.example") == 421
        assert await get(port, "/livez", "evil.example") == 200


async def half(port: int, said: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    await writer.drain()
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side has ended it; waits for that."""
    try:
        return await asyncio.wait_for(reader.read(1), WAIT_S) == b""
    except ConnectionError:
        return True


async def test_half_requests_are_ended() -> None:
    async with serving(0.2) as (site, port):
        heads = (b"", b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r")
        connections = [await half(port, head) for head in heads]
        for reader, _ in connections:
            assert await ended(reader)
        await until(lambda: site.connections == 0, "all of them to end")
        assert await get(port, "/metrics", "x") == 200


async def test_a_head_in_pieces_is_whole() -> None:
    async with serving(0.5) as (site, port):
        reader, writer = await half(port, b"")
        for byte in b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(reader.readline(), WAIT_S)).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(1.0)
        assert site.connections == 1
        writer.close()


async def test_the_oldest_half_request_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "CONNECTIONS_MAX", 3)
    async with serving(600.0) as (site, port):
        connections = [await half(port, b"GET ") for _ in range(4)]
        assert await ended(connections[0][0])
        await until(lambda: site.connections == 3, "the oldest to go")
        assert await get(port, "/livez", "x") == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_leaves_nothing_in_the_log(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(WAIT_S) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert b" 400 " in await reader.readline()
        writer.close()
    assert caplog.text == ""


async def test_a_fault_of_a_page_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def page(_: web.Request) -> web.Response:
        raise RuntimeError("a defect")

    application = web.Application()
    application.router.add_get("/", page)
    runner = web.AppRunner(application, access_log=None, logger=http_logger)
    await runner.setup()
    site = PatientSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/")
            assert answer.status == 500
    finally:
        await runner.cleanup()
    assert "a defect" in caplog.text
