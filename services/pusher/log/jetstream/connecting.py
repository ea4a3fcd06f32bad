"""One connection to one of the servers at a time, and a thread with a loop for it: whoever calls, waits.

nats-py's own reconnecting is not used: what it keeps for later may go out when nobody waits for it any more, and what
is sent right behind may be lost (nats.py issues 354, 529). Here a connection that failed, or whose server does not
answer in time, is given up, the next server is asked, and whoever has sent something finds out what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import ssl
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.pusher.log.jetstream.settings import JetstreamSettings
from services.pusher.log.store import LogStoreError
from services.shared.config.text_file import read_text_file

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Least version of the servers: reads many messages in one request.
_VERSION_MIN: Final = (2, 11)
#: Of a password, credentials, a certificate, a key or authorities.
_FILE_BYTES_MAX: Final = 1 << 20


class _Client(Client):
    """nats-py's, which tells a server who it is only where the connection is as the settings have it.

    By itself it goes on in the clear, password and all, where a server says that it asks for no TLS: whoever sits in
    between can say that.
    """

    def __init__(self, *, encrypts: bool) -> None:
        super().__init__()
        self._encrypts = encrypts

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and self._encrypts and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise ClearError(
                    "it does not encrypt, and the settings ask for that (tls://, nats_ca_file or "
                    "nats_certificate_file): give it certificates"
                )
            info["tls_required"] = True  # it takes both
        await super()._process_info(info, initial_connection)


class ClearError(nats.errors.Error):
    """The server does not encrypt; nothing was said to it."""


class AwayError(Exception):
    """The servers can't be reached, or none of them answers for the stream. It may work later.

    Attributes:
        was_sent: Something may have come of it.
    """

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


@dataclass
class _Live:
    """A client, and what is done once its connection is: nats-py lets those wait on who wait for an answer.

    Attributes:
        denied: What the server says that its user may not; empty where it has not said so.
    """

    client: Client
    lost: asyncio.Future[None]
    denied: str = ""


class Raw(NamedTuple):
    """A message as it is in the stream."""

    sequence: int
    data: bytes


class Connection:
    """The connection.

    Raises:
        LogStoreError: The URL or a file that the settings name is of no use.
    """

    def __init__(self, url: str, settings: JetstreamSettings) -> None:
        self._settings = settings
        self._servers, self._user = _servers_of(url)
        self.place = ",".join(urlsplit(server).netloc for server in self._servers)
        self._options = self._read_options(url)
        self._next = 0
        self._live: _Live | None = None
        self._connecting: asyncio.Lock | None = None
        #: Of one message, in bytes, as the server said last.
        self.payload_max = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="jetstream", daemon=True)
        self._thread.start()

    def _read_options(self, url: str) -> dict[str, Any]:
        settings = self._settings
        options: dict[str, Any] = {}
        try:
            if settings.nats_password_file:
                options["password"] = _content(settings.nats_password_file, or_latin_1=False).splitlines()[0]
            if settings.nats_credentials_file:
                _content(settings.nats_credentials_file)
                options["user_credentials"] = settings.nats_credentials_file
            # The libraries open these themselves, and would wait for whoever writes into a pipe.
            for path in (settings.nats_ca_file, settings.nats_certificate_file, settings.nats_key_file):
                if path:
                    _content(path)
            if url.startswith("tls:") or settings.nats_ca_file or settings.nats_certificate_file:
                context = ssl.create_default_context(cafile=settings.nats_ca_file or None)
                if settings.nats_certificate_file:
                    context.load_cert_chain(settings.nats_certificate_file, settings.nats_key_file or None)
                options["tls"] = context
        except (OSError, IndexError) as error:
            raise LogStoreError(
                f"a file for the connection to NATS can't be used: {type(error).__name__}: {error}"
            ) from None
        if self._user:
            options["user"] = self._user
        return options

    # -- for other threads

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Runs it on the loop, and waits. Every one of them ends in time by itself."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def ask(self, subject: str, question: Mapping[str, Any]) -> dict[str, Any]:
        """An answer of JetStream's. Raises AwayError."""
        answer = json.loads(self.call(self._request(subject, json.dumps(question).encode())).data)
        assert isinstance(answer, dict)
        return answer

    def request(self, subject: str, data: bytes) -> Msg:
        """One answer, as it is. Raises AwayError."""
        return self.call(self._request(subject, data))

    def publish(self, messages: Sequence[tuple[str, bytes, Mapping[str, str]]]) -> list[dict[str, Any] | AwayError]:
        """Sends messages, one behind the other, and waits for all answers: what each came to."""
        return self.call(self._publish(messages))

    def batch(self, subject: str, question: Mapping[str, Any]) -> list[Raw]:
        """Many messages for one request, as far as the server that answers has them. Raises AwayError."""
        return self.call(self._batch(subject, json.dumps(question).encode()))

    def connect(self) -> None:
        """Sees that there is a connection. Raises AwayError, LogStoreError."""
        self.call(self._connected())

    def drop(self) -> None:
        """Gives the connection up: the next call asks another server."""
        self.call(self._drop(self._live))

    def close(self) -> None:
        """Ends it, and its thread."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(Exception):
            self.drop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- on the loop

    async def _connected(self) -> _Live:
        if self._connecting is None:
            self._connecting = asyncio.Lock()
        async with self._connecting:
            if self._live is not None and self._live.client.is_connected and not self._live.lost.done():
                return self._live
            await self._drop(self._live)
            problems = []
            for _ in self._servers:
                server = self._servers[self._next % len(self._servers)]
                try:
                    self._live = await self._connect(server)
                except (TimeoutError, OSError, nats.errors.Error) as error:
                    self._next += 1
                    problems.append(f"{urlsplit(server).netloc}: {_why_not(error)}")
                else:
                    return self._live
            raise AwayError("; ".join(problems), was_sent=False)

    async def _connect(self, server: str) -> _Live:
        limit_s = self._settings.nats_connect_timeout_s
        client = _Client(encrypts="tls" in self._options)
        live = _Live(client, self._loop.create_future())
        is_connecting = True

        async def lost() -> None:
            if not live.lost.done():
                live.lost.set_result(None)

        async def told(error: Exception) -> None:
            logger.debug("NATS: %s", error)
            if is_connecting:  # else nats-py tries the same server again, until the time is over
                raise error if isinstance(error, OSError | nats.errors.Error) else nats.errors.Error(in_words(error))
            if "permissions violation" in str(error).lower():
                live.denied = in_words(error)
                await lost()

        try:
            async with asyncio.timeout(limit_s):
                await client.connect(
                    server, name="fasttree-pusher", allow_reconnect=False, max_reconnect_attempts=0, error_cb=told,
                    disconnected_cb=lost, closed_cb=lost,
                    connect_timeout=max(1, round(limit_s)), pending_size=64 << 20, **self._options,
                )  # fmt: skip
        except BaseException:
            await self._drop(live)
            raise
        is_connecting = False
        version = client.connected_server_version
        if (version.major, version.minor) < _VERSION_MIN:
            await self._drop(live)
            raise LogStoreError(f"the NATS server {server} has version {version}: 2.11 or newer is needed")
        self.payload_max = client.max_payload
        return live

    async def _drop(self, live: _Live | None) -> None:
        if live is None:
            return
        if live is self._live:
            self._live = None
            self._next += 1
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1.0):
                await live.client.close()

    async def _request(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> Msg:
        live = await self._connected()
        try:
            asked = live.client.request(
                subject, data, timeout=self._settings.nats_request_timeout_s, headers=dict(headers) if headers else None
            )
            return await _unless_lost(live, asked)
        except nats.errors.NoRespondersError:
            raise AwayError(f"no server answers for {subject}", was_sent=False) from None
        except (TimeoutError, nats.errors.Error, OSError) as error:
            await self._drop(live)
            raise AwayError(f"{self.place}: {in_words(error)}", was_sent=True) from error

    async def _publish(
        self, messages: Sequence[tuple[str, bytes, Mapping[str, str]]]
    ) -> list[dict[str, Any] | AwayError]:
        async def one(subject: str, data: bytes, headers: Mapping[str, str]) -> dict[str, Any] | AwayError:
            try:
                answer = json.loads((await self._request(subject, data, headers)).data)
            except AwayError as error:
                return error
            assert isinstance(answer, dict)
            return answer

        try:
            await self._connected()
        except AwayError as error:
            return [error]
        return list(await asyncio.gather(*(one(*message) for message in messages)))

    async def _batch(self, subject: str, question: bytes) -> list[Raw]:
        live = await self._connected()
        client = live.client
        found: list[Raw] = []
        came = asyncio.Event()
        ended = False

        async def take(message: Msg) -> None:
            nonlocal ended
            headers = message.headers or {}
            if "Status" in headers or "Nats-Sequence" not in headers:
                ended = True
            else:
                found.append(Raw(int(headers["Nats-Sequence"]), message.data))
            came.set()

        inbox = client.new_inbox()
        try:
            subscription = await client.subscribe(inbox, cb=take)
            try:
                await client.publish(subject, question, reply=inbox)
                while not ended:
                    async with asyncio.timeout(self._settings.nats_request_timeout_s):
                        await _unless_lost(live, came.wait())
                    came.clear()
            finally:
                await subscription.unsubscribe()
        except (TimeoutError, nats.errors.Error, OSError) as error:
            await self._drop(live)
            raise AwayError(f"{self.place}: {in_words(error)}", was_sent=True) from error
        return found


async def _unless_lost(live: _Live, work: Coroutine[Any, Any, Result]) -> Result:
    """What comes of it, unless the connection is lost before. Raises ConnectionClosedError, LogStoreError."""
    task = asyncio.ensure_future(work)
    try:
        ends: set[asyncio.Future[Any]] = {task, live.lost}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and live.denied:
            raise LogStoreError(f"the user of log_url needs more rights: {live.denied}; docs/operations.md lists them")
        if not task.done():
            raise nats.errors.ConnectionClosedError
        return task.result()
    finally:
        task.cancel()


def _content(path: str, *, or_latin_1: bool = True) -> str:
    """Of a regular file. Raises OSError, with the file."""
    try:
        return read_text_file(Path(path), _FILE_BYTES_MAX, or_latin_1=or_latin_1)
    except OSError as error:
        raise OSError(f"{path}: {error}") from error


def in_words(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:300]


def _why_not(error: BaseException) -> str:
    """Why a server does not serve us, with the mend where that is known."""
    words = in_words(error)
    if isinstance(error, ConnectionError) and error.errno:  # asyncio has other words for it
        return os.strerror(error.errno)
    if "authorization" in words.lower():
        return f"{words}: see to the user of log_url, and to nats_password_file or nats_credentials_file"
    return words


def _servers_of(url: str) -> tuple[list[str], str]:
    """The servers of a URL with several hosts, and its user. Raises LogStoreError."""
    scheme, _, rest = url.partition("://")
    user, _, hosts = rest.rstrip("/").rpartition("@")
    if ":" in user:
        raise LogStoreError("log_url holds a password: name a file of it in nats_password_file")
    if scheme not in ("nats", "tls") or not hosts:
        raise LogStoreError("log_url must name servers of NATS, such as nats://nats1:4222,nats2:4222,nats3:4222")
    return [f"{scheme}://{host}" for host in hosts.split(",") if host], user
