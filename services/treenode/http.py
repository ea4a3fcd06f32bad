"""The HTTP port: health for load balancers, figures for Prometheus, logs for people.

| path | answer |
|---|---|
| /livez /readyz /primary | 200 while it is so, else 503 |
| /metrics | Prometheus' text format |
| /debug/mtree.log, /debug/hpushup.log | the last lines: `?lines=N`; `?follow=1` goes on with new ones |
| /debug.txt | each update as it is applied, until the reader goes away |

No path leads to a file by its name: the two logs are found in a table, and nothing else is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from services.treenode.debug_logs import DebugLog, TooManyFollowersError, UpdateEcho
from services.treenode.metrics import CONTENT_TYPE, NodeMetrics
from services.treenode.node.runner import NodeRunner, now_s

LINES_DEFAULT = 100
#: A follower hears something this often, in seconds, so that proxies keep the connection.
SILENCE_S = 15.0


class HttpPort:
    """The HTTP server of one node."""

    def __init__(self, node: NodeRunner, metrics: NodeMetrics, logs: Mapping[str, DebugLog], echo: UpdateEcho) -> None:
        self._node = node
        self._metrics = metrics
        self._logs = logs
        self._echo = echo
        self._ending = asyncio.Event()
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/primary", self._primary)
        application.router.add_get("/metrics", self._figures)
        application.router.add_get("/debug.txt", self._echoed)
        application.router.add_get("/debug/{name}", self._log)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises OSError where the address is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise OSError(f"can't listen on {host}:{port}: {error}; set treenode.http_port") from error
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Ends followers and listens no more."""
        self._ending.set()
        await self._runner.cleanup()

    async def _livez(self, request: web.Request) -> web.Response:
        return _yes_or_no(self._node.fatal is None, "live")

    async def _readyz(self, request: web.Request) -> web.Response:
        return _yes_or_no(self._node.core.life.ready, self._node.core.state.name)

    async def _primary(self, request: web.Request) -> web.Response:
        # By the clock, not by the last tick: a process that was frozen is no primary even before it notices.
        return _yes_or_no(self._node.core.role.is_primary(now_s()), self._node.core.state.name)

    async def _figures(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.page(), headers={"Content-Type": CONTENT_TYPE})

    async def _log(self, request: web.Request) -> web.StreamResponse:
        log = self._logs.get(request.match_info["name"])
        if log is None:
            raise web.HTTPNotFound(text=f"no such log; there are {', '.join(self._logs)}\n")
        text = request.query.get("lines", str(LINES_DEFAULT))
        if not text.isdecimal() or len(text) > 9:
            raise web.HTTPBadRequest(text="lines must be a whole number\n")
        lines = await asyncio.to_thread(log.tail, int(text))
        if request.query.get("follow", "0") in ("", "0"):
            return web.Response(text="".join(line + "\n" for line in lines))
        return await self._stream(request, lines, log.broadcast.follow())

    async def _echoed(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, ["each update as it is applied:"], self._echo.echo.follow())

    async def _stream(self, request: web.Request, first: list[str], lines: AsyncIterator[str]) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
        )
        following: asyncio.Future[str] = asyncio.ensure_future(_next(lines))
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await response.prepare(request)
            await response.write("".join(line + "\n" for line in first).encode())
            while not ending.done():
                waits: list[asyncio.Future[Any]] = [following, ending]
                await asyncio.wait(waits, timeout=SILENCE_S, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    await response.write((following.result() + "\n").encode())
                    following = asyncio.ensure_future(_next(lines))
                elif not ending.done():
                    await response.write(b"\n")
            await response.write_eof()
        except TooManyFollowersError as error:
            await response.write(f"{error}\n".encode())
            await response.write_eof()
        except ConnectionError:
            pass  # the reader went away
        finally:
            following.cancel()
            ending.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await following
            if isinstance(lines, AsyncIterator) and hasattr(lines, "aclose"):
                await lines.aclose()
        return response


async def _next(lines: AsyncIterator[str]) -> str:
    return await anext(lines)


def _yes_or_no(good: bool, text: str) -> web.Response:
    return web.Response(status=200 if good else 503, text=text + "\n", headers={"Cache-Control": "no-store"})
