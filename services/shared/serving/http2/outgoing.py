"""The client's side of one call in which both sides stream, on a connection of its own, without a socket.

`receive` is the door for all that comes, `tick` for time. What came and was not read is bounded by the call's window.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field

import grpc
from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    NGH2Error,
    PingAcknowledged,
    ResponseReceived,
    Role,
    Setting,
    StreamClosed,
    TrailersReceived,
)

from services.shared.serving.http2.incoming import Incoming
from services.shared.serving.http2.limits import Limits
from services.shared.serving.http2.messages import CallError, Headers, read_status, write_message

_KEEPALIVE = b"livelive"
#: What a stream that is broken off by the server's HTTP/2 means (gRPC's PROTOCOL-HTTP2.md, "Errors").
_RESETS: dict[int, grpc.StatusCode] = {
    ErrorCode.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: grpc.StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
}


@dataclass
class OutgoingCall:
    """A call from its first byte on.

    Args:
        authority: host:port of the server.
        path: The method's, such as b"/package.Service/Method".
        limits: Its bounds.
        now_s: When the connection was opened.
    """

    authority: str
    path: bytes
    limits: Limits
    now_s: float
    #: Responses that nobody has read, each with the size that it came in.
    messages: deque[tuple[bytes, int]] = field(default_factory=deque)
    #: No further response comes.
    over: bool = False
    #: The server has asked to end the connection, and nothing is under way.
    is_dismissed: bool = False
    #: How the call ended where it did not end well.
    error: CallError | None = None
    _incoming: Incoming | None = None
    _pinged_s: float | None = None

    def __post_init__(self) -> None:
        limits = self.limits
        self._heard_s = self.now_s
        self._h2 = Connection(
            Role.CLIENT,
            Configuration(auto_window_update=False, max_inbound_header_list_size=limits.header_bytes_max),
        )
        self._h2.initiate_connection(
            {
                Setting.ENABLE_PUSH: 0,
                Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
                Setting.MAX_HEADER_LIST_SIZE: limits.header_bytes_max,
            }
        )
        self._h2.set_local_window_size(limits.connection_window)
        head: Headers = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", self.path),
            (b":authority", self.authority.encode()),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-accept-encoding", b"identity,gzip,deflate"),
        )
        self._stream_id = self._h2.send_request(head)

    # What comes.

    def receive(self, data: bytes, now_s: float) -> None:
        """Takes what came from the server."""
        self.now_s = self._heard_s = now_s
        broken = ""
        try:
            self._h2.receive_data(data)
        except NGH2Error as error:
            broken = f"no HTTP/2: {error}"
        for event in self._h2.events():
            if isinstance(event, DataReceived):
                self._data(event.data, event.end_stream)
            elif isinstance(event, ResponseReceived):
                self._response(event.headers, event.end_stream)
            elif isinstance(event, TrailersReceived):
                self._end(read_status(event.headers))
            elif isinstance(event, StreamClosed):
                self._closed(event.error_code)
            elif isinstance(event, PingAcknowledged):
                self._pinged_s = None
            elif isinstance(event, ConnectionClosed):
                self.is_dismissed = True
                broken = broken or "the server ended the connection"
        if broken:
            self.lost(broken)

    def _response(self, headers: Headers, end: bool) -> None:
        fields = dict(headers)
        status, kind = fields.get(b":status", b""), fields.get(b"content-type", b"")
        if status != b"200" or not kind.startswith(b"application/grpc"):
            said = f"the server is none of gRPC: HTTP {status[:3]!r}, {kind[:40]!r}"
            self._fail(CallError(grpc.StatusCode.UNAVAILABLE, said))
        elif end:
            self._end(read_status(headers))
        else:
            encoding = fields.get(b"grpc-encoding", b"identity")
            self._incoming = Incoming(self._stream_id, self.path, headers, encoding, True, self.now_s)

    def _data(self, data: bytes, end: bool) -> None:
        incoming = self._incoming
        if incoming is None or self.over:
            self._give_back(len(data))
            return
        try:
            self.messages.extend(incoming.take(data, self.limits.message_bytes_max))
        except CallError as error:
            self._fail(error)
            return
        self._settle(incoming)
        if end:
            self._end(CallError(grpc.StatusCode.INTERNAL, "the server ended it without a status"))

    def _closed(self, code: int) -> None:
        if not self.over:
            status = _RESETS.get(code, grpc.StatusCode.INTERNAL)
            self._end(CallError(status, f"the server broke it off (HTTP/2 error {code})"))

    def _end(self, error: CallError | None) -> None:
        if not self.over:
            self.over, self.error = True, error

    def _fail(self, error: CallError) -> None:
        """Ends it from this side."""
        self._end(error)
        with contextlib.suppress(NGH2Error):
            self._h2.reset_stream(self._stream_id, ErrorCode.CANCEL)

    def lost(self, why: str) -> None:
        """There is no connection any more."""
        self._end(CallError(grpc.StatusCode.UNAVAILABLE, why))

    def take(self) -> bytes:
        """The first of `messages`: its room is the server's again."""
        message, size = self.messages.popleft()
        if self._incoming is not None:
            self._incoming.unread -= size
            self._settle(self._incoming)
        return message

    def _settle(self, incoming: Incoming) -> None:
        spare = incoming.spare(self.limits.stream_window)
        if spare:
            incoming.held -= spare
            self._give_back(spare)

    def _give_back(self, size: int) -> None:
        with contextlib.suppress(NGH2Error):  # a stream that is gone has no window
            self._h2.acknowledge_received_data(size, self._stream_id)

    # Time.

    def tick(self, now_s: float) -> None:
        """Looks whether the server is still there; to be called about once a second."""
        self.now_s = now_s
        if self._pinged_s is not None:
            if now_s - self._pinged_s > self.limits.keepalive_timeout_s:
                self.lost("the server does not answer")
        elif now_s - self._heard_s > self.limits.keepalive_s:
            self._pinged_s = now_s
            self._h2.ping(_KEEPALIVE)

    # What goes.

    def send(self, message: bytes) -> None:
        """A request. Does nothing once the call is over."""
        if not self.over:
            with contextlib.suppress(NGH2Error):
                self._h2.send_data(self._stream_id, write_message(message))

    def finish(self) -> None:
        """There are no further requests."""
        with contextlib.suppress(NGH2Error):
            self._h2.end_stream(self._stream_id)

    def leave(self) -> None:
        """Breaks it off: the server's handler is cancelled."""
        if not self.over:
            self._fail(CallError(grpc.StatusCode.CANCELLED, "broken off by the client"))

    @property
    def unsent_bytes(self) -> int:
        """Of requests, which wait for the server."""
        try:
            return self._h2.queued_body_size(self._stream_id)
        except NGH2Error:
            return 0

    def outgoing(self) -> bytes:
        """What is to be sent now; the windows may hold back more."""
        try:
            return self._h2.data_to_send()
        except NGH2Error as error:
            self.lost(f"no HTTP/2: {error}")
            return b""
