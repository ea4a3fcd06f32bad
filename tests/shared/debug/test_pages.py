"""Who follows a log: for a while, and only as long as it takes what comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from services.shared.debug import pages as debug_pages
from services.shared.debug.debug_log import DebugLog
from services.shared.debug.pages import DebugPages
from tests.waiting import until

PUSH_LOG = "hpushup.log"


@asynccontextmanager
async def pages(folder: Path) -> AsyncIterator[tuple[DebugLog, int]]:
    log = DebugLog(folder / PUSH_LOG, 1 << 20)
    served = DebugPages({PUSH_LOG: log}, log.follow)
    application = web.Application()
    application.add_routes(served.routes())
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield log, runner.addresses[0][1]
    finally:
        served.end()
        await runner.cleanup()
        log.close()


async def test_a_follower_has_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_pages, "FOLLOW_S_MAX", 0.3)
    monkeypatch.setattr(debug_pages, "SILENCE_S", 0.05)
    async with (
        pages(tmp_path) as (log, port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/debug/{PUSH_LOG}?follow=1") as response,
    ):
        await until(lambda: log.broadcast.heard, "the follower")
        log.write(["a line"])
        text = await asyncio.wait_for(response.text(), 60)
        assert "a line" in text
        assert text.endswith("followed for an hour: ask again to go on\n")
        await until(lambda: not log.broadcast.heard, "its place to be free")


@pytest.mark.parametrize("step_s", [-86_400.0, 86_400.0])
async def test_a_clock_that_steps_neither_ends_the_hour_nor_makes_it_longer(
    step_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug_pages, "FOLLOW_S_MAX", 2.0)
    monkeypatch.setattr(debug_pages, "SILENCE_S", 0.05)
    async with (
        pages(tmp_path) as (log, port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/debug/{PUSH_LOG}?follow=1") as response,
    ):
        await until(lambda: log.broadcast.heard, "the follower")
        begun_s, wall_clock = time.monotonic(), time.time
        monkeypatch.setattr(time, "time", lambda: wall_clock() + step_s)
        text = await asyncio.wait_for(response.text(), 60)
        assert time.monotonic() - begun_s > 1.5
        assert text.endswith("followed for an hour: ask again to go on\n")


async def test_a_reader_that_takes_nothing_gives_its_place_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug_pages, "STALL_S_MAX", 0.3)
    async with pages(tmp_path) as (log, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(f"GET /debug/{PUSH_LOG}?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(lambda: log.broadcast.heard, "the follower")

        async def is_gone() -> bool:
            log.write(["x" * 400] * 500)
            await asyncio.sleep(0.01)
            return not log.broadcast.heard

        await until(is_gone, "the stalled follower to be let go")
        writer.close()
        del reader


@pytest.mark.parametrize("lines", ["٣", "1_0", "-1", "1e2", "9" * 10])
async def test_the_number_of_lines_is_written_in_digits(tmp_path: Path, lines: str) -> None:
    async with (
        pages(tmp_path) as (_, port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/debug/{PUSH_LOG}", params={"lines": lines}) as response,
    ):
        assert response.status == 400
