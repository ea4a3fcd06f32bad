"""The console of a real cluster in a real browser: every page, live through a failover, for everybody."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from bench.cluster.cluster import RunningCluster, running_cluster
from tests.end_to_end.browser import WAIT_MS, chromium, tab

# One cluster and one browser for all: their connections belong to one loop.
pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

#: Each page, and what it shows once it is there.
PAGES = {
    "#/": "Updates behind the log",
    "#/history": "as seen since the console started",
    "#/runbook": "FastTreeNoPrimary",
    "#/runbook/FastTreeNoPrimary": "What it means",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningCluster]:
    folder: Path = tmp_path_factory.mktemp("console")
    async with running_cluster(folder / "cluster", console=True, arguments=("--sample",)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest.fixture
def base(cluster: RunningCluster) -> str:
    return f"http://{cluster.endpoints['console']}/"


async def test_each_page_opens_and_everybody_can_use_it(browser: Browser, base: str) -> None:
    """Light, dark, and as narrow as a telephone: axe-core finds nothing, and no page is wider than the window."""
    found = []
    for width, dark in ((1280, False), (1280, True), (360, False)):
        async with tab(browser, base, width=width, dark=dark) as opened:
            for path, text in PAGES.items():
                await opened.open(path)
                await opened.sees(text)
                found += await opened.violations()
                assert await opened.page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert found == []


async def test_the_page_goes_on_through_a_failover_and_says_so(
    cluster: RunningCluster, browser: Browser, base: str
) -> None:
    async with tab(browser, base, height=900) as opened:
        await opened.open("#/")
        await opened.sees("All is well.")
        await opened.picture("console-cluster")
        primary = (
            await opened.page.locator("article.node", has=opened.page.get_by_text("primary"))
            .get_by_role("heading")
            .inner_text()
        )
        before = int(await opened.page.locator(".tiles > div", has_text="Epoch").locator("dd").inner_text())
        os.kill(cluster.node(primary)["pid"], signal.SIGKILL)
        await opened.sees(f"epoch {before + 1}: ")
        await opened.sees("problem")
        await opened.page.get_by_role("link", name="What to do").first.wait_for()
        await opened.sees("All is well.")  # it was started again, and has caught up


async def test_a_switchover_says_what_it_does_and_is_done_by_keys_alone(browser: Browser, base: str) -> None:
    async with tab(browser, base) as opened:
        page = opened.page
        await opened.open("#/")
        await opened.sees("All is well.")
        await page.get_by_role("button", name="Switch over…").focus()
        await page.keyboard.press("Enter")
        await opened.sees("gives up its role")
        await page.keyboard.press("Escape")
        await page.get_by_role("dialog").wait_for(state="detached")
        await page.keyboard.press("Enter")  # the focus is where it was
        await opened.sees("gives up its role")
        assert await opened.violations() == []
        await page.get_by_role("button", name="Switch over", exact=True).focus()
        await page.keyboard.press("Enter")
        await page.get_by_text("is primary, epoch").wait_for(timeout=WAIT_MS)


async def test_a_console_that_goes_away_is_said_to_be_away_until_it_is_back(
    cluster: RunningCluster, browser: Browser, base: str
) -> None:
    async with tab(browser, base) as opened:
        await opened.open("#/")
        await opened.sees("Live")
        pid = cluster.endpoints["pids"]["console"]
        os.kill(pid, signal.SIGKILL)
        await opened.sees("Reconnecting.")
        await opened.sees("What is shown is as of")
        await opened.sees("Live")  # `fasttree up` has started it again, at the same address
