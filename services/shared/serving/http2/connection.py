"""A gRPC connection as decisions, without a socket: bytes in, calls out; answers in, bytes out.

`receive` is the door for all that comes, `tick` for time. What a peer can make a server hold or do is bounded here:

- what it sends and nobody has read yet: by windows for streams, by a budget of the connection and one of the server;
- calls under way, the size of messages and headers, how often it may ping, take back calls or send nothing;
- how long it takes to say hello, to finish a request, to answer a ping.

A peer that goes beyond loses the call where one call is to blame, the connection otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field

import grpc
from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    DataReceived,
    DenialOfServiceError,
    ErrorCode,
    NGH2Error,
    PingAcknowledged,
    PingReceived,
    RequestReceived,
    Role,
    Setting,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
)

from services.shared.serving.connections import End
from services.shared.serving.http2.events import Event, Gone, HalfClosed, Message
from services.shared.serving.http2.incoming import Buffers, Incoming, Unfinished
from services.shared.serving.http2.limits import Allowance, Budget, Limits
from services.shared.serving.http2.messages import (
    ANSWER_HEAD,
    ANSWER_OK,
    CallError,
    Headers,
    Metadata,
    check_encoding,
    compress,
    is_grpc,
    not_grpc,
    parse_timeout_s,
    write_message,
    write_metadata,
    write_status,
)
from services.shared.serving.http2.unsent import Farewell, Unsent

_KEEPALIVE = b"livelive"
_DRAIN = b"enddrain"
#: libnghttp2 says INTERNAL_ERROR of too many resets.
_FLOOD_CODES = (ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.INTERNAL_ERROR)


@dataclass
class GrpcConnection:
    """One connection of a client.

    Args:
        limits: Its bounds.
        budget: Shared by the connections of a server.
        unary: Paths of calls with one request.
        streaming: Paths of calls with a stream of requests.
        now_s: When it was opened.
        age_s_max: Until it is asked to end; 0 for never.
    """

    limits: Limits
    budget: Budget
    unary: Collection[bytes]
    streaming: Collection[bytes]
    now_s: float
    age_s_max: float = 0.0
    #: Why nothing more is read or written, once what is in `outgoing` is sent; None while it lasts.
    over: End | None = None
    _incoming: dict[int, Incoming] = field(default_factory=dict)
    #: Streams whose head was sent.
    _headed: set[int] = field(default_factory=set)
    _greeted: bool = False
    #: Why its client was asked to go.
    _draining: End | None = None
    #: Nothing is to come: once nothing is under way, its client is asked whether it has heard all.
    _leaving: bool = False
    farewell: Farewell = field(default_factory=Farewell)
    _pinged_s: float | None = None

    def __post_init__(self) -> None:
        limits = self.limits
        self._heard_s = self._opened_s = self.now_s
        self._idle_frames = Allowance(*limits.idle_frames)
        self._buffers = Buffers(limits.buffered_max, self.budget)
        self._h2 = Connection(
            Role.SERVER,
            Configuration(
                auto_window_update=False,
                max_inbound_header_list_size=limits.header_bytes_max,
                stream_reset_rate_limit=limits.resets,
            ),
        )
        self._unfinished = Unfinished(self._h2)
        self.unsent = Unsent(self._h2, limits, self.budget, self.now_s)
        self._h2.initiate_connection(
            {
                Setting.MAX_CONCURRENT_STREAMS: limits.calls_max,
                Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
                Setting.MAX_HEADER_LIST_SIZE: limits.header_bytes_max,
            }
        )
        self._h2.set_local_window_size(limits.connection_window)

    # What comes.

    def receive(self, data: bytes, now_s: float) -> list[Event]:
        """Takes what came from the peer; returns what it means, in order."""
        self.now_s = self._heard_s = now_s
        broken: End | None = None
        try:
            self._h2.receive_data(data)
        except DenialOfServiceError:
            broken = End.FLOOD
        except NGH2Error:
            broken = End.PROTOCOL
        events: list[Event] = []
        for event in self._h2.events():
            if isinstance(event, DataReceived):
                self._data(event.stream_id, event.data, event.end_stream, events)
            elif isinstance(event, RequestReceived):
                self._request(event.stream_id, event.headers, event.end_stream, events)
            elif isinstance(event, StreamClosed):
                self._closed(event.stream_id, events)
            elif isinstance(event, PingReceived | SettingsReceived):
                self._greeted = self._greeted or isinstance(event, SettingsReceived)
                self._idle_frame()
            elif isinstance(event, TrailersReceived):
                self._data(event.stream_id, b"", True, events)
            elif isinstance(event, PingAcknowledged):
                self._answered(event.opaque_data)
            elif isinstance(event, ConnectionClosed):
                broken = broken or self._why(event.error_code)
        self.over = self.over or broken
        return events

    def _request(self, stream_id: int, headers: Headers, end: bool, events: list[Event]) -> None:
        fields = dict(headers)
        method = fields.get(b":method", b"")
        if method != b"POST" or not is_grpc(fields.get(b"content-type", b"")):
            self._refuse_http(stream_id, method, end)
            return
        path = fields[b":path"]
        streams = path in self.streaming
        encoding = fields.get(b"grpc-encoding", b"identity")
        incoming = self._incoming[stream_id] = Incoming(stream_id, path, headers, encoding, streams, self.now_s)
        incoming.whole = end
        try:
            if not streams and path not in self.unary:
                named = path[:200].decode("ascii", "replace")
                raise CallError(grpc.StatusCode.UNIMPLEMENTED, f"Method not found: {named}")
            check_encoding(encoding)
            if (timeout := fields.get(b"grpc-timeout")) is not None:
                incoming.timeout_s = parse_timeout_s(timeout)
        except CallError as error:
            self.end(stream_id, error.code, error.details)
            return
        if streams:
            events.append(incoming)
        if end:
            self._data(stream_id, b"", True, events)

    def _data(self, stream_id: int, data: bytes, end: bool, events: list[Event]) -> None:
        incoming = self._incoming.get(stream_id)
        if incoming is None:  # ended by us
            if data:
                self._give_back(stream_id, len(data))
            return
        if end:
            message = incoming.one_whole(data, self.limits.message_bytes_max)
            if message is not None:
                incoming.whole = True
                incoming.message = message
                self._give_back(stream_id, len(data))
                events.append(incoming)
                return
        elif not data:
            self._idle_frame()
        try:
            if data:
                for message, size in incoming.take(data, self.limits.message_bytes_max):
                    events.append(Message(stream_id, message, size))
                self._buffers.note(incoming)
            if not end:
                self._settle(stream_id, incoming)
                return
            incoming.finish()
        except CallError as error:
            if incoming.streams:
                events.append(Gone(stream_id))
            self.end(stream_id, error.code, error.details)
            return
        if incoming.streams:
            events.append(HalfClosed(stream_id))
        else:
            self._release(stream_id, incoming)
            events.append(incoming)

    def consumed(self, stream_id: int, size: int) -> None:
        """A message was read: its room is the client's again."""
        incoming = self._incoming.get(stream_id)
        if incoming is not None:
            incoming.unread -= size
            self._buffers.note(incoming)
            self._settle(stream_id, incoming)

    def _settle(self, stream_id: int, incoming: Incoming) -> None:
        if spare := incoming.spare(self.limits.stream_window):
            incoming.held -= spare
            self._give_back(stream_id, spare)

    def _forget(self, stream_id: int) -> None:
        """The call is over on our side."""
        self.farewell.is_asked = False
        incoming = self._incoming.pop(stream_id, None)
        if incoming is not None:
            if not incoming.whole:
                self._unfinished.note(stream_id, self.now_s)
            self._release(stream_id, incoming)

    def _release(self, stream_id: int, incoming: Incoming) -> None:
        self._buffers.release(incoming)
        if incoming.held:
            self._give_back(stream_id, incoming.held)
            incoming.held = 0

    def _give_back(self, stream_id: int, size: int) -> None:
        try:
            self._h2.acknowledge_received_data(size, stream_id)
        except NGH2Error:
            return  # a stream that is gone has no window

    def _closed(self, stream_id: int, events: list[Event]) -> None:
        self._headed.discard(stream_id)
        self._unfinished.forget(stream_id)
        incoming = self._incoming.pop(stream_id, None)
        if incoming is not None:  # not ended by us
            self._release(stream_id, incoming)
            events.append(Gone(stream_id))

    def _refuse_http(self, stream_id: int, method: bytes, end: bool) -> None:
        """A request that is not one of gRPC."""
        head, body = not_grpc(method)
        with contextlib.suppress(NGH2Error):
            self._h2.send_response(stream_id, head, end_stream=not body)
            if body:
                self._h2.send_data(stream_id, body, end_stream=True)
            if not end:
                self._unfinished.note(stream_id, self.now_s)

    def _idle_frame(self) -> None:
        """Counts one; each answer allows as many as at first, since clients measure their line by pings beside it."""
        if not self._idle_frames.take():
            self._terminate(ErrorCode.ENHANCE_YOUR_CALM, End.FLOOD)

    def _answered(self, ping: bytes) -> None:
        self._pinged_s = None
        if ping == _DRAIN:
            self._leaving = True  # what was sent before the client knew has come by now
        elif not self.over and self.farewell.hears(ping):
            self.over = self._draining
            self._h2.send_goaway(ErrorCode.NO_ERROR)

    def _terminate(self, code: ErrorCode, why: End) -> None:
        if not self.over:
            self.over = why
            with contextlib.suppress(NGH2Error):  # libnghttp2 has ended it itself
                self._h2.terminate_connection(code)

    # Time.

    def tick(self, now_s: float) -> None:
        """Looks what is overdue; to be called about once a second."""
        self._idle_frames.grow(now_s - self.now_s)
        self.now_s, limits = now_s, self.limits
        if not self._greeted and now_s - self._opened_s > limits.hello_s:
            self._terminate(ErrorCode.SETTINGS_TIMEOUT, End.IDLE)
        elif self._pinged_s is not None and now_s - self._pinged_s > limits.keepalive_timeout_s:
            self.over = End.IDLE  # it is not there: there is nobody to tell
        elif self._pinged_s is None and now_s - self._heard_s > limits.keepalive_s:
            self._ping(_KEEPALIVE)
        elif self.unsent.is_given_up(now_s):
            self._terminate(ErrorCode.ENHANCE_YOUR_CALM, End.IDLE)
        if self.age_s_max and now_s - self._opened_s > self.age_s_max:
            self.drain(End.AGE)
        late = [call.stream_id for call in self._incoming.values() if call.is_late(now_s - limits.request_s)]
        self._unfinished.break_off(now_s)
        for stream_id in late:
            self.end(stream_id, grpc.StatusCode.DEADLINE_EXCEEDED, f"not whole after {limits.request_s:g} s")

    def _ping(self, what: bytes) -> None:
        self._pinged_s = self.now_s
        self._h2.ping(what)

    def drain(self, why: End = End.DRAIN) -> None:
        """Asks the client to take its further calls elsewhere; those under way go on."""
        if not (self._draining or self.over):
            self._draining = why
            self._h2.send_shutdown_notice()
            self._ping(_DRAIN)

    def leave(self, details: str) -> None:
        """Ends what is under way; over once the client knows."""
        self.drain()
        for stream_id in list(self._incoming):
            self.end(stream_id, grpc.StatusCode.UNAVAILABLE, details)
        self._leaving = True

    # What goes.

    def head(self, stream_id: int, metadata: Metadata | None = None, compressed: bool = False) -> None:
        """Begins the answer to a call, once."""
        if stream_id in self._headed:
            return
        self._headed.add(stream_id)
        headers: Headers = ANSWER_HEAD
        if compressed or metadata:
            headers = [*ANSWER_HEAD, *([(b"grpc-encoding", b"gzip")] if compressed else ()), *write_metadata(metadata)]
        with contextlib.suppress(NGH2Error):
            self._h2.send_response(stream_id, headers)

    def send(self, stream_id: int, message: bytes, compressed: bool = False) -> None:
        """A message of the answer."""
        self._idle_frames.renew()
        if compressed:
            message = compress(message)
        with contextlib.suppress(NGH2Error):
            self._h2.send_data(stream_id, write_message(message, compressed))

    def answer(self, stream_id: int, message: bytes) -> None:
        """All of an answer that is OK, of one message."""
        h2 = self._h2
        self._forget(stream_id)
        self._idle_frames.renew()
        try:
            if stream_id not in self._headed:
                h2.send_response(stream_id, ANSWER_HEAD)
            h2.send_data(stream_id, write_message(message))
            h2.send_trailers(stream_id, ANSWER_OK)
        except NGH2Error:
            pass  # its client has left

    def end(self, stream_id: int, code: grpc.StatusCode, details: str = "", metadata: Metadata | None = None) -> None:
        """Ends a call."""
        self._forget(stream_id)
        trailers = write_status(code, details, metadata)
        with contextlib.suppress(NGH2Error):
            if stream_id in self._headed:
                self._h2.send_trailers(stream_id, trailers)
            else:
                self._h2.send_response(stream_id, [*ANSWER_HEAD, *trailers], end_stream=True)

    def unsent_bytes(self, stream_id: int) -> int:
        """Of a call's answer, which wait for the client."""
        return self._h2.queued_body_size(stream_id)

    def outgoing(self) -> bytes:
        """What is to be sent now; the windows may hold back more."""
        try:
            data = self.unsent.data_to_send(self.now_s)
            done = self._leaving and not (self.over or self._incoming or self._h2.queued_body_size())
            if done and not self.farewell.is_asked:
                self._ping(self.farewell.ask())
                data += self._h2.data_to_send()  # behind the answers: libnghttp2 lets pings overtake
        except NGH2Error:
            self.over = self.over or End.PROTOCOL
            return b""
        if not (self.over or self._h2.want_read or self._h2.want_write):
            codes = [event.error_code for event in self._h2.events() if isinstance(event, ConnectionClosed)]
            self.over = self._why(codes[-1] if codes else ErrorCode.NO_ERROR)
        return data

    def _why(self, code: int) -> End:
        """Of a connection that libnghttp2 has ended with that code."""
        if code == ErrorCode.NO_ERROR:
            return self._draining or End.CLIENT
        return End.FLOOD if code in _FLOOD_CODES else End.PROTOCOL

    def close(self) -> None:
        """The connection is lost: what it held is given back."""
        self.over = self.over or self._draining or End.CLIENT
        for incoming in self._incoming.values():
            self._buffers.release(incoming)
        self._incoming.clear()
        self.unsent.release()
