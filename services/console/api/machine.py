"""Audit logs and log files of the console's own machine, where settings name their folders; else how to see them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from fasttree.client import FailedPreconditionError, NotFoundError
from services.console.http.answers import AskError, json_answer, whole_of
from services.console.http.guarding import SEE_AUDIT, SEE_LOGS, check_may
from services.console.machine.audit import OUTCOMES, Asked, page_of, verdicts_of
from services.console.machine.logs import files_of, tail_of
from services.console.settings import MachineSettings
from services.shared.domain.sentences import system_words
from services.shared.files.threads import in_thread
from services.shared.security.audit.reading import Place

_PAGE: Final = 100
_LINES_MAX: Final = 1_000
_TEXT_MAX: Final = 200
_PLACE: Final = re.compile(r"([0-9T:.Z-]{10,40})\n([^\n]{1,4000})\n([a-z]{1,20})\n([0-9]{1,16})")


class MachinePages:
    """Of operators; the audit logs of auditors too."""

    def __init__(self, settings: MachineSettings) -> None:
        self._audit = Path(settings.audit_folder).absolute() if settings.audit_folder else None
        self._logs = Path(settings.logs_folder).absolute() if settings.logs_folder else None
        self._is_verifying = False

    def routes(self) -> Iterator[web.RouteDef]:
        """Where they are."""
        yield web.get("/api/audit", self._records)
        yield web.get("/api/audit/verify", self._verify)
        yield web.get("/api/logs", self._files)
        yield web.get("/api/logs/tail", self._tail)

    async def _records(self, request: web.Request) -> web.Response:
        check_may(request, SEE_AUDIT)
        if self._audit is None:
            return json_answer({"folders": None})
        query = request.query
        outcome = query.get("outcome", "")
        if outcome not in OUTCOMES:
            raise AskError(f"outcome must be {', '.join(filter(None, OUTCOMES))}, or nothing")
        who, method = query.get("who", "")[:_TEXT_MAX], query.get("method", "")[:_TEXT_MAX]
        asked = Asked(outcome, who, method, _place(query.get("older", "")), _PAGE)
        return json_answer(await _read(page_of, self._audit, asked))

    async def _verify(self, request: web.Request) -> web.Response:
        """Reads every line that there is: one at a time."""
        check_may(request, SEE_AUDIT)
        if self._audit is None:
            raise FailedPreconditionError("console.audit_folder names no folder of this machine")
        if self._is_verifying:
            raise web.HTTPTooManyRequests(text="the audit logs are being verified: ask again in a moment")
        self._is_verifying = True
        try:
            return json_answer(await _read(verdicts_of, self._audit))
        finally:
            self._is_verifying = False

    async def _files(self, request: web.Request) -> web.Response:
        check_may(request, SEE_LOGS)
        return json_answer({"files": None if self._logs is None else await _read(files_of, self._logs)})

    async def _tail(self, request: web.Request) -> web.Response:
        check_may(request, SEE_LOGS)
        name = request.query.get("name", "")
        lines = min(max(whole_of(request.query, "lines") or 200, 1), _LINES_MAX)
        if self._logs is None:
            raise FailedPreconditionError("console.logs_folder names no folder of this machine")
        try:
            return json_answer(await _read(tail_of, self._logs, name, lines))
        except KeyError:
            raise NotFoundError("there is no log of that name") from None


async def _read(read: Callable[..., Any], *asked: Any) -> Any:
    try:
        return await in_thread(read, *asked)
    except OSError as error:
        raise FailedPreconditionError(f"it can't be read: {system_words(error)}") from None


def _place(text: str) -> Place | None:
    """As a page hands it back, a line each."""
    if not text:
        return None
    found = _PLACE.fullmatch(text)
    if found is None:
        raise AskError("older must be what the page before had as `older`")
    return Place(found[1], found[2], found[3], int(found[4]))
