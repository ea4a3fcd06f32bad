"""Calls to the API server: bounded in time and size, each with one error that says what was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from services.shared.domain.sentences import plain, system_words
from services.shared.kubernetes.access import AccessError, ServiceAccount, api_server

#: An object has a mebibyte and a half at most (etcd's limit), a list of them some more.
BYTES_MAX = 16 << 20
_CONNECT_TIMEOUT_S = 3.0
_WORDS_MAX = 300
_CHUNK_BYTES = 64 << 10

#: What the API server answers with: an object of JSON.
Object = dict[str, Any]


class KubernetesError(Exception):
    """The API server refused, or gave no answer: one line with what was asked.

    Attributes:
        status: As HTTP has it; 0 where no answer came, and what was asked may have been done all the same.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class KubernetesApi:
    """The API server. Opens its connections as they are needed; `close` ends them.

    Args:
        server: Its URL.
        account: Who asks.
        timeout_s: What each call has to end in; a watch has its own times.
    """

    def __init__(self, server: str, account: ServiceAccount, timeout_s: float) -> None:
        self._server = server
        self._account = account
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    @property
    def namespace(self) -> str:
        """Of this pod. Raises KubernetesError."""
        try:
            return self._account.namespace
        except AccessError as error:
            raise KubernetesError(str(error)) from error

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """An object, or a list. Raises KubernetesError."""
        return await self._ask("GET", path, query=query)

    async def create(self, path: str, body: Object) -> Object:
        """Adds an object to a collection; returns it as it is stored. Raises KubernetesError (409: it is there)."""
        return await self._ask("POST", path, body=body)

    async def replace(self, path: str, body: Object) -> Object:
        """Puts an object in the place of the one whose resourceVersion it names. Raises KubernetesError (409: there is
        another one by now)."""
        return await self._ask("PUT", path, body=body)

    async def patch(self, path: str, body: Object) -> Object:
        """Sets the fields that the body has, whatever else changed. Raises KubernetesError."""
        return await self._ask("PATCH", path, body=body)

    async def watch(self, path: str, query: Mapping[str, str], silence_s: float) -> AsyncIterator[Object]:
        """What happens to a collection, until the API server ends the watch. Raises KubernetesError, also where nothing
        came for `silence_s`: a connection that is dead looks like one on which nothing happens."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=silence_s)
        what = f"watch {path}"
        try:
            async with await self._send("GET", path, {**query, "watch": "1"}, None, timeout) as response:
                if response.status != 200:
                    raise _refused(what, response.status, await _body(response, what))
                rest = bytearray()
                async for chunk in response.content.iter_any():
                    rest += chunk
                    *lines, rest = rest.split(b"\n")
                    for line in lines:
                        yield _parsed(bytes(line), what)
                    if len(rest) > BYTES_MAX:
                        raise KubernetesError(f"{what}: an object of more than {BYTES_MAX:,} bytes")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(what, error) from error

    async def close(self) -> None:
        """Ends the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Object | None = None
    ) -> Object:
        what = f"{method} {path}"
        timeout = aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                await self._send(method, path, query or {}, body, timeout) as response,
            ):
                text = await _body(response, what)
                if response.status not in (200, 201):
                    raise _refused(what, response.status, text)
                return _parsed(text, what)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(what, error) from error

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None, times: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The answer's head; once more with a token that is read anew, where the one before has ended."""
        response = await self._send_once(method, path, query, body, times, anew=False)
        if response.status == 401:
            response.release()
            response = await self._send_once(method, path, query, body, times, anew=True)
        return response

    async def _send_once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        times: aiohttp.ClientTimeout,
        *,
        anew: bool,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        try:
            headers = {"Authorization": f"Bearer {self._account.token(anew=anew)}", "Accept": "application/json"}
            context = self._account.certificates() if self._server.startswith("https:") else False
        except AccessError as error:
            raise KubernetesError(str(error)) from error
        if body is not None:
            merge = "application/merge-patch+json"
            headers["Content-Type"] = merge if method == "PATCH" else "application/json"
        return await self._session.request(
            method,
            self._server + path,
            params=query,
            data=None if body is None else json.dumps(body),
            headers=headers,
            timeout=times,
            ssl=context,
            allow_redirects=False,
        )


def own_api(service_account_folder: str, timeout_s: float) -> KubernetesApi:
    """The API server that this pod belongs to, asked by its service account. Raises SettingsError outside of a pod."""
    return KubernetesApi(api_server(), ServiceAccount(Path(service_account_folder)), timeout_s)


async def _body(response: aiohttp.ClientResponse, what: str) -> bytes:
    text = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        text += chunk
        if len(text) > BYTES_MAX:
            raise KubernetesError(f"{what}: an answer of more than {BYTES_MAX:,} bytes", response.status)
    return bytes(text)


def _parsed(text: bytes, what: str) -> Object:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KubernetesError(f"{what}: the answer is no JSON: is this the API server?") from error
    if not isinstance(parsed, dict):
        raise KubernetesError(f"{what}: the answer is no object: is this the API server?")
    return parsed


def _refused(what: str, status: int, text: bytes) -> KubernetesError:
    """By the API server's own words, where it has some, with the mend where it is known."""
    try:
        said = str(_parsed(text, what).get("message", ""))
    except KubernetesError:
        said = ""
    mends = {
        401: "the token is not taken: look at the pod's service account",
        403: "give the pod's service account the Role that docs/kubernetes.md names",
    }
    told = "; ".join(filter(None, (plain(said)[:_WORDS_MAX], mends.get(status, ""))))
    return KubernetesError(f"Kubernetes: {what}: {status}{': ' if told else ''}{told}", status)


def _unanswered(what: str, error: BaseException) -> KubernetesError:
    words = "no answer in time" if isinstance(error, TimeoutError) else plain(system_words(error))[:_WORDS_MAX]
    return KubernetesError(f"Kubernetes: {what}: {words or type(error).__name__}")
