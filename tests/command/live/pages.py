"""HTTP ports that show figures, as the services show theirs: by their own code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


class Page:
    """What an HTTP port shows. `text` may change; None: it says that it can't."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(status=503, text="not now") if self.text is None else web.Response(text=self.text)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Its address."""
        application = web.Application()
        application.router.add_get("/metrics", self._answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def figures(kind: str, updates: int, reads: int, processor_s: float) -> str:
    """Those that `fasttree top` shows; each read took up to a millisecond, but one in fifty a second."""
    counted = {"node": "applied_updates_total", "pusher": 'updates_total{result="taken"}'}.get(kind, "elections_total")
    slow = reads // 50
    lines = [
        f"{counted} {updates}",
        'calls_open{call="GetMember"} 1',
        f"memory_bytes {64_000_000}",
        f"processor_seconds_total {processor_s}",
        "event_loop_delay_seconds 0.005",
        f'call_seconds_bucket{{call="GetMember",code="OK",le="0.001"}} {reads - slow}',
        f'call_seconds_bucket{{call="GetMember",code="OK",le="1.0"}} {reads - slow}',
        f'call_seconds_bucket{{call="GetMember",code="OK",le="+Inf"}} {reads - slow}',
        f'call_seconds_count{{call="GetMember",code="OK"}} {reads - slow}',
        f'call_seconds_bucket{{call="GetMember",code="UNAVAILABLE",le="0.001"}} {0}',
        f'call_seconds_bucket{{call="GetMember",code="UNAVAILABLE",le="1.0"}} {slow}',
        f'call_seconds_bucket{{call="GetMember",code="UNAVAILABLE",le="+Inf"}} {slow}',
        f'call_seconds_count{{call="GetMember",code="UNAVAILABLE"}} {slow}',
    ]
    return "".join(f"fasttree_{kind}_{line}\n" for line in lines)
