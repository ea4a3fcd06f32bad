"""One call, as its handler sees it: what grpcio gives handlers too, so that they don't know who carries them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from services.shared.security.caller import Caller
from services.shared.serving.callers.limits import Ended
from services.shared.serving.http2.eager import Eager
from services.shared.serving.http2.events import Begun
from services.shared.serving.http2.messages import CallError, Metadata, read_metadata
from services.shared.serving.http2.tls import identity_key

if TYPE_CHECKING:
    from services.shared.serving.http2.protocol import ServerProtocol
    from services.shared.serving.http2.server import CallEnding

#: What a call is told that outlives its server.
ENDS = "the server ends"
#: Bytes of a call's answer that may wait for its client before its handler has to.
_UNSENT_BYTES_MAX = 64 << 10


class AbortedError(grpc.aio.AbortError):
    """A handler has ended its call by a status."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Metadata) -> None:
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailing = trailing


@dataclass(frozen=True)
class Method:
    """How a path's calls are served."""

    behavior: Callable[[Any, Any], Any]
    streams_requests: bool
    streams_responses: bool
    deserialize: Callable[[bytes], Any]
    serialize: Callable[[Any], bytes]

    @cached_property
    def is_stream(self) -> bool:
        """Whether either side sends more than one message."""
        return self.streams_requests or self.streams_responses


