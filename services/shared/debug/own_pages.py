"""What a part shows of itself to those who operate it, wherever they are: its newest log lines, and its audit log.

| path | answer, JSON |
|---|---|
| /logs | `lines`: the newest ones, `?lines=N` of them at most, oldest first, without secrets |
| /audit | a page of its audit log's records, the newest first, by `paging.py`; `records` is null where it keeps none |

Who may see them is judged as every page is (`/logs` and `/audit` in `roles.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from services.shared.debug.own_log import LINES_MAX, OWN_LINES
from services.shared.domain.sentences import system_words
from services.shared.files.threads import in_thread
from services.shared.security.audit.log import own_audit
from services.shared.security.audit.paging import asked_of, page_of

_LINES: Final = 200


def own_pages() -> Iterator[web.RouteDef]:
    """For an `OpsPort`."""
    yield web.get("/logs", _logs)
    yield web.get("/audit", _audit)


async def _logs(request: web.Request) -> web.Response:
    text = request.query.get("lines", str(_LINES))
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise web.HTTPBadRequest(text="lines must be a whole number\n")
    return _json({"lines": OWN_LINES.last(min(max(int(text), 1), LINES_MAX))})


async def _audit(request: web.Request) -> web.Response:
    log = own_audit()
    if log is None:
        return _json({"folders": [], "records": None, "older": None})
    try:
        asked = asked_of(request.query)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None
    try:
        return _json(await in_thread(page_of, Path(log.folder), asked))
    except OSError as error:
        raise web.HTTPServiceUnavailable(text=f"it can't be read: {system_words(error)}\n") from None


def _json(value: Any) -> web.Response:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return web.Response(text=text, content_type="application/json", headers={"Cache-Control": "no-store"})
