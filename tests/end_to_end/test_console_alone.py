"""A console whose cluster is away, in a real browser: each page says so, and everybody can use it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from bench.console.browser import chromium
from fasttree.command.local.free_ports import free_ports
from services.console.app import Console
from services.console.settings import ConsoleSettings
from services.shared.config.sections import ClusterSettings
from tests.end_to_end.browser import tab
from tests.fakes.cluster import fake_cluster

pytestmark = [pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

#: Each page, and what it says while nobody answers.
PAGES = {
    "#/": "the coordinator does not answer",
    "#/imports": "Try again",
    "#/updates": "Try again",
    "#/periods": "Try again",
    "#/history": "Nothing of this has changed yet.",
    "#/drill": "No drill yet",
    "#/audit": "This console sees no audit logs",
    "#/logs": "This console sees no logs",
    "#/runbook": "FastTreeNoPrimary",
    "#/members": "Try again",
    "#/members/1": "Try again",
    "#/tree/1": "Try again",
    "#/downline/1": "Try again",
}
QUICK = {"port": 0, "poll_s": 0.1, "answer_s": 0.5, "report_s": 0.5, "tell_s": 0.05}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console() -> AsyncIterator[Console]:
    coordinator, pusher, vip = free_addresses(3)
    started = await Console.start(
        ClusterSettings.of(coordinator=coordinator), ConsoleSettings.of(vip=vip, pusher=pusher, **QUICK)
    )
    yield started
    await started.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


async def test_each_page_says_that_nobody_answers(console: Console, browser: Browser) -> None:
    found = []
    for width, dark in ((1280, False), (360, True)):
        async with tab(browser, f"http://127.0.0.1:{console.http.port}/", width=width, dark=dark) as opened:
            for path, text in PAGES.items():
                await opened.open(path)
                await opened.sees(text)
                found += await opened.violations()
                assert await opened.page.evaluate("document.documentElement.scrollWidth") <= width, path
            await opened.picture(f"console-alone-{width}")
    assert found == []


async def test_a_drill_of_nothing_says_so_in_its_receipt(console: Console, browser: Browser) -> None:
    async with tab(browser, f"http://127.0.0.1:{console.http.port}/") as opened:
        await opened.open("#/drill")
        await opened.page.get_by_role("button", name="Begin a drill…").click()
        await opened.sees("No process is killed")
        await opened.page.get_by_role("button", name="Begin the drill").click()
        await opened.sees("ready and equal")
        await opened.sees("not tried")
        assert await opened.violations() == []


async def test_what_does_answer_is_shown_beside_what_does_not(browser: Browser) -> None:
    async with fake_cluster() as cluster:
        there = cluster.endpoints
        console = await Console.start(
            ClusterSettings.of(coordinator=free_addresses(1)[0]),
            ConsoleSettings.of(vip=there.vip, pusher=there.pusher, **QUICK),
        )
        try:
            async with tab(browser, f"http://127.0.0.1:{console.http.port}/") as opened:
                await opened.open("#/")
                await opened.sees("the coordinator does not answer")
                await opened.sees("Log id")  # of what does answer, all is shown
        finally:
            await console.stop()


def free_addresses(count: int) -> list[str]:
    """Where nobody listens."""
    return [f"127.0.0.1:{port}" for port in free_ports("127.0.0.1", count)]
