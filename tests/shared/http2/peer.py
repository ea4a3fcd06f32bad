"""A client's side of a connection, by hand: what it sends is as the test says, what it gets is kept."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar

import grpc
from ngh2 import (
    Configuration,
    Connection,
    DataReceived,
    GoAwayReceived,
    NGH2Error,
    ResponseReceived,
    Role,
    StreamClosed,
    TrailersReceived,
)

from services.shared.serving.http2.connection import GrpcConnection
from services.shared.serving.http2.events import Event
from services.shared.serving.http2.limits import Budget, Limits

_E = TypeVar("_E")

CODES = {code.name: code.value[0] for code in grpc.StatusCode}
UNARY = b"/t.S/One"
STREAM = b"/t.S/Many"
HEADERS = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", UNARY),
    (b":authority", b"x"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)


def headers(path: bytes = UNARY, more: Mapping[str, bytes] | None = None) -> tuple[tuple[bytes, bytes], ...]:
    """Of a call, with these further or other ones."""
    merged = {**dict(HEADERS), b":path": path, **{name.encode(): value for name, value in (more or {}).items()}}
    return tuple(merged.items())


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def packed(data: bytes) -> bytes:
    """The same bytes whenever it is called."""
    return gzip.compress(data, mtime=0)


class Peer:
    """A client beside the core of a server; `exchange` carries bytes between them until neither has more."""

    def __init__(self, limits: Limits | None = None, budget: Budget | None = None, age_s_max: float = 0.0) -> None:
        limits = limits or Limits()
        self.budget = budget or Budget(limits.buffered_in_all_max)
        self.core = GrpcConnection(limits, self.budget, {UNARY}, {STREAM}, 0.0, age_s_max)
        self.client = Connection(Role.CLIENT, Configuration(auto_window_update=False))
        self.client.initiate_connection({})
        self.events: list[Event] = []
        #: By stream.
        self.status: dict[int, int] = {}
        self.details: dict[int, str] = {}
        self.body: dict[int, bytes] = defaultdict(bytes)
        self.closed: dict[int, int] = {}
        self.goaways: list[int] = []
        self.exchange()

    def call(
        self, data: bytes = b"", path: bytes = UNARY, end: bool = True, more: Mapping[str, bytes] | None = None
    ) -> int:
        """Begins a call; returns its stream."""
        stream_id = self.client.send_request(headers(path, more))
        if data or end:
            self.client.send_data(stream_id, data, end_stream=end)
        self.exchange()
        return stream_id

    def say(self, stream_id: int, data: bytes, end: bool = False) -> None:
        """Goes on with a call."""
        self.client.send_data(stream_id, data, end_stream=end)
        self.exchange()

    def exchange(self, now_s: float | None = None, piece: int = 1 << 20) -> None:
        """Carries bytes, in pieces of that size."""
        while not self.core.over:
            sent = self.client.data_to_send()
            for start in range(0, len(sent), piece):
                self.events += self.core.receive(sent[start : start + piece], now_s or self.core.now_s)
            answered = self.core.outgoing()
            try:
                self.client.receive_data(answered)
            except NGH2Error:
                break
            self._note()
            if not sent and not answered:
                break
        if self.goaways and not (self.core.over or self.client.want_read or self.client.want_write):
            self.core.close()  # the server wants it so, and nothing is under way: it goes

    def _note(self) -> None:
        for event in self.client.events():
            if isinstance(event, ResponseReceived | TrailersReceived):
                fields = dict(event.headers)
                if b"grpc-status" in fields:
                    self.status[event.stream_id] = int(fields[b"grpc-status"])
                    self.details[event.stream_id] = fields.get(b"grpc-message", b"").decode()
                elif fields.get(b":status", b"200") != b"200":
                    self.status[event.stream_id] = -int(fields[b":status"])
            elif isinstance(event, DataReceived):
                self.body[event.stream_id] += event.data
            elif isinstance(event, StreamClosed):
                self.closed[event.stream_id] = event.error_code
            elif isinstance(event, GoAwayReceived):
                self.goaways.append(event.error_code)

    def of(self, kind: type[_E]) -> list[_E]:
        """The events of that kind that came up to now."""
        return [event for event in self.events if isinstance(event, kind)]
