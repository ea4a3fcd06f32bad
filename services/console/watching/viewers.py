"""Browsers that follow the cluster: Server-Sent Events, as many as are allowed, none faster than it reads."""

from __future__ import annotations

import asyncio

from aiohttp import web

from services.console.http.events import EventStream, GoneError, StalledError
from services.console.settings import ViewerSettings
from services.console.watching.watcher import Watcher


class Viewers:
    """The streams under way."""

    def __init__(self, watcher: Watcher, settings: ViewerSettings) -> None:
        self._watcher = watcher
        self._settings = settings
        self._ending = asyncio.Event()
        #: Browsers that follow now, and those that were let go because they took nothing.
        self.count = 0
        self.stalled = 0

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Events "lag" (the graph's new steps) and "state" (all else), until the browser goes."""
        if self.count >= self._settings.viewers_max:
            raise web.HTTPServiceUnavailable(
                text=f"{self.count} browsers follow already: close one, or raise console.viewers_max\n",
                headers={"Retry-After": "5"},
            )
        self.count += 1
        try:
            stream = EventStream(self._settings.stall_s)
            await stream.response.prepare(request)
            following = asyncio.create_task(self._write(stream))
            ending = asyncio.create_task(self._ending.wait())
            try:
                await asyncio.wait({following, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                following.cancel()
                ending.cancel()
                await asyncio.gather(following, ending, return_exceptions=True)
            return stream.response
        finally:
            self.count -= 1

    def end(self) -> None:
        """Lets all go."""
        self._ending.set()

    async def _write(self, stream: EventStream) -> None:
        """What is new, whenever something is. A browser that reads slowly gets fewer and newer states; one that does
        not read at all is let go."""
        seen = 0
        async for _ in self._watcher.news():
            steps, seen = self._watcher.lag.after(seen), self._watcher.lag.count
            state = ("state", self._watcher.state())
            try:
                await stream.send(*([("lag", steps)] if steps else []), state)
            except StalledError:
                self.stalled += 1
                return
            except GoneError:
                return
            await asyncio.sleep(self._settings.tell_s)
