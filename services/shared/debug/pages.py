"""Logs as pages of an HTTP port, for people.

| path | answer |
|---|---|
| /debug/NAME | a log's last lines: `?lines=N`; `?follow=1` goes on with new ones |
| /debug.txt | each update as it is applied, until the reader goes away |

No path leads to a file by its name: the logs are found in a table, and nothing else is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from aiohttp import web

from services.shared.debug.broadcast import TooManyFollowersError

LINES_DEFAULT = 100
#: How long one may follow, in seconds; whoever wants to goes on with another request.
FOLLOW_S_MAX = 3_600.0
#: A follower hears something this often, in seconds, so that proxies keep the connection.
SILENCE_S = 15.0
#: Whoever takes nothing for so long follows no more, in seconds.
STALL_S_MAX = 60.0


class LineSource(Protocol):
    """Where a log's lines come from."""

    async def last(self, lines: int) -> list[str]:
        """So many of the last lines at most, oldest first."""

    def follow(self) -> AsyncIterator[str]:
        """Lines as they come, on and on. Raises TooManyFollowersError."""


class DebugPages:
    """The pages, until `end`."""

    def __init__(
        self,
        logs: Mapping[str, LineSource],
        echo: Callable[[], AsyncIterator[str]],
        absent: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`echo`: each update as it is applied, on and on. `absent`: logs that may not be there, and why."""
        self._absent = absent
        self._logs = logs
        self._echo = echo
        self._ending = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """Where they are."""
        return [web.get("/debug.txt", self._echoed), web.get("/debug/{name}", self._log)]

    def end(self) -> None:
        """Ends who follows a log."""
        self._ending.set()

    async def _log(self, request: web.Request) -> web.StreamResponse:
        log = self._logs.get(request.match_info["name"])
        if log is None:
            why = self._absent.get(request.match_info["name"], "no such log")
            raise web.HTTPNotFound(text=f"{why}; there are {', '.join(self._logs)}\n")
        text = request.query.get("lines", str(LINES_DEFAULT))
        if not text.isascii() or not text.isdecimal() or len(text) > 9:
            raise web.HTTPBadRequest(text="lines must be a whole number\n")
        lines = await log.last(int(text))
        if request.query.get("follow", "0") in ("", "0"):
            return web.Response(text="".join(line + "\n" for line in lines))
        return await self._stream(request, lines, log.follow())

    async def _echoed(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, ["each update as it is applied:"], self._echo())

    async def _stream(self, request: web.Request, first: list[str], lines: AsyncIterator[str]) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
        )
        following: asyncio.Future[str] = asyncio.ensure_future(_next(lines))
        ending = asyncio.ensure_future(self._ending.wait())
        until_s = asyncio.get_running_loop().time() + FOLLOW_S_MAX
        try:
            await response.prepare(request)
            await _write(response, request, "".join(line + "\n" for line in first))
            while not ending.done():
                waits: list[asyncio.Future[Any]] = [following, ending]
                await asyncio.wait(waits, timeout=SILENCE_S, return_when=asyncio.FIRST_COMPLETED)
                if asyncio.get_running_loop().time() > until_s:
                    await _write(response, request, "followed for an hour: ask again to go on\n")
                    break
                if following.done():
                    await _write(response, request, following.result() + "\n")
                    following = asyncio.ensure_future(_next(lines))
                elif not ending.done():
                    await _write(response, request, "\n")
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


async def _write(response: web.StreamResponse, request: web.Request, text: str) -> None:
    """Raises ConnectionError where the reader takes nothing for a while: its place is another one's."""
    try:
        async with asyncio.timeout(STALL_S_MAX):
            await response.write(text.encode())
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reader takes nothing") from None


async def _next(lines: AsyncIterator[str]) -> str:
    return await anext(lines)
