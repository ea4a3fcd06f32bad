"""A connection's socket, timers and tasks; what is decided, `connection` decides."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, cast

import grpc

from services.shared.security.caller import Caller
from services.shared.serving.callers.limits import Ended
from services.shared.serving.connections import End
from services.shared.serving.http2.call import ENDS, Call
from services.shared.serving.http2.connection import GrpcConnection
from services.shared.serving.http2.events import Begun, Event, Gone, HalfClosed, Message
from services.shared.serving.http2.tls import Connected, auth_context, peer_name, speaks_http2
from services.shared.serving.standard.auditing import note_stranger

if TYPE_CHECKING:
    from services.shared.serving.http2.server import Http2Server

logger = logging.getLogger(__name__)

#: Bytes that may wait for a socket before handlers have to.
_SOCKET_BYTES_MAX = 256 << 10
#: Bytes that are read of a connection before another has its turn: some hundred calls at most.
_PIECE_BYTES = 32 << 10
#: Bytes that have come of a connection and wait for its turn before no more of it is read.
_UNREAD_BYTES_MAX = 256 << 10
#: What came within so long of each other is read together, as if all of it had come with the first: in seconds, and as
#: a share of how long that has waited, where that is more.
_MOMENT_S, _MOMENT_SHARE = 0.005, 0.1
#: How long the calls of one connection may hold the loop before others have their turn, in seconds: what is quick is
#: over by then; hundreds of calls that each take some work are not.
TURN_S = 0.002
#: How far connections' ages are spread, so that those of one moment don't end in one.
_AGE_SPREAD = 0.1


class ServerProtocol(asyncio.Protocol):
    """One connection of a server.

    Args:
        place: What has its place among the server's connections until it is made.
    """

    core: GrpcConnection
    peer = "unknown"

    def __init__(self, server: Http2Server, loop: asyncio.AbstractEventLoop, place: Connected | None = None) -> None:
        self._server = server
        self._place = place
        self.loop = loop
        self._calls: dict[int, Call] = {}
        #: Calls that wait for room, by stream.
        self._waiting: dict[int, tuple[asyncio.Future[None], int]] = {}
        #: The socket takes no more for now.
        self.blocked = False
        self._reading = False
        self._flushing = False
        #: How much waited to be written when that last changed, and when that was.
        self._unwritten = (0, 0.0)
        #: What has come and waits for its turn, and when it came; it is read on meanwhile, so that this is known.
        self._unread: deque[tuple[bytes, float]] = deque()
        self._unread_bytes = 0
        #: What it means, where that is known, and when that came.
        self._events: deque[Event] = deque()
        self._came_s = 0.0
        self._turn_due = False
        self._paused = False
        #: Breaks it off where its client does not go.
        self._goodbye: asyncio.TimerHandle | None = None

    # As asyncio calls it.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer = peer_name(transport.get_extra_info("peername"))
        server = self._server
        if not (speaks_http2(transport) and self._is_welcome() and server.takes(self, self._place)):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(_SOCKET_BYTES_MAX)
        age_s_max = server.age_s_max * random.uniform(1 - _AGE_SPREAD, 1 + _AGE_SPREAD)
        self.core = GrpcConnection(
            server.limits, server.budget, server.unary, server.streaming, self.loop.time(), age_s_max
        )
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._unread.append((data, self.loop.time()))
        self._unread_bytes += len(data)
        if self._turn_due:
            self._read_or_pause()
        elif self._server.is_behind(self.loop):
            self._wait_for_turn()
        else:
            self.take_turn()

    def take_turn(self) -> None:
        """As much of what has come as fits into a turn. Others have theirs before the rest."""
        self._turn_due = False
        if self._is_over:
            self._unread.clear()
            self._events.clear()
            self._unread_bytes = 0
            self._read_or_pause()
        elif not self.blocked:
            if self._has_more:
                self._receive()
            if self._has_more:
                self._wait_for_turn()
            self._read_or_pause()

    def _wait_for_turn(self) -> None:
        self._turn_due = True
        self._server.wait_for_turn(self)

    def _read_or_pause(self) -> None:
        pause = self.blocked or (self._unread_bytes > _UNREAD_BYTES_MAX and not self._is_over)
        if pause != self._paused and not self._transport.is_closing():
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    @property
    def _has_more(self) -> bool:
        return bool(self._events or self._unread)

    def _receive(self) -> None:
        self._reading = True
        try:
            if not self._events:
                self._events.extend(self.core.receive(self._piece(), self.loop.time()))
            now_s = time.monotonic()
            until_s = now_s + TURN_S
            while self._events:
                self._take(self._events.popleft(), now_s)
                now_s = time.monotonic()
                if now_s > until_s:
                    break
        except Exception:
            self._fault()
            return
        finally:
            self._reading = False
        self._flush()

    def _piece(self) -> bytes:
        """What came in about one moment, as far as it fits: in turn by turn, a few calls would cost as much as many."""
        unread = self._unread
        data, self._came_s = unread.popleft()
        if len(data) > _PIECE_BYTES:
            unread.appendleft((data[_PIECE_BYTES:], self._came_s))
            data = data[:_PIECE_BYTES]
        elif unread:
            moment_s = max(_MOMENT_S, (self.loop.time() - self._came_s) * _MOMENT_SHARE)
            pieces, size = [data], len(data)
            while unread and unread[0][1] - self._came_s <= moment_s and size + len(unread[0][0]) <= _PIECE_BYTES:
                pieces.append(unread.popleft()[0])
                size += len(pieces[-1])
            data = b"".join(pieces)
        self._unread_bytes -= len(data)
        return data

    def _fault(self) -> None:
        """A fault of ours: it costs the connection that it came by, and no other."""
        logger.exception("a connection of %s is broken off", self.peer)
        self._break_off(End.FAULT)

    def _take(self, event: Event, now_s: float) -> None:
        if isinstance(event, Begun):
            self._begin(event, now_s)
        else:
            self._handle(event)

    def _handle(self, event: Message | HalfClosed | Gone) -> None:
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        if isinstance(event, Message):
            call.take(event.message, event.size)
        elif isinstance(event, HalfClosed):
            call.half_close()
        else:
            call.leave()

    def _begin(self, begun: Begun, now_s: float) -> None:
        server = self._server
        if self._goodbye is not None:
            self.core.end(begun.stream_id, grpc.StatusCode.UNAVAILABLE, ENDS)
            return
        if self.core.unsent.is_too_much():
            self.core.end(
                begun.stream_id, grpc.StatusCode.RESOURCE_EXHAUSTED, "read the answers to earlier calls first"
            )
            return
        caller: Caller | None = None
        if server.guard is not None:
            found = server.guard(begun.path, self.auth_context, begun.headers, self.peer)
            if not isinstance(found, Caller):
                self.core.end(begun.stream_id, found.code, found.details, found.trailing_metadata)
                return
            caller = found
        method, counted, has_room = server.methods[begun.path], None, server.has_room(begun.path)
        at_once = (
            begun.path in server.at_once
            and begun.message is not None
            and has_room
            # An answer at once knows of no caller: it is for those who see everybody.
            and (caller is None or caller.leads is None)
            and not (server.is_traced is not None and server.is_traced(begun.headers))
        )
        # What can be answered at once costs no more than a refusal.
        if not at_once and self._shed(begun, caller, now_s):
            return
        if server.callers is not None:
            let_in = server.callers.begin(caller, self.peer, begun.path, method.is_stream)
            if not (let_in is None or isinstance(let_in, Ended)):
                self.core.end(begun.stream_id, let_in.code, let_in.details, let_in.trailing_metadata)
                return
            counted = let_in
        if at_once:
            answer = server.at_once[begun.path](begun.message or b"")
            if answer is not None:
                self.core.answer(begun.stream_id, answer)
            if answer is not None or self._shed(begun, caller, now_s):
                if counted is not None and server.callers is not None:
                    server.callers.end(counted)
                return
        call = self._calls[begun.stream_id] = Call(self, method, begun, caller)
        call.counted = counted
        server.calls_open += 1
        if has_room:
            call.start()
        else:
            call.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, *server.too_many())

    def _shed(self, begun: Begun, caller: Caller | None, now_s: float) -> bool:
        """Refuses a call that has waited too long; whether it has."""
        server = self._server
        if not server.is_stale(begun, caller, now_s - self._came_s):
            return False
        if server.callers is not None:
            server.callers.shed(caller, self.peer)
        self.core.end(begun.stream_id, grpc.StatusCode.RESOURCE_EXHAUSTED, *server.stale)
        return True

    def pause_writing(self) -> None:
        # Who does not take its answers is not read either.
        self.blocked = True
        self._read_or_pause()

    def resume_writing(self) -> None:
        self.blocked = False
        self._unwritten = (0, 0.0)
        self._flush()
        if self._has_more and not self._turn_due:
            self._wait_for_turn()
        self._read_or_pause()

    def connection_lost(self, exc: Exception | None) -> None:
        if not hasattr(self, "core"):  # it was not taken
            return
        if self._goodbye is not None:
            self._goodbye.cancel()
        self.core.close()
        self._server.lost(self, self.core.over)
        for call in list(self._calls.values()):
            call.leave()
        self._wake()

    # As its calls and its server use it.

    def forget(self, stream_id: int) -> None:
        """A call is over."""
        call = self._calls.pop(stream_id, None)
        if call is not None:
            self._server.call_ended(call.counted)
        waiting = self._waiting.pop(stream_id, None)
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(None)

    def flush_soon(self) -> None:
        """Sends what is there to send: after what is being read, or after what else happens in this moment."""
        if not (self._reading or self._flushing):
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.blocked or self._transport.is_closing():
            return
        data = self.core.outgoing()
        if data:
            self._transport.write(data)
        if self.core.over:
            if self.core.over.is_orderly and not self.core.farewell.is_heard:
                self._await_goodbye()
            else:
                self._transport.close()
        elif self._waiting:
            self._wake()

    def _await_goodbye(self) -> None:
        """All is said; its client is to hear it, or to go.

        A client that writes to a connection that is closed, or sees its end together with the last answers, may tell
        its callers of a broken connection in the place of what the answers say: grpcio's does.
        """
        if self._goodbye is None:
            self._goodbye = self.loop.call_later(self._server.limits.keepalive_timeout_s, self._transport.abort)

    def _wake(self) -> None:
        """Those for whom there is room again."""
        for stream_id, (future, limit) in list(self._waiting.items()):
            if self.core.over or not (self.blocked or self.core.unsent_bytes(stream_id) > limit):
                del self._waiting[stream_id]
                if not future.done():
                    future.set_result(None)

    async def room(self, stream_id: int, limit: int) -> None:
        """Returns once at most `limit` bytes of a call's answer wait for its client."""
        future = self.loop.create_future()
        self._waiting[stream_id] = (future, limit)
        await future

    def tick(self, now_s: float) -> None:
        """Looks what is overdue."""
        if not self._is_welcome():
            self._break_off(End.TLS)
            return
        if self.blocked or self._is_over:
            self._watch_writing(now_s)
            return
        try:
            self.core.tick(now_s)
            if self._server.ending is not None:
                for call in list(self._calls.values()):
                    call.look(self._server.ending)
        except Exception:
            self._fault()
            return
        self._flush()

    def _watch_writing(self, now_s: float) -> None:
        """A peer that takes nothing of what waits for it is not there, or pretends not to be: it is not read meanwhile,
        so no ping of ours tells."""
        size, since_s = self._unwritten
        left = self._transport.get_write_buffer_size()
        if left != size or not since_s:
            self._unwritten = (left, now_s)
        elif now_s - since_s > self._server.limits.unread_s:
            self._break_off(End.IDLE)

    def _is_welcome(self) -> bool:
        if self._server.is_welcome(self.auth_context):
            return True
        note_stranger("", "its certificate is revoked", self.peer)
        return False

    def _break_off(self, why: End) -> None:
        self.core.over = self.core.over or why
        self._transport.abort()

    def drain(self) -> None:
        """Asks the client to take its further calls elsewhere."""
        self.core.drain()
        self._flush()

    def end(self) -> None:
        """Breaks off what is still under way, or has come and had no turn yet; its client hears so, and goes."""
        for call in list(self._calls.values()):
            call.refuse(grpc.StatusCode.UNAVAILABLE, ENDS)
        self._events.clear()
        self.core.leave(ENDS)
        self._await_goodbye()
        self._flush()

    @property
    def _is_over(self) -> bool:
        """Nothing that comes is heard."""
        return self.core.over is not None or self._transport.is_closing()

    @cached_property
    def auth_context(self) -> dict[str, list[bytes]]:
        """What TLS knows of the peer."""
        return auth_context(self._transport.get_extra_info("ssl_object"))
