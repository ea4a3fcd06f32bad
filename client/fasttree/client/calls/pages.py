"""Pages of the services' HTTP ports: with the certificate or the token that the client has."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from typing import Any, NamedTuple

from fasttree.client.calls.tls import TlsFiles
from fasttree.client.calls.tokens import TokenFile
from fasttree.client.errors import FastTreeClientError

_TIMEOUT_S = 3.0
_PORT_MAX = 65_535
#: Of one page, at most.
_BYTES_MAX = 32 << 20


class PageError(Exception):
    """Why a page can't be had, in one line."""


class Answer(NamedTuple):
    """What a port said."""

    status: int
    text: str
    #: When, by its own clock, as HTTP has it; empty where it does not say.
    date: str


class Pages:
    """Of one cluster, as who shows that certificate and that token may see them."""

    def __init__(self, tls: TlsFiles | None, token: TokenFile | None, timeout_s: float = _TIMEOUT_S) -> None:
        self._tls, self._token = tls, token
        self._timeout_s = timeout_s

    async def get(self, address: str, path: str) -> str:
        """What a port shows there. Raises PageError."""
        answer = await self.answer(address, path)
        if answer.status != http.client.OK:
            said = answer.text.strip()[:200] or http.client.responses.get(answer.status, "nothing more")
            raise PageError(f"the HTTP port {address} says {answer.status}: {said}")
        return answer.text

    async def date(self, address: str) -> str:
        """When a service answers by its own clock, as HTTP has it; empty where it does not say. Raises PageError."""
        return (await self.answer(address, "/livez")).date

    async def json(self, address: str, path: str) -> dict[str, Any]:
        """The object that a port shows there. Raises PageError."""
        answer = await self.answer(address, path)
        try:
            content = json.loads(answer.text) if answer.status == http.client.OK else None
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            words = f"answers {answer.status}, and no JSON object: is that another program's port?"
            raise PageError(f"http://{address}{path} {words}")
        return content

    async def answer(self, address: str, path: str) -> Answer:
        """Whatever a port says there. Raises PageError where it says nothing."""
        return await asyncio.to_thread(self._answer, address, path)

    def _answer(self, address: str, path: str) -> Answer:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= _PORT_MAX:
            raise PageError(f"{address} is no host:port: write it as 127.0.0.1:50200")
        try:
            connection = self._connection(host.strip("[]"), int(port))
        except (ValueError, ssl.SSLError, FastTreeClientError) as error:
            raise PageError(f"{address}: {error}") from None
        try:
            connection.request("GET", path, headers=self._headers(address))
            answer = connection.getresponse()
            content = answer.read(_BYTES_MAX)
        except (OSError, http.client.HTTPException, FastTreeClientError) as error:
            why = getattr(error, "strerror", None) or error or "no answer"
            raise PageError(f"the HTTP port {address} does not answer: {why}") from None
        finally:
            connection.close()
        return Answer(answer.status, content.decode("utf-8", "replace"), answer.headers.get("Date", ""))

    def _connection(self, host: str, port: int) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._tls.context())

    def _headers(self, address: str) -> dict[str, str]:
        if self._token is None:
            return {}
        self._token.check_way(address, by_tls=self._tls is not None)
        return {"Authorization": f"Bearer {self._token.read()}"}
