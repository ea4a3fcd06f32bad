"""Server-Sent Events: what a browser is told as it comes, and for how long one that takes nothing is waited for."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from aiohttp import web

_HEADERS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class StalledError(Exception):
    """The browser takes nothing."""


class GoneError(Exception):
    """The browser is not there any more."""


class EventStream:
    """To one browser. `stall_s`: how long a write may take."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self.response = web.StreamResponse(headers=_HEADERS)

    async def send(self, *events: tuple[str, Any]) -> None:
        """Raises StalledError, GoneError."""
        text = "".join(f"event: {name}\ndata: {_json(data)}\n\n" for name, data in events)
        try:
            async with asyncio.timeout(self._stall_s):
                await self.response.write(text.encode())
        except TimeoutError:
            raise StalledError from None
        except (ConnectionError, RuntimeError):
            raise GoneError from None


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
