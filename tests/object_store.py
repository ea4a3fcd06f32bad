"""How tests use the real S3-compatible server of their run (`s3` in tests/conftest.py): a prefix of its own for each,
and a proxy before it that loses what it is told to lose."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench.servers.s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server

_numbers = itertools.count(1)


def s3_settings(server: S3Server, folder: Path, **more: Any) -> dict[str, Any]:
    """The settings of a pusher whose import files nobody else has."""
    return _settings("import_", server, folder) | more


def snapshot_settings(server: S3Server, folder: Path, **more: Any) -> dict[str, Any]:
    """The settings of a node whose stored snapshots are its cluster's alone."""
    return _settings("snapshot_", server, folder) | more


def _settings(begin: str, server: S3Server, folder: Path) -> dict[str, Any]:
    credentials = folder / "credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    return {
        f"{begin}store": "s3",
        f"{begin}url": f"s3://{BUCKET}/tests/{next(_numbers)}",
        f"{begin}endpoint": server.endpoint,
        f"{begin}region": "us-east-1",
        f"{begin}credentials_file": str(credentials),
    }


class Proxy:
    """Between a client and the server, request by request as long as all is well.

    Attributes:
        loses_answers: So many of the next requests reach the server, and their connection ends before the answer.
        is_silent: What comes is taken and not passed on.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._port, self._tls = port, tls
        self.loses_answers = 0
        self.is_silent = False
        self.lost = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        assert self._server is not None
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._port)
            passing = asyncio.create_task(self._pass(reader, upstream))
            try:
                while data := await upstream_reader.read(1 << 16):
                    if self.loses_answers:
                        self.loses_answers -= 1
                        self.lost += 1
                        break
                    writer.write(data)
                    await writer.drain()
            finally:
                passing.cancel()
                upstream.close()
                writer.close()

    async def _pass(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if not self.is_silent:
                    upstream.write(data)
                    await upstream.drain()


@contextlib.asynccontextmanager
async def proxy(server: S3Server, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """A proxy for the length of an `async with` block. `tls`: what it is asked by, in place of plain HTTP."""
    started = Proxy(server.port, tls)
    await started.start()
    try:
        yield started
    finally:
        await started.stop()
