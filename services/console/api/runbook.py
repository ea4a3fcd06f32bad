"""The runbook as it was released: docs/alerts.md, with the passages of other pages that an alert leads to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from services.console.http.answers import json_answer
from services.console.http.guarding import SEE_CLUSTER, check_may

#: In a checkout, and in an installed package, whose wheel brings the pages along.
_FOLDERS: Final = (Path(__file__).parents[3] / "docs", Path(__file__).parents[1] / "docs")
_ROW: Final = re.compile(r"^\| (FastTree\w+) \| (.+?) \| (.+?) \|$", re.MULTILINE)
_LINK: Final = re.compile(r"\]\((\w+\.md)#([\w-]+)\)")
_HEADING: Final = re.compile(r"^(#+) (.+)$", re.MULTILINE)


class Runbook:
    """Read once. Raises OSError where the pages are missing."""

    def __init__(self) -> None:
        folder = next((folder for folder in _FOLDERS if folder.exists()), _FOLDERS[-1])
        text = (folder / "alerts.md").read_text(encoding="utf-8")
        #: Each alert with what it means, what to do, and the passages that this leads to.
        self.alerts: list[dict[str, Any]] = [
            {"alert": alert, "means": means, "mend": mend, "passages": list(_passages(folder, mend))}
            for alert, means, mend in _ROW.findall(text)
        ]

    def routes(self) -> Iterator[web.RouteDef]:
        """Where it is."""
        yield web.get("/api/runbook", self._all)

    async def _all(self, request: web.Request) -> web.Response:
        check_may(request, SEE_CLUSTER)
        return json_answer({"alerts": self.alerts})


def _passages(folder: Path, mend: str) -> Iterator[str]:
    for page, anchor in _LINK.findall(mend):
        passage = _passage((folder / page).read_text(encoding="utf-8"), anchor)
        if passage:
            yield passage


def _passage(text: str, anchor: str) -> str:
    """A heading with what stands below it; empty where no heading has that anchor."""
    headings = list(_HEADING.finditer(text))
    for place, heading in enumerate(headings):
        if _anchor(heading[2]) == anchor:
            later = (one.start() for one in headings[place + 1 :] if len(one[1]) <= len(heading[1]))
            return text[heading.start() : next(later, len(text))].strip()
    return ""


def _anchor(heading: str) -> str:
    """As web pages of Markdown have it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
