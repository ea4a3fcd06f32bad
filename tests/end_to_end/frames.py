"""What it costs to scroll a box of a page: frames tell of the machine, what changes in each tells of the page."""

from __future__ import annotations

from typing import Any, NamedTuple

from playwright.async_api import Locator

FRAMES = 120
#: Scrolls a box by a third of its height in each of so many frames; counts what changed in the page, in and outside it.
_SCROLL = """async (box, frames) => {
  const times = [];
  let inside = 0, outside = 0;
  const watch = new MutationObserver((records) => {
    for (const one of records) {
      if (box.contains(one.target)) inside += Math.max(one.addedNodes.length + one.removedNodes.length, 1);
      else outside += 1;
    }
  });
  watch.observe(document, {childList: true, subtree: true, attributes: true, characterData: true});
  let before = await new Promise(requestAnimationFrame);
  for (let at = 0; at < frames; at += 1) {
    box.scrollTop += box.clientHeight / 3;
    const now = await new Promise(requestAnimationFrame);
    times.push(now - before);
    before = now;
  }
  watch.disconnect();
  return {times: times.sort((a, b) => a - b), inside, outside};
}"""


class Scrolled(NamedTuple):
    """Of `FRAMES` frames."""

    #: Changes of the page's nodes a frame, in the box; and all changes outside it.
    inside: float
    outside: int
    #: For people: the median frame, the one that 95 % were shorter than, and the longest, ms; and of the page's own
    #: thread, scripts, styles with layout, and all it did, ms a frame.
    told: dict[str, float]


async def scroll(box: Locator) -> Scrolled:
    """From where it stands."""
    session = await box.page.context.new_cdp_session(box.page)
    await session.send("Performance.enable")

    async def spent_ms() -> dict[str, float]:
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        return {one["name"]: one["value"] * 1e3 for one in metrics}

    before = await spent_ms()
    seen: dict[str, Any] = await box.evaluate(_SCROLL, FRAMES)
    after = await spent_ms()
    each = {name: (after[name] - before[name]) / FRAMES for name in after}
    times = seen["times"]
    told = {
        "median": times[FRAMES // 2],
        "95 %": times[FRAMES * 95 // 100],
        "longest": times[-1],
        "scripts": each["ScriptDuration"],
        "layout": each["LayoutDuration"] + each["RecalcStyleDuration"],
        "all": each["TaskDuration"],
    }
    await session.detach()
    return Scrolled(seen["inside"] / FRAMES, seen["outside"], {name: round(ms, 2) for name, ms in told.items()})
