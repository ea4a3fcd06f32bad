"""The core of a call from the client's side: what it makes of a server's bytes, and what it can't be made to hold."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ngh2 import Connection, ErrorCode, Role

from services.shared.serving.http2.connection import GrpcConnection
from services.shared.serving.http2.events import Begun, Event, Gone, HalfClosed, Message
from services.shared.serving.http2.limits import Budget, Limits
from services.shared.serving.http2.outgoing import OutgoingCall
from tests.shared.http2.peer import STREAM, framed

LIMITS = Limits(message_bytes_max=300_000, stream_window=65_536)
OK_HEAD = ((b":status", b"200"), (b"content-type", b"application/grpc"))


class Server:
    """The core of a server beside that of a call; bytes go between them until neither has more."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.core = GrpcConnection(limits, Budget(limits.buffered_in_all_max), (), {STREAM}, 0.0)
        self.call = OutgoingCall("host:1", STREAM, limits, 0.0)
        self.events: list[Event] = []
        self.exchange()
        (begun,) = self.events
        assert isinstance(begun, Begun)
        self.stream_id = begun.stream_id
        self.events.clear()

    def exchange(self, piece: int = 1 << 30) -> None:
        while True:
            up, down = self.call.outgoing(), self.core.outgoing()
            if not (up or down):
                return
            for start in range(0, len(up), piece):
                self.events += self.core.receive(up[start : start + piece], 0.0)
            for start in range(0, len(down), piece):
                self.call.receive(down[start : start + piece], 0.0)

    def say(self, *messages: bytes) -> None:
        self.core.head(self.stream_id)
        for message in messages:
            self.core.send(self.stream_id, message)


def read(call: OutgoingCall) -> list[bytes]:
    return [call.take() for _ in range(len(call.messages))]


@given(st.lists(st.binary(max_size=200), max_size=6), st.lists(st.binary(max_size=200), max_size=6), st.integers(1, 40))
def test_both_sides_get_each_others_messages_however_they_are_cut(
    there: list[bytes], back: list[bytes], piece: int
) -> None:
    server = Server()
    for message in there:
        server.call.send(message)
    server.say(*back)
    server.exchange(piece)
    assert [event.message for event in server.events if isinstance(event, Message)] == there
    assert read(server.call) == back
    assert not server.call.over
    server.call.finish()
    server.core.end(server.stream_id, grpc.StatusCode.OK)
    server.exchange(piece)
    assert server.call.over
    assert server.call.error is None


def test_the_end_of_the_requests_is_told() -> None:
    server = Server()
    server.call.finish()
    server.exchange()
    assert [type(event) for event in server.events] == [HalfClosed]


@pytest.mark.parametrize("said_first", [(), (b"a",)], ids=["at once", "after a message"])
def test_a_status_comes_with_its_words(said_first: tuple[bytes, ...]) -> None:
    server = Server()
    if said_first:
        server.say(*said_first)
    server.core.end(server.stream_id, grpc.StatusCode.DATA_LOSS, "über 100 %\n")
    server.exchange()
    assert read(server.call) == list(said_first)
    assert server.call.error is not None
    assert (server.call.error.code, server.call.error.details) == (grpc.StatusCode.DATA_LOSS, "über 100 %\n")


def test_what_is_not_read_stays_with_the_server() -> None:
    server = Server()
    message = bytes(10_000)
    server.say(*[message] * 50)
    server.exchange()
    held = sum(size for _, size in server.call.messages)
    assert held <= LIMITS.stream_window
    assert server.core.unsent_bytes(server.stream_id) + held >= 49 * len(message), "one may be there in part"
    got = []
    while server.call.messages:
        got += read(server.call)
        server.exchange()
    assert got == [message] * 50


def test_a_message_larger_than_the_window_comes_and_one_beyond_the_bound_ends_the_call() -> None:
    server = Server()
    server.say(bytes(300_000))
    server.exchange()
    assert read(server.call) == [bytes(300_000)]
    server.say(bytes(300_001))
    server.exchange()
    assert server.call.over
    assert server.call.error is not None
    assert server.call.error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [type(event) for event in server.events] == [Gone], "the server hears that nobody reads on"


