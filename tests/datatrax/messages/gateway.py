"""A stand-in for what letters are posted to: it checks each one's signature, and counts them by their keys."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

KEY = b"0123456789abcdef0123456789abcdef"

#: What it answers a letter with, by what was posted and how often that key has come, from 1.
Reply = Callable[[dict[str, Any], int], web.Response]


def taken(letter: dict[str, Any], time_: int) -> web.Response:
    return web.Response(status=202)


class Gateway:
    """Listens from `start` to `stop`, at the same port each time."""

    def __init__(self) -> None:
        self.reply: Reply = taken
        #: How often each key has come; what was posted, in order.
        self.keys: Counter[str] = Counter()
        self.letters: list[dict[str, Any]] = []
        #: Letters wait for their answers until it is set, as it is at first.
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/letters"

    async def start(self) -> Gateway:
        application = web.Application()
        application.router.add_post("/letters", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        at = request.headers["X-FastTree-Timestamp"]
        assert abs(time.time() - int(at)) < 600
        signed = hmac.new(KEY, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert request.headers["X-FastTree-Signature"] == f"v1={signed}"
        letter = await request.json()
        assert request.headers["Idempotency-Key"] == letter["key"]
        self.keys[letter["key"]] += 1
        self.letters.append(letter)
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        return self.reply(letter, self.keys[letter["key"]])


def write_channels(folder: Path, gateway: Gateway, **settings: Any) -> Path:
    """A file of two channels: sms posts to the gateway, voice writes lines into `folder/voice`."""
    (folder / "sms.key").write_bytes(KEY + b"\n")
    lines = {
        "url": gateway.url,
        "key_file": str(folder / "sms.key"),
        "price": "0.0450",
        "retry_initial_s": 0.001,
    } | settings
    sms = "".join(
        f"{name} = {value if isinstance(value, int | float) else repr(value)}\n" for name, value in lines.items()
    )
    voice = f'[voice]\nsender = "spool"\nfolder = "{folder / "voice"}"\nretry_initial_s = 0.001\n'
    path = folder / "channels.toml"
    path.write_text(f'[sms]\nsender = "webhook"\n{sms}\n{voice}')
    return path
