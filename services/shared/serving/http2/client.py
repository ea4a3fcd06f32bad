"""A socket, and who reads and writes, for a call that is decided in `outgoing`."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import grpc

from services.shared.domain.addresses import host_and_port
from services.shared.domain.sentences import system_words
from services.shared.security.own import own_tls
from services.shared.serving.http2.limits import Limits
from services.shared.serving.http2.messages import CallError
from services.shared.serving.http2.outgoing import OutgoingCall
from services.shared.serving.http2.tls import auth_context

_TICK_S = 1.0
#: Bytes of requests that may wait for the server before who writes has to.
_UNSENT_BYTES_MAX = 64 << 10


class ClientStream(asyncio.Protocol):
    """A call in which both sides stream. One task may read and one may write at a time.

    stream = await ClientStream.open("[::1]:5000", "/package.Service/Method", Limits())
    await stream.write(request)
    async for response in stream: ...
    """

    core: OutgoingCall

    def __init__(self, address: str, path: str, limits: Limits) -> None:
        self._address, self._path, self._limits = address, path, limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: What TLS knows of the server.
        self._peer: dict[str, list[bytes]] = {}
        #: The socket takes no more for now.
        self._blocked = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, address: str, path: str, limits: Limits) -> ClientStream:
        """Begins the call. How long it waits for a connection is the caller's to bound.

        Raises:
            CallError: There is no connection to host:port (UNAVAILABLE).
        """
        stream = cls(address, path, limits)
        host, port = host_and_port(address)
        tls = own_tls()
        secure: dict[str, Any] = {}
        if tls is not None:
            secure = {"ssl": tls.identity.client_context, "server_hostname": tls.server_name(host)}
        try:
            await stream._loop.create_connection(lambda: stream, host, port, **secure)
        except OSError as error:
            raise CallError(grpc.StatusCode.UNAVAILABLE, f"can't connect to {address}: {system_words(error)}") from None
        if tls is not None and tls.guard.is_revoked(stream._peer):
            stream.close()
            raise CallError(grpc.StatusCode.UNAVAILABLE, f"{address} shows a certificate that is revoked")
        return stream

    async def write(self, message: bytes) -> None:
        """Sends a request; waits while the server does not take them.

        Raises:
            CallError: The call is over.
        """
        core = self.core
        core.send(message)
        self._flush()
        while not core.over and (self._blocked or core.unsent_bytes > _UNSENT_BYTES_MAX):
            self._writer = self._loop.create_future()
            await self._writer
        if core.over:
            raise core.error or CallError(grpc.StatusCode.CANCELLED, "the server has ended it")

    def finish(self) -> None:
        """There are no further requests."""
        self.core.finish()
        self._flush()

    def __aiter__(self) -> ClientStream:
        return self

    async def __anext__(self) -> bytes:
        """The next response.

        Raises:
            CallError: The call ended so.
        """
        core = self.core
        while not core.messages:
            if core.over:
                if core.error is not None:
                    raise core.error
                raise StopAsyncIteration
            self._reader = self._loop.create_future()
            await self._reader
        message = core.take()
        self._flush()
        return message

    def close(self) -> None:
        """Ends the connection, and the call with it where it is not over."""
        if self._transport is not None and not self._transport.is_closing():
            self.core.leave()
            self._flush()
            self._transport.close()

    # As asyncio calls it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._peer = auth_context(transport.get_extra_info("ssl_object"))
        self.core = OutgoingCall(self._address, self._path.encode(), self._limits, self._loop.time())
        self._timer = self._loop.call_later(_TICK_S, self._tick)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self.core.receive(data, self._loop.time())
        self._flush()
        self._wake()

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._flush()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.core.lost(f"the connection to {self._address} is lost" + (f": {system_words(exc)}" if exc else ""))
        self._wake()

    # Between the two.

    def _tick(self) -> None:
        self.core.tick(self._loop.time())
        self._timer = self._loop.call_later(_TICK_S, self._tick)
        self._flush()
        if self.core.over:
            self._wake()

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing() or self._blocked:
            return
        data = self.core.outgoing()
        if data:
            self._transport.write(data)
        if self.core.is_dismissed:
            self._transport.close()

    def _wake(self) -> None:
        core = self.core
        if self._reader is not None and (core.messages or core.over):
            _set(self._reader)
            self._reader = None
        if self._writer is not None and (core.over or not self._blocked):
            _set(self._writer)
            self._writer = None


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