def test_who_leaves_ends_the_servers_handler() -> None:
    server = Server()
    server.call.leave()
    server.exchange()
    assert [type(event) for event in server.events] == [Gone]
    server.call.send(b"late")
    assert server.call.outgoing() == b""


def test_a_server_that_is_silent_is_asked_and_given_up() -> None:
    server = Server()
    server.call.tick(LIMITS.keepalive_s + 1)
    server.exchange()
    server.call.tick(LIMITS.keepalive_s + 20)
    assert not server.call.over, "it answered"
    assert server.call.outgoing(), "it is asked again"
    server.call.tick(LIMITS.keepalive_s + 20 + LIMITS.keepalive_timeout_s + 1)
    assert server.call.over
    assert server.call.error is not None
    assert server.call.error.code is grpc.StatusCode.UNAVAILABLE


class Raw:
    """A server that says what the test wants."""

    def __init__(self) -> None:
        self.h2 = Connection(Role.SERVER)
        self.h2.initiate_connection({})
        self.call = OutgoingCall("host:1", STREAM, LIMITS, 0.0)
        self.h2.receive_data(self.call.outgoing())

    def carry(self) -> None:
        self.call.receive(self.h2.data_to_send(), 0.0)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (((b":status", b"503"), (b"content-type", b"text/html")), "503"),
        (((b":status", b"200"), (b"content-type", b"text/html")), "text/html"),
        (((b":status", b"200"),), "none of gRPC"),
    ],
)
def test_a_server_of_something_else_is_said_so(head: tuple[tuple[bytes, bytes], ...], words: str) -> None:
    raw = Raw()
    raw.h2.send_response(1, head)
    raw.h2.send_data(1, b"<html>")
    raw.carry()
    assert raw.call.error is not None
    assert raw.call.error.code is grpc.StatusCode.UNAVAILABLE
    assert words in raw.call.error.details


def test_an_end_without_a_status_is_no_good_end() -> None:
    for trailers in ((), ((b"x-other", b"1"),), ((b"grpc-status", b"what"),)):
        raw = Raw()
        raw.h2.send_response(1, OK_HEAD)
        raw.h2.send_data(1, framed(b"a"), end_stream=not trailers)
        if trailers:
            raw.h2.send_trailers(1, trailers)
        raw.carry()
        assert read(raw.call) == [b"a"]
        assert raw.call.error is not None, trailers


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.REFUSED_STREAM, grpc.StatusCode.UNAVAILABLE),
        (ErrorCode.CANCEL, grpc.StatusCode.CANCELLED),
        (ErrorCode.ENHANCE_YOUR_CALM, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (ErrorCode.INTERNAL_ERROR, grpc.StatusCode.INTERNAL),
        (0xDEAD, grpc.StatusCode.INTERNAL),
    ],
)
def test_a_stream_that_is_broken_off_has_the_status_that_grpc_gives_it(code: int, status: grpc.StatusCode) -> None:
    raw = Raw()
    raw.h2.reset_stream(1, code)
    raw.carry()
    assert raw.call.error is not None
    assert raw.call.error.code is status


@given(st.binary(min_size=9, max_size=300))
def test_whatever_comes_the_call_ends_or_waits(data: bytes) -> None:
    call = OutgoingCall("host:1", STREAM, LIMITS, 0.0)
    call.outgoing()
    call.receive(data, 0.0)
    call.outgoing()
    call.tick(1.0)
    call.lost("it is gone")
    assert call.over
    assert call.error is not None


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_byte_that_is_damaged_ends_no_process(at: int, byte: int) -> None:
    """In answers as a server gives them."""
    raw = Raw()
    raw.h2.send_response(1, OK_HEAD)
    raw.h2.send_data(1, framed(b"a" * 100))
    raw.h2.send_data(1, framed(b"b" * 100))
    raw.h2.send_trailers(1, ((b"grpc-status", b"0"),))
    data = bytearray(raw.h2.data_to_send())
    data[min(at, len(data) - 1)] = byte
    raw.call.receive(bytes(data), 0.0)
    raw.call.outgoing()
    raw.call.lost("it is gone")
    assert raw.call.over
