"""The server: its ports, its methods, and what its connections share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from services.shared.domain.addresses import host_and_port
from services.shared.security.caller import Caller
from services.shared.security.roles import is_inside
from services.shared.serving.callers.counting import Callers
from services.shared.serving.callers.limits import Ended
from services.shared.serving.connections import Connections, End
from services.shared.serving.http2.call import Method, method_of
from services.shared.serving.http2.events import Begun
from services.shared.serving.http2.limits import Budget, Limits
from services.shared.serving.http2.messages import Headers, Metadata
from services.shared.serving.http2.protocol import ServerProtocol
from services.shared.serving.http2.tls import Connected, TlsPort
from services.shared.serving.sockets import BACKLOG, listening_sockets

_TICK_S = 1.0
#: How long connections have their turns, or are read and answered, before it is looked what else came, in seconds.
_TURNS_S = 0.01


#: Given a path, what TLS knows of the peer, the call's headers, and the peer's address: who calls, or the status of a
#: refusal.
CallGuard = Callable[[bytes, dict[str, list[bytes]], Headers, str], Caller | grpc.Status]


#: Given a stream's path, its caller, what TLS knows of the peer, the headers and the peer's address.
CallEnding = Callable[[bytes, Caller, dict[str, list[bytes]], Headers, str], grpc.Status | None]


class Http2Server:
    """Serves what generated `add_…_to_server` functions give, as the server of grpcio does.

    Args:
        limits: Of each connection.
        calls_max: Under way at once; `refusal` says more.
        connections_max: Open at once; one more is closed as it comes.
        refusal: Details and metadata of the status RESOURCE_EXHAUSTED for calls beyond `calls_max`.
        connections: Counts them.
        wrap: Given a method's path and handler, returns the handler that is to be called.
        age_s_max: Until a connection is asked to end, about; 0 for never.
    """

    def __init__(
        self,
        limits: Limits,
        calls_max: int,
        connections_max: int,
        refusal: tuple[str, Metadata],
        connections: Connections,
        wrap: Callable[[str, Any], Any] = lambda path, handler: handler,
        age_s_max: float = 0.0,
    ) -> None:
        self.limits = limits
        self.calls_max = calls_max
        self.connections_max = connections_max
        self.age_s_max = age_s_max
        self.budget = Budget(limits.buffered_in_all_max)
        self.methods: dict[bytes, Method] = {}
        #: By path: answers a request, both as bytes, without the handler; None where it takes the handler.
        self.at_once: dict[bytes, Callable[[bytes], bytes | None]] = {}
        self.unary: set[bytes] = set()
        self.streaming: set[bytes] = set()
        #: Before anything of a call is looked at; None: everybody may call everything.
        self.guard: CallGuard | None = None
        #: Asked of streams under way, again and again: the status by which one has to end; None: they last.
        self.ending: CallEnding | None = None
        #: What each caller may have under way, and how often he may come; None: as much as there is.
        self.callers: Callers | None = None
        #: By a call's headers, whether its caller has it traced: it is not answered at once then. None: nobody has.
        self.is_traced: Callable[[Headers], bool] | None = None
        #: Whether a peer is heard, by what TLS knows of him: asked when his connection comes, and again and again.
        self.is_welcome: Callable[[dict[str, list[bytes]]], bool] = lambda peer: True
        #: Details and metadata of what is said to a call that waited too long.
        self.stale: tuple[str, Metadata] = ("it waited too long for its turn", ())
        self.calls_open = 0
        self._refusal = refusal
        self._counts = connections
        self._wrap = wrap
        self._connections: set[Connected] = set()
        self._listening: list[asyncio.Server | TlsPort] = []
        self._ticker: asyncio.Task[None] | None = None
        #: Set once no call is under way, no connection stands, when that is waited for.
        self._idle: asyncio.Event | None = None
        self._empty: asyncio.Event | None = None
        self._stopping = False
        #: Connections of which more has come than they had time for, in the order of their turns.
        self._turns: deque[ServerProtocol] = deque()
        self._turns_due = False

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """What generated code gives to servers of old; `add_registered_method_handlers` is given the same."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Takes the methods of a service."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            self.methods[path.encode()] = method_of(self._wrap(path, handler))
            (self.streaming if handler.request_streaming else self.unary).add(path.encode())

    def answer_at_once(self, path: str, answer: Callable[[bytes], bytes | None]) -> None:
        """Asks that before the handler of a unary call. It raises nothing."""
        self.at_once[path.encode()] = answer

    async def start(self, address: str, tls: Callable[[], ssl.SSLContext] | None = None) -> int:
        """Listens on host:port; returns the port.

        Args:
            tls: The context for each connection as it comes; those that stand go on with what they have. None: no TLS.

        Raises:
            OSError: The address is taken, or is none of this machine.
        """
        loop = asyncio.get_running_loop()
        sockets = listening_sockets(*host_and_port(address))
        port = int(sockets[0].getsockname()[1])
        for one in sockets:
            if tls is None:
                protocol = functools.partial(ServerProtocol, self, loop)
                self._listening.append(await loop.create_server(protocol, sock=one, backlog=BACKLOG))
            else:
                self._listening.append(TlsPort(self, one, tls, lambda place: ServerProtocol(self, loop, place)))
        self._ticker = asyncio.create_task(self._tick())
        return port

    async def stop(self, grace_s: float) -> None:
        """No further calls; ends those that outlive the grace. Returns once every client has heard what it was told and
        gone, or has had its time to."""
        await self._end(grace_s)
        if self._connections:
            self._empty = asyncio.Event()
            await self._empty.wait()
        await self._end_ticker()

    async def give_way(self) -> None:
        """No further calls; ends those under way. Clients hear of it and go while another has the port."""
        await self._end(0.0)
        await self._end_ticker()

    async def _end(self, grace_s: float) -> None:
        self._stopping = True
        for listening in self._listening:
            listening.close()
            if isinstance(listening, TlsPort):
                await listening.closed()
        for connection in list(self._connections):
            connection.drain()
        if self.calls_open:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
        for connection in list(self._connections):
            connection.end()

    async def _end_ticker(self) -> None:
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

    def is_behind(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether what comes now has to wait for its turn. A loop that says when it last looked what has come (uvloop's
        time is that) is behind where that is long ago: else each of many connections would have a whole turn as it is
        read, and the last of them would have waited for all others without anybody knowing."""
        return bool(self._turns) or time.monotonic() - loop.time() > _TURNS_S

    def wait_for_turn(self, connection: ServerProtocol) -> None:
        """Its `take_turn` is called once those before it had theirs."""
        self._turns.append(connection)
        if not self._turns_due:
            self._turns_due = True
            connection.loop.call_soon(self._take_turns, connection.loop)

    def _take_turns(self, loop: asyncio.AbstractEventLoop) -> None:
        until_s = time.monotonic() + _TURNS_S
        while self._turns and time.monotonic() < until_s:
            self._turns.popleft().take_turn()
        self._turns_due = bool(self._turns)
        if self._turns_due:
            loop.call_soon(self._take_turns, loop)

    @property
    def hello_s(self) -> float:
        """What a handshake has to end in."""
        return self.limits.hello_s

    def takes(self, connection: Connected, instead_of: Connected | None = None) -> bool:
        """Whether there is room for one more, or the place of another to have."""
        if instead_of is not None:
            self.lost(instead_of, None)
        if self._stopping or len(self._connections) >= self.connections_max:
            self._counts.ended[End.DRAIN if self._stopping else End.FULL] += 1
            return False
        self._connections.add(connection)
        self._counts.open = len(self._connections)
        return True

    def lost(self, connection: Connected, why: End | None) -> None:
        """One has ended, if it had a place; None where another goes on in that."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._counts.open = len(self._connections)
        if why is not None:
            self._counts.ended[why] += 1
        if self._empty is not None and not self._connections:
            self._empty.set()

    def has_room(self, path: bytes) -> bool:
        """For one more call: as many again are for what health checks and the cluster's own parts ask."""
        apart = self.callers is not None and path in self.callers.apart
        return self.calls_open < (2 * self.calls_max if apart else self.calls_max)

    def call_ended(self, counted: Ended | None) -> None:
        """One of a connection's calls."""
        self.calls_open -= 1
        if counted is not None and self.callers is not None:
            self.callers.end(counted)
        if self._idle is not None and not self.calls_open:
            self._idle.set()

    def is_stale(self, begun: Begun, caller: Caller | None, waited_s: float) -> bool:
        """Whether a call is not worth being begun any more, for how long it waited. What the cluster's own parts ask,
        and health checks, always are, and so are streams of requests, which wait for nothing."""
        limits = self.limits
        timeout_s = begun.timeout_s
        if waited_s <= limits.queue_s_max and (timeout_s is None or waited_s <= timeout_s * limits.queue_share_max):
            return False
        if begun.message is None or (self.callers is not None and begun.path in self.callers.apart):
            return False
        return caller is None or not is_inside(caller.principals)

    def too_many(self) -> tuple[str, Metadata]:
        """What is said to a call for which there is no room."""
        return self._refusal
