"""The pusher's HTTP port: health for machines that ask by HTTP, and metrics."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from services.pusher.metrics import PusherMetrics


class HttpServer:
    """`/livez`, `/readyz` (200, or 503 with why not) and `/metrics`.

    Args:
        listen: host:port; port 0 takes a free one.
        metrics: What `/metrics` shows.
        not_ready: Why the pusher takes no pushes now; empty where it does.
    """

    def __init__(self, listen: str, metrics: PusherMetrics, not_ready: Callable[[], str]) -> None:
        self._listen = listen
        self._metrics = metrics
        self._not_ready = not_ready
        application = web.Application()
        application.add_routes(
            [
                web.get("/livez", self._live),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._show_metrics),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)
        self.port = 0

    async def start(self) -> int:
        """Listens; returns the port. Raises OSError where it can't."""
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        try:
            await web.TCPSite(self._runner, host.strip("[]"), int(port)).start()
        except OSError as error:
            raise OSError(f"can't listen on {self._listen}: {error.strerror}; set pusher.http_listen") from error
        self.port = self._runner.addresses[0][1]
        return self.port

    async def stop(self) -> None:
        """Ends it."""
        await self._runner.cleanup()

    async def _live(self, request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _ready(self, request: web.Request) -> web.Response:
        reason = self._not_ready()
        return web.Response(text=f"{reason or 'ready'}\n", status=503 if reason else 200)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), content_type="text/plain", charset="utf-8")
