"""What an HTTP port bears: connections that say nothing, and browsers that were sent there by somebody else's page."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Collection, Iterable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from services.shared.security.caller import Caller
from services.shared.security.guard import Guard
from services.shared.serving.connections import End
from services.shared.serving.http2.tls import Connected, TlsPort, auth_context
from services.shared.serving.sockets import listening_sockets
from services.shared.serving.standard.auditing import note_refused, note_stranger

#: What a connection has to have said its first request in, in seconds, and how long it may rest after an answer.
HEAD_S = 10.0
KEEPALIVE_S = 15.0
#: Connections at once; when there are more, the one that has said nothing for the longest goes.
CONNECTIONS_MAX = 1_000
#: Names under which no stranger can have a page: nobody can register them.
_PRIVATE_ENDS = (".localhost", ".local", ".internal", ".svc")
_HEAD_END = b"\r\n\r\n"


class _NotOurs(logging.Filter):
    """Lets pass what is a fault here. What somebody sends that is no request is answered with 400, and is none: each
    scan of the ports would leave a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


#: For whoever runs an HTTP port.
http_logger = logging.getLogger(__name__)
http_logger.addFilter(_NotOurs())


def own_names(names: Iterable[str]) -> frozenset[str]:
    """Names by which this machine may be called, the machine's own among them."""
    return frozenset(name.lower().rstrip(".") for name in (socket.gethostname(), *names) if name)


def host_problem(host: str, names: Collection[str]) -> str | None:
    """Why a request's Host is none of ours; None where it is. `names`: from `own_names`.

    A page of a stranger whose name leads to this machine (DNS rebinding) has the browser of whoever opens it ask here,
    under that name. So beside addresses, names without a dot and names that nobody can register, only known names pass.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    name = name.lower().rstrip(".")
    if "." not in name or name in names or name.endswith(_PRIVATE_ENDS) or _is_address(name):
        return None
    return "this port answers no such name: call it by its address, or name the host in cluster.http_hosts"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def host_check(names: Collection[str], open_paths: Collection[str]) -> Middleware:
    """The middleware; `open_paths` tell nothing but yes or no, to whatever asks."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if request.path not in open_paths and (problem := host_problem(host, names)):
            raise web.HTTPMisdirectedRequest(text=problem + "\n")
        return await handler(request)

    return check


def caller_check(open_paths: Collection[str], guard: Guard, *, by_tls: bool) -> Middleware:
    """The middleware where certificates or tokens say who somebody is: probes, which have neither, learn yes or no;
    pages are for those who may see them."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in open_paths:
            return await handler(request)
        authorization = ",".join(request.headers.getall("Authorization", ())) or None
        peer: dict[str, list[bytes]] = {}
        if by_tls:
            tls = None if request.transport is None else request.transport.get_extra_info("ssl_object")
            if (tls is None or tls.getpeercert(True) is None) and authorization is None:
                note_stranger(request.path, "no certificate", request.remote or "")
                raise web.HTTPForbidden(text="show a certificate of the cluster's authority, or send a token\n")
            peer = auth_context(tls)
        found = guard.judge_peer(request.path, peer, None, authorization)
        if isinstance(found, Caller):
            return await handler(request)
        note_refused(request.path, found, request.remote or "")
        if found.unauthenticated:
            raise web.HTTPUnauthorized(text=found.text + "\n", headers={"WWW-Authenticate": "Bearer"})
        raise web.HTTPForbidden(text=found.text + "\n")

    return check


class _TlsListening:
    """Sockets whose connections begin with a handshake, as aiohttp needs a server."""

    def __init__(self, sockets: list[socket.socket], ports: list[TlsPort]) -> None:
        self.sockets, self._ports = sockets, ports

    def close(self) -> None:
        """Takes no more."""
        for port in self._ports:
            port.close()

    async def closed(self) -> None:
        """Another one may listen there from now on."""
        for port in self._ports:
            await port.closed()


class PatientSite(web.BaseSite):
    """Listens, and bears no more connections than are good for the service; see the constants."""

    def __init__(
        self,
        runner: web.BaseRunner,
        host: str,
        port: int,
        head_s: float = HEAD_S,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`tls`: the context for each connection as it comes; None: no TLS."""
        super().__init__(runner)
        self._host, self._port, self._head_s = host, port, head_s
        self._tls = tls
        self._handshakes: set[Connected] = set()
        #: Those that have said nothing whole yet, the oldest first.
        self._silent: dict[_Connection, None] = {}
        self.connections = 0

    @property
    def name(self) -> str:
        """As aiohttp tells it."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listens. Raises OSError."""
        await super().start()
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up")
        make = server
        if self._tls is None:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Connection(self, make()), self._host, self._port
            )
            return
        sockets = listening_sockets(self._host, self._port)
        ports = [TlsPort(self, one, self._tls, lambda _: _Connection(self, make())) for one in sockets]
        self._server = _TlsListening(sockets, ports)  # type: ignore[assignment]  # what aiohttp uses of one

    async def stop(self) -> None:
        """Listens no more: the port is another's to take, as of a coordinator that is about to act."""
        await super().stop()
        if isinstance(self._server, _TlsListening):
            await self._server.closed()

    # As a door of handshakes.

    @property
    def hello_s(self) -> float:
        """What one has to end in."""
        return self._head_s

    def takes(self, connection: Connected) -> bool:
        """Whether there is room for one more."""
        if len(self._handshakes) >= CONNECTIONS_MAX:
            return False
        self._handshakes.add(connection)
        return True

    def lost(self, connection: Connected, why: End | None) -> None:
        """One is over, well or not."""
        self._handshakes.discard(connection)

    def opened(self, connection: _Connection) -> None:
        """One more."""
        self.connections += 1
        self._silent[connection] = None
        if self.connections > CONNECTIONS_MAX:
            next(iter(self._silent)).abort()
        asyncio.get_running_loop().call_later(self._head_s, self._give_up, connection)

    def heard(self, connection: _Connection) -> None:
        """It has said its first request."""
        self._silent.pop(connection, None)

    def closed(self, connection: _Connection) -> None:
        """One less."""
        self.connections -= 1
        self._silent.pop(connection, None)

    def _give_up(self, connection: _Connection) -> None:
        if connection in self._silent:
            connection.abort()


class _Connection(asyncio.Protocol):
    """Hands everything on, and notes when the head of the first request is whole."""

    def __init__(self, site: PatientSite, inner: asyncio.Protocol) -> None:
        self._site = site
        self._inner = inner
        self._transport: asyncio.Transport | None = None
        #: The last bytes of an unfinished head; None once it was whole.
        self._end: bytes | None = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's
        self._site.opened(self)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._end is not None:
            known = self._end + data
            self._end = None if _HEAD_END in known else known[1 - len(_HEAD_END) :]
            if self._end is None:
                self._site.heard(self)
        self._inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.closed(self)
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def abort(self) -> None:
        """Ends it at once."""
        if self._transport is not None:
            self._transport.abort()
