"""One node's pages: the end of a log, or its lines as they come. What a node may cost is bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
from aiohttp import ClientTimeout

from services.shared.debug.debug_log import LINE_LENGTH_MAX, LINES_MAX
from services.shared.debug.pages import SILENCE_S
from services.shared.domain.addresses import host_and_port
from services.shared.domain.sentences import plain, system_words
from services.shared.security.own import own_tls

#: Of one answer, in bytes: each line with its time before it, in letters of any script.
_ANSWER_BYTES_MAX = 8 << 20
_LINE_BYTES_MAX = 16 << 10


class NodeError(Exception):
    """Why a node's log can't be had: a few words."""


class NodePages:
    """Asks nodes. Opens its connections as they are needed; `close` ends them."""

    def __init__(self, answer_s: float) -> None:
        """`answer_s`: how long a node may take to answer."""
        self._answer_s = answer_s
        self._session: aiohttp.ClientSession | None = None

    async def last(self, place: str, path: str, lines: int) -> list[str]:
        """The last lines there. Raises NodeError."""
        timeout = ClientTimeout(total=self._answer_s)
        try:
            async with self._get(place, f"{path}?lines={lines}", timeout) as response:
                text = bytearray()
                async for chunk in response.content.iter_any():
                    text += chunk
                    if len(text) > _ANSWER_BYTES_MAX:
                        raise NodeError(f"its answer is longer than {_ANSWER_BYTES_MAX:,} bytes")
                _check(response.status, bytes(text))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(error) from error
        return [_line(line) for line in bytes(text).split(b"\n") if line.strip()][-LINES_MAX:]

    async def follow(self, place: str, path: str) -> AsyncIterator[str]:
        """Lines as they come, until the node ends it. Raises NodeError, also where it says nothing for too long."""
        timeout = ClientTimeout(total=None, sock_connect=self._answer_s, sock_read=3 * SILENCE_S)
        try:
            async with self._get(place, path, timeout) as response:
                if response.status != 200:
                    _check(response.status, await response.content.read(_LINE_BYTES_MAX))
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield _line(line)
                    rest = rest[:_LINE_BYTES_MAX]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(error) from error

    async def close(self) -> None:
        """Ends the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _get(self, place: str, path: str, timeout: ClientTimeout) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        tls = own_tls()
        if tls is None:
            return self._session.get(f"http://{place}{path}", timeout=timeout, allow_redirects=False)
        # By the identity of now: it is renewed while this goes on.
        return self._session.get(
            f"https://{place}{path}",
            timeout=timeout,
            allow_redirects=False,
            ssl=tls.identity.client_context,
            server_hostname=tls.server_name(host_and_port(place)[0]),
        )


def _check(status: int, body: bytes) -> None:
    if status != 200:
        raise NodeError(f"it answers {status}: {_line(body[:LINE_LENGTH_MAX])}")


def _line(line: bytes) -> str:
    """One line that no terminal obeys, not longer than a line of a log with its time."""
    return plain(line[: 4 * LINE_LENGTH_MAX].decode(errors="replace").strip())


def _unanswered(error: Exception) -> NodeError:
    if isinstance(error, TimeoutError):
        return NodeError("no answer in time")
    return NodeError(plain(system_words(error)) or type(error).__name__)