class Call(grpc.aio.ServicerContext[Any, Any]):
    """A call under way, and its handler's context. What few calls need is the class's until they do."""

    #: Its answer is whole, or nobody waits for it.
    over = False
    #: Its client has left, or its time is up.
    gone = False
    _timer: asyncio.TimerHandle | None = None
    _callbacks: tuple[Callable[[Any], None], ...] = ()
    _code: grpc.StatusCode | None = None
    _details = ""
    _trailing: Metadata = ()
    _compressed = False
    _messages: deque[tuple[bytes, int]] | None = None
    _half_closed = False
    _waiter: asyncio.Future[None] | None = None
    #: What its caller's account is told when it is over; None: it is in none.
    counted: Ended | None = None

    def __init__(self, protocol: ServerProtocol, method: Method, begun: Begun, caller: Caller | None = None) -> None:
        """`caller`: who makes it; None: nobody asks that here."""
        self._protocol = protocol
        self.caller = caller
        self._method = method
        self._begun = begun
        self._deadline_s = None if begun.timeout_s is None else protocol.loop.time() + begun.timeout_s
        self.eager = Eager()

    # Its life, as the protocol drives it.

    def start(self) -> None:
        """Runs the handler as far as it goes."""
        method = self._method
        if method.streams_requests:
            self._messages = deque()
        run = self._answer_stream() if method.streams_responses else self._answer_one()
        if not self.eager.run(run, self._protocol.loop) and self._deadline_s is not None:
            self._timer = self._protocol.loop.call_at(self._deadline_s, self._expire)

    async def _answer_one(self) -> None:
        try:
            response = await self._method.behavior(self._request(), self)
            if self._code is None and response is not None:
                self._answer(self._method.serialize(response))
            else:
                self._finish(None if response is None else self._method.serialize(response))
        except asyncio.CancelledError:
            self._cancelled()
        except Exception as error:
            self._failed(error)

    async def _answer_stream(self) -> None:
        try:
            responses = self._method.behavior(self._request(), self)
            if hasattr(responses, "__aiter__"):
                async for response in responses:
                    await self.write(response)
            else:
                await responses
            self._finish(None)
        except asyncio.CancelledError:
            self._cancelled()
        except Exception as error:
            self._failed(error)

    def _request(self) -> Any:
        message = self._begun.message
        return _Requests(self) if message is None else self._read(message)

    def _read(self, message: bytes) -> Any:
        try:
            return self._method.deserialize(message)
        except Exception as error:
            # The code that grpcio gives.
            raise CallError(grpc.StatusCode.UNKNOWN, "can't read the request: is it of another message?") from error

    def _answer(self, message: bytes) -> None:
        if self.over:
            return
        if self._compressed or self._trailing:
            self._finish(message)
            return
        self._end()
        self._protocol.core.answer(self._begun.stream_id, message)
        self._protocol.flush_soon()

    def _finish(self, message: bytes | None) -> None:
        if self.over:
            return
        code = self._code or grpc.StatusCode.OK
        stream_id, core = self._begun.stream_id, self._protocol.core
        if code is grpc.StatusCode.OK or message is not None:
            core.head(stream_id, compressed=self._compressed)
        if message is not None:
            core.send(stream_id, message, self._compressed)
        self._end_with(code, self._details, self._trailing)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, AbortedError):
            self._end_with(error.code, error.details, [*error.trailing, *self._trailing])
        elif isinstance(error, CallError):
            self._end_with(error.code, error.details)
        else:
            # Generated base classes set a code, then raise.
            self._end_with(self._code or grpc.StatusCode.UNKNOWN, self._details or f"Unexpected {type(error)}")

    def _cancelled(self) -> None:
        self._end_with(grpc.StatusCode.UNAVAILABLE, ENDS)

    def _end_with(self, code: grpc.StatusCode, details: str = "", trailing: Metadata = ()) -> None:
        if self.over:
            return
        self._code = code
        self._end()
        self._protocol.core.end(self._begun.stream_id, code, details, trailing)
        self._protocol.flush_soon()

    def _end(self) -> None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        self._protocol.forget(self._begun.stream_id)
        for callback in self._callbacks:
            callback(self)

    def leave(self) -> None:
        """Its client has left: the handler is cancelled."""
        if not self.over:
            self.gone = True
            self._code = grpc.StatusCode.CANCELLED
            self._end()
            self.eager.cancel()

    def refuse(self, code: grpc.StatusCode, details: str, trailing: Metadata = ()) -> None:
        """Ends it with a status, and its handler with it."""
        self._end_with(code, details, trailing)
        self.eager.cancel()

    def look(self, ending: CallEnding) -> None:
        """Ends a stream where what it was opened with counts no more."""
        if self._method.is_stream and self.caller is not None:
            found = ending(self._begun.path, self.caller, self.auth_context(), self._begun.headers, self.peer())
            if found is not None:
                self.refuse(found.code, found.details, found.trailing_metadata or ())

    def _expire(self) -> None:
        self.gone = True
        self.refuse(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    # What comes and goes in streams.

    def take(self, message: bytes, size: int) -> None:
        """A message of the client."""
        if self._messages is not None and not self.over:
            self._messages.append((message, size))
            self.wake()

    def half_close(self) -> None:
        """The client has sent all of them."""
        self._half_closed = True
        self.wake()

    def wake(self) -> None:
        """A message, or room for one, may be there."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> Any:
        """The next request, `grpc.aio.EOF` after the last."""
        messages = self._messages
        if messages is None:
            raise grpc.aio.UsageError("a call of one request has no further one")
        while not messages:
            if self._half_closed:
                return grpc.aio.EOF
            self._waiter = self._protocol.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message, size = messages.popleft()
        self._protocol.core.consumed(self._begun.stream_id, size)
        self._protocol.flush_soon()
        return self._read(message)

    async def write(self, message: Any) -> None:
        """Sends a response; waits while the client does not take them."""
        if self.over:
            raise asyncio.CancelledError
        stream_id, protocol = self._begun.stream_id, self._protocol
        protocol.core.head(stream_id, compressed=self._compressed)
        protocol.core.send(stream_id, self._method.serialize(message), self._compressed)
        protocol.flush_soon()
        if protocol.blocked or protocol.core.unsent_bytes(stream_id) > _UNSENT_BYTES_MAX:
            await protocol.room(stream_id, _UNSENT_BYTES_MAX)

    async def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        self._protocol.core.head(self._begun.stream_id, initial_metadata, self._compressed)
        self._protocol.flush_soon()

    # What a handler may ask and set.

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> Any:
        raise AbortedError(code, details, trailing_metadata or ())

    async def abort_with_status(self, status: grpc.Status) -> Any:
        raise AbortedError(status.code, status.details, status.trailing_metadata or ())

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        self._trailing = trailing_metadata

    def trailing_metadata(self) -> Any:
        return self._trailing

    def invocation_metadata(self) -> Any:
        return read_metadata(self._begun.headers)

    def header(self, name: bytes) -> bytes:
        """The first of that name, without reading all of them; empty where there is none."""
        for key, value in self._begun.headers:
            if key == name:
                return value
        return b""

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> Any:
        return self._code

    def set_details(self, details: str) -> None:
        self._details = details

    def details(self) -> Any:
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        accepted = dict(self._begun.headers).get(b"grpc-accept-encoding", b"")
        self._compressed = compression is grpc.Compression.Gzip and b"gzip" in accepted

    def disable_next_message_compression(self) -> None:
        self._compressed = False

    def peer(self) -> str:
        return self._protocol.peer

    def peer_identities(self) -> Any:
        key = self.peer_identity_key()
        return None if key is None else self.auth_context()[key]

    def peer_identity_key(self) -> Any:
        return identity_key(self._protocol.auth_context)

    def auth_context(self) -> Any:
        return self._protocol.auth_context

    def time_remaining(self) -> Any:
        return None if self._deadline_s is None else max(0.0, self._deadline_s - self._protocol.loop.time())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks += (callback,)

    def cancelled(self) -> bool:
        return self.gone

    def done(self) -> bool:
        return self.over


class _Requests:
    """A client's messages, as a handler iterates over them."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> Any:
        request = await self._call.read()
        if request is grpc.aio.EOF:
            raise StopAsyncIteration
        return request


def method_of(handler: Any) -> Method:
    """Of what a generated `add_…_to_server` gives."""
    behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    return Method(
        behavior,
        handler.request_streaming,
        handler.response_streaming,
        handler.request_deserializer or bytes,
        handler.response_serializer or bytes,
    )


__all__: Sequence[str] = ("ENDS", "AbortedError", "Call", "Method", "method_of")
