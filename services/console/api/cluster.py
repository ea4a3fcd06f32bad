"""The cluster: what it is, live; whose turn it is, changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from fasttree.client import Client
from services.console.http.answers import asked, json_answer, text_of
from services.console.http.guarding import (
    IS_OPERATOR,
    SEE_AUDIT,
    SEE_CLUSTER,
    SEE_LOGS,
    SEE_UPDATES,
    TOKEN,
    acts,
    check_may,
    check_token,
    in_name,
    may,
)
from services.console.settings import ViewerSettings
from services.console.watching.viewers import Viewers
from services.console.watching.watcher import Watcher


class ClusterPages:
    """Of operators, but for the first."""

    def __init__(self, client: Client, watcher: Watcher, viewers: Viewers, settings: ViewerSettings) -> None:
        self._client = client
        self._watcher = watcher
        self._viewers = viewers
        self._settings = settings

    def routes(self) -> Iterator[web.RouteDef]:
        """Where they are."""
        yield web.get("/api/session", self._session)
        yield web.get("/api/state", self._state)
        yield web.get("/api/events", self._events)
        yield web.post("/api/switchover", self._switchover)
        yield web.post("/api/pause", self._pause)
        yield web.post("/api/resume", self._resume)

    async def _session(self, request: web.Request) -> web.Response:
        """Who the console takes the browser for, and what of the cluster he sees. A token that does not count is told
        before anything is asked with it."""
        check_token(request)
        sees = {"cluster": SEE_CLUSTER, "updates": SEE_UPDATES, "audit": SEE_AUDIT, "logs": SEE_LOGS}
        return json_answer(
            {
                "operator": request[IS_OPERATOR],
                "acts": acts(request),
                "token": bool(request[TOKEN]),
                "sees": [name for name, path in sees.items() if may(request, path)],
            }
        )

    async def _state(self, request: web.Request) -> web.Response:
        check_may(request, SEE_CLUSTER)
        return json_answer(self._watcher.state())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        check_may(request, SEE_CLUSTER)
        return await self._viewers.follow(request)

    async def _switchover(self, request: web.Request) -> web.Response:
        client = in_name(request, self._client)
        to_node = text_of(await asked(request), "to_node")
        answer = await client.switchover(to_node, timeout_s=self._settings.action_s)
        told: dict[str, Any] = {"from_node": answer.from_node, "to_node": answer.to_node}
        return json_answer({**told, "epoch": answer.epoch, "took_ms": answer.took_ms})

    async def _pause(self, request: web.Request) -> web.Response:
        await in_name(request, self._client).pause()
        return json_answer({"paused": True})

    async def _resume(self, request: web.Request) -> web.Response:
        await in_name(request, self._client).resume()
        return json_answer({"paused": False})
