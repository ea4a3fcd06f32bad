"""How long a person waits for the tree: MEMBERS in a real cluster, the console, and chromium: `make bench-console`.

The page takes the times itself, from the moment in which its part is asked for until its boxes are drawn: the first
paint of the whole tree, of each of ROUNDS, and what it takes to open the largest box that is closed, OPENINGS times in
each round.

The last line is JSON: members boxes_max paint_p50_ms paint_max_ms open_p50_ms open_max_ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
from typing import Any

import numpy as np
from playwright.async_api import Page

from bench.console.browser import chromium
from bench.engine.genealogy import make_genealogy
from bench.fanout import loaded_cluster, say

_WAIT_MS = 60_000


async def sit(page: Page, base: str, root: str, openings: int) -> tuple[int, list[int], int]:
    """One sitting: milliseconds to the first paint, of each opening, and the most boxes that were drawn."""
    await page.goto("about:blank")
    await page.goto(f"{base}#/tree/{root}")
    canvas = page.locator("canvas.tree")
    await page.locator("canvas.tree[data-ready]").wait_for()
    painted = int(await canvas.get_attribute("data-painted-ms") or 0)
    boxes = int(await canvas.get_attribute("data-boxes") or 0)
    opened: list[int] = []
    await canvas.focus()
    for _ in range(openings):
        await canvas.evaluate("(one) => { delete one.dataset.openedMs; }")
        # A box that is closed opens by the arrow; one that is open lets the next press go a level down.
        for _ in range(40):
            await page.keyboard.press("ArrowRight")
            if await canvas.evaluate(
                "(one) => new Promise((then) => setTimeout(() => then(one.dataset.openedMs), 100))"
            ):
                break
        await page.locator("canvas.tree[data-opened-ms]").wait_for()
        opened.append(int(await canvas.get_attribute("data-opened-ms") or 0))
        boxes = max(boxes, int(await canvas.get_attribute("data-boxes") or 0))
    return painted, opened, boxes


async def measure(members: int, rounds: int, openings: int) -> dict[str, Any]:
    """The figures."""
    genealogy = make_genealogy(members, seed=1, roots=1)
    root = genealogy.ids[int(np.argmin(genealogy.sponsor))].decode()
    painted: list[int] = []
    opened: list[int] = []
    boxes = 0
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(loaded_cluster(genealogy, 2, console=True))
        browser = await stack.enter_async_context(chromium())
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(_WAIT_MS)
        for number in range(rounds + 1):
            first, each, most = await sit(page, f"http://{cluster.endpoints['console']}/", root, openings)
            say(f"round {number}: painted after {first} ms, opened after {each} ms, {most} boxes")
            boxes = max(boxes, most)
            if number:  # the first one fills the browser's cache
                painted.append(first)
                opened += each
    if boxes < 2:
        raise RuntimeError("no box but the root was drawn")
    return {
        "members": members,
        "boxes_max": boxes,
        "paint_p50_ms": statistics.median(painted),
        "paint_max_ms": max(painted),
        "open_p50_ms": statistics.median(opened),
        "open_max_ms": max(opened),
    }


def main() -> None:
    """All rounds."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description=__doc__)
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--openings", type=int, default=3, help="a round")
    asked = parser.parse_args()
    print(json.dumps(asyncio.run(measure(asked.members, asked.rounds, asked.openings))))


if __name__ == "__main__":
    main()
