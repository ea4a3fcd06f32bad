"""A page of a real browser. What goes wrong in a page is kept, with the page's address."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
WAIT_MS = 60_000


class Tab:
    """One page, in a profile of its own."""

    def __init__(self, context: BrowserContext, page: Page, base: str) -> None:
        self._context = context
        self.page = page
        self.base = base
        #: Errors of scripts, and what the policy of contents refused.
        self.errors: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))

    def _note(self, kind: str, text: str) -> None:
        # That the network failed is what some tests are about; the page says it in words.
        if kind == "error" and "Failed to load resource" not in text:
            self.errors.append(f"{self.page.url}: {text}")

    async def open(self, path: str) -> None:
        """A page of the console, by what follows `#`."""
        await self.page.goto(f"{self.base}{path}")

    async def sees(self, text: str) -> None:
        """Waits until the page shows that."""
        await self.page.get_by_text(text).first.wait_for(timeout=WAIT_MS)

    async def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2, levels A and AA."""
        assert AXE.exists(), f"{AXE} is missing: `make node_modules/.bin/buf` installs it"
        # By the debugger's own way: the page's policy lets no such script in.
        await self.page.evaluate(AXE.read_text())
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found: dict[str, Any] = await self.page.evaluate(
            "(tags) => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", tags
        )
        return [
            f"{self.page.url}: {one['id']}: {one['help']}: {node['html'][:120]}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    async def picture(self, name: str) -> None:
        """Into docs/pictures, where PICTURES is set; else it is only taken."""
        data = await self.page.screenshot(scale="css")
        if os.environ.get("PICTURES"):
            (ROOT / "docs" / "pictures" / f"{name}.png").write_bytes(data)


@contextlib.asynccontextmanager
async def tab(
    browser: Browser, base: str, *, width: int = 1280, height: int = 800, dark: bool = False
) -> AsyncIterator[Tab]:
    """A page; at its end, nothing may have gone wrong in it."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", locale="en-GB"
    )
    context.set_default_timeout(WAIT_MS)
    opened = Tab(context, await context.new_page(), base)
    try:
        yield opened
    finally:
        await context.close()
    assert not opened.errors
