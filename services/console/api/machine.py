"""Audit logs and logs: of the console's own machine, where settings name folders, and of every part by its port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from fasttree.client import FailedPreconditionError, NotFoundError
from services.console.http.answers import AskError, json_answer, whole_of
from services.console.http.guarding import SEE_AUDIT, SEE_LOGS, TOKEN, check_may
from services.console.machine.logs import files_of, tail_of
from services.console.parts.asking import Parts
from services.console.settings import MachineSettings
from services.shared.domain.sentences import system_words
from services.shared.files.threads import in_thread
from services.shared.security.audit.paging import asked_of, page_of, verdicts_of

_LINES_MAX: Final = 1_000
#: What a part is asked on with.
_ASKED: Final = ("outcome", "who", "method", "older")


class MachinePages:
    """Of operators; the audit logs of auditors too."""

    def __init__(self, settings: MachineSettings, parts: Parts) -> None:
        self._parts = parts
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
        if part := request.query.get("part", ""):
            query = {name: request.query[name] for name in _ASKED if name in request.query}
            return json_answer(await self._parts.ask(part, SEE_AUDIT, query, request[TOKEN]))
        known = {"parts": self._parts.names()}
        if self._audit is None:
            return json_answer({"folders": None, **known})
        try:
            asked = asked_of(request.query)
        except ValueError as error:
            raise AskError(str(error)) from None
        return json_answer({**await _read(page_of, self._audit, asked), **known})

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
        files = None if self._logs is None else await _read(files_of, self._logs)
        return json_answer({"files": files, "parts": self._parts.names()})

    async def _tail(self, request: web.Request) -> web.Response:
        check_may(request, SEE_LOGS)
        name = request.query.get("name", "")
        lines = min(max(whole_of(request.query, "lines") or 200, 1), _LINES_MAX)
        if part := request.query.get("part", ""):
            told = await self._parts.ask(part, SEE_LOGS, {"lines": str(lines)}, request[TOKEN])
            shown = [str(line) for line in told.get("lines", [])][-lines:]
            return json_answer({"name": part, "bytes": None, "is_whole": False, "lines": shown})
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
