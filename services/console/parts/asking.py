"""One page of one part: by the console's certificate or the browser's token, bounded in time, size and number."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp

from fasttree.client import FailedPreconditionError, NotFoundError, PermissionDeniedError, TlsFiles, UnavailableError
from fasttree.client.errors import FastTreeClientError
from services.shared.domain.sentences import plain
from services.shared.files.threads import in_thread

#: How much a part may say, and how many are asked at a time.
_BYTES_MAX: Final = 8 << 20
_AT_A_TIME: Final = 8
_WORDS_MAX: Final = 300


class Parts:
    """Of one cluster. `places`: each part's host:port by its name, as it is known now."""

    def __init__(self, places: Callable[[], Mapping[str, str]], tls: TlsFiles | None, patience_s: float) -> None:
        """`patience_s`: how long a part may take."""
        self._places = places
        self._patience_s = patience_s
        self._tls = tls
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    def names(self) -> list[str]:
        """Those that can be asked."""
        return sorted(self._places())

    async def ask(self, name: str, path: str, query: Mapping[str, str], token: str) -> dict[str, Any]:
        """Raises NotFoundError, UnavailableError where it is away, PermissionDeniedError, FailedPreconditionError."""
        place = self._places().get(name)
        if place is None:
            raise NotFoundError("there is no part of that name, or its HTTP port is not known here")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = f"{'http' if self._tls is None else 'https'}://{place}{path}"
        try:
            async with asyncio.timeout(self._patience_s), self._turns:
                context = True if self._tls is None else await in_thread(self._tls.context)
                async with (
                    aiohttp.ClientSession(headers=headers) as session,
                    session.get(address, params=dict(query), ssl=context, allow_redirects=False) as answer,
                ):
                    content = await _bounded(answer)
        except (TimeoutError, OSError, aiohttp.ClientError, ssl.SSLError, FastTreeClientError) as error:
            why = str(error) or f"no answer within {self._patience_s:g} s"
            raise UnavailableError(f"{name} at {place} does not answer: {plain(why)[:_WORDS_MAX]}") from None
        if answer.status != 200:
            raise _refused(name, answer.status, plain(content.decode(errors="replace").strip())[:_WORDS_MAX])
        try:
            told = json.loads(content)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise FailedPreconditionError(f"{name} at {place} is no part of a cluster, or one of an earlier version")
        return told


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for block in answer.content.iter_any():
        found += block
        if len(found) > _BYTES_MAX:
            raise OSError(f"it said more than {_BYTES_MAX} bytes")
    return bytes(found)


def _refused(name: str, status: int, words: str) -> FastTreeClientError:
    if status in (401, 403):
        return PermissionDeniedError(f"{name} does not show it: {words}")
    if status == 404:
        return FailedPreconditionError(f"{name} is of an earlier version, which does not show it")
    return UnavailableError(f"{name} says {status}: {words}")
