"""Pages of the services' HTTP ports: with the certificate or the token that the client has."""

from __future__ import annotations

import asyncio
import http.client
import ssl

from fasttree.client.calls.tls import TlsFiles
from fasttree.client.calls.tokens import TokenFile
from fasttree.client.errors import FastTreeClientError

_TIMEOUT_S = 3.0
#: Of one page, at most.
_BYTES_MAX = 32 << 20


class PageError(Exception):
    """Why a page can't be had, in one line."""


class Pages:
    """Of one cluster, as who shows that certificate and that token may see them."""

    def __init__(self, tls: TlsFiles | None, token: TokenFile | None, timeout_s: float = _TIMEOUT_S) -> None:
        self._tls, self._token = tls, token
        self._timeout_s = timeout_s

    async def get(self, address: str, path: str) -> str:
        """What a port shows there. Raises PageError."""
        return (await asyncio.to_thread(self._get, address, path))[0]

    async def date(self, address: str) -> str:
        """When a service answers by its own clock, as HTTP has it; empty where it does not say. Raises PageError."""
        return (await asyncio.to_thread(self._get, address, "/livez"))[1]

    def _get(self, address: str, path: str) -> tuple[str, str]:
        host, _, port = address.rpartition(":")
        try:
            connection = self._connection(host.strip("[]"), int(port))
        except (ValueError, ssl.SSLError, FastTreeClientError) as error:
            raise PageError(f"{address}: {error}") from None
        try:
            connection.request("GET", path, headers=self._headers(address))
            answer = connection.getresponse()
            content = answer.read(_BYTES_MAX)
        except (OSError, http.client.HTTPException, FastTreeClientError) as error:
            raise PageError(f"the HTTP port {address} does not answer: {error}") from None
        finally:
            connection.close()
        text = content.decode("utf-8", "replace")
        if answer.status != http.client.OK:
            raise PageError(f"the HTTP port {address} says {answer.status}: {text.strip()[:200] or answer.reason}")
        return text, answer.headers.get("Date", "")

    def _connection(self, host: str, port: int) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._tls.context())

    def _headers(self, address: str) -> dict[str, str]:
        if self._token is None:
            return {}
        self._token.check_way(address, by_tls=self._tls is not None)
        return {"Authorization": f"Bearer {self._token.read()}"}
