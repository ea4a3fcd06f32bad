"""The server: its ports, its methods, and what its connections share."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.shared.domain.addresses import host_and_port
from services.shared.serving.http2.call import Method, method_of
from services.shared.serving.http2.limits import Budget, Limits
from services.shared.serving.http2.messages import Metadata
from services.shared.serving.http2.protocol import ServerProtocol

_TICK_S = 1.0
_BACKLOG = 1_024


class Http2Server:
    """Serves what generated `add_…_to_server` functions give, as the server of grpcio does.

    Args:
        limits: Of each connection.
        calls_max: Under way at once; `refusal` says more.
        connections_max: Open at once; one more is closed as it comes.
        refusal: Details and metadata of the status RESOURCE_EXHAUSTED for calls beyond `calls_max`.
        wrap: Given a method's path and handler, returns the handler that is to be called.
        age_s_max: Until a connection is asked to end, about; 0 for never.
    """

    def __init__(
        self,
        limits: Limits,
        calls_max: int,
        connections_max: int,
        refusal: tuple[str, Metadata],
        wrap: Callable[[str, Any], Any] = lambda path, handler: handler,
        age_s_max: float = 0.0,
    ) -> None:
        self.limits = limits
        self.calls_max = calls_max
        self.connections_max = connections_max
        self.age_s_max = age_s_max
        self.budget = Budget(limits.buffered_in_all_max)
        self.methods: dict[bytes, Method] = {}
        self.unary: set[bytes] = set()
        self.streaming: set[bytes] = set()
        self.calls_open = 0
        self._refusal = refusal
        self._wrap = wrap
        self._connections: set[ServerProtocol] = set()
        self._servers: list[asyncio.Server] = []
        self._ticker: asyncio.Task[None] | None = None
        #: Set once no call is under way, when that is waited for.
        self._idle: asyncio.Event | None = None
        self._stopping = False

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """What generated code gives to servers of old; `add_registered_method_handlers` is given the same."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Takes the methods of a service."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            self.methods[path.encode()] = method_of(self._wrap(path, handler))
            (self.streaming if handler.request_streaming else self.unary).add(path.encode())

    async def start(self, address: str, tls: ssl.SSLContext | None = None) -> int:
        """Listens on host:port; returns the port.

        Raises:
            OSError: The address is taken, or is none of this machine.
        """
        loop = asyncio.get_running_loop()
        if tls is not None:
            tls.set_alpn_protocols(["h2"])
        sockets = _listening(*host_and_port(address))
        port = int(sockets[0].getsockname()[1])
        for one in sockets:
            self._servers.append(
                await loop.create_server(lambda: ServerProtocol(self, loop), sock=one, backlog=_BACKLOG, ssl=tls)
            )
        self._ticker = asyncio.create_task(self._tick())
        return port

    async def stop(self, grace_s: float) -> None:
        """No further calls; ends those that outlive the grace."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.drain()
        if self.calls_open:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
        for connection in list(self._connections):
            connection.end()
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            for connection in list(self._connections):
                connection.tick(loop.time())

    # As its connections use it.

    def takes(self, connection: ServerProtocol) -> bool:
        """Whether there is room for one more."""
        if self._stopping or len(self._connections) >= self.connections_max:
            return False
        self._connections.add(connection)
        return True

    def lost(self, connection: ServerProtocol) -> None:
        """One has ended."""
        self._connections.discard(connection)

    def call_ended(self) -> None:
        """One of a connection's calls."""
        self.calls_open -= 1
        if self._idle is not None and not self.calls_open:
            self._idle.set()

    def too_many(self) -> tuple[str, Metadata]:
        """What is said to a call for which there is no room."""
        return self._refusal


def _listening(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host, all on one port; "::" takes IPv4 as well."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            one.bind((address[0], port, *address[2:]))
            port = one.getsockname()[1]
            one.listen(_BACKLOG)
            one.setblocking(False)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets
