"""The core of a connection: what a client may send, what it gets, and what it can't make a server hold."""

from __future__ import annotations

import gzip
import zlib

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.serving.connections import End
from services.shared.serving.http2.connection import GrpcConnection
from services.shared.serving.http2.events import Begun, Gone, HalfClosed, Message
from services.shared.serving.http2.limits import Budget, Limits
from tests.shared.http2.peer import CODES, STREAM, UNARY, Peer, framed, headers, packed


def test_a_call_of_one_request_is_told_once_it_is_whole() -> None:
    peer = Peer()
    stream = peer.call(framed(b"hello")[:7], end=False)
    assert peer.of(Begun) == []
    peer.say(stream, framed(b"hello")[7:], end=True)
    (begun,) = peer.of(Begun)
    assert begun.message == b"hello"
    assert begun.path == UNARY
    peer.core.answer(stream, b"world")
    peer.exchange()
    assert peer.body[stream] == framed(b"world")
    assert peer.status[stream] == CODES["OK"]
    assert peer.closed[stream] == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8), st.integers(1, 40))
def test_messages_are_whole_however_they_are_cut(messages: list[bytes], piece: int) -> None:
    peer = Peer()
    stream = peer.client.send_request(headers(STREAM))
    peer.client.send_data(stream, b"".join(framed(message) for message in messages), end_stream=True)
    peer.exchange(piece=piece)
    assert [event.message for event in peer.of(Message)] == messages
    assert len(peer.of(HalfClosed)) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_requests_are_read(encoding: str) -> None:
    data = packed(b"a" * 1_000) if encoding == "gzip" else zlib.compress(b"a" * 1_000)
    peer = Peer()
    peer.call(framed(data, flag=1), more={"grpc-encoding": encoding.encode()})
    (begun,) = peer.of(Begun)
    assert begun.message == b"a" * 1_000


def test_a_compressed_answer_is_one_that_the_client_can_read() -> None:
    peer = Peer()
    stream = peer.call(framed(b""))
    peer.core.head(stream, compressed=True)
    peer.core.send(stream, b"a" * 1_000, compressed=True)
    peer.core.end(stream, grpc.StatusCode.OK)
    peer.exchange()
    body = peer.body[stream]
    assert body[0] == 1
    assert gzip.decompress(body[5:]) == b"a" * 1_000


def test_a_message_larger_than_the_window_comes_through() -> None:
    peer = Peer(Limits(stream_window=1 << 16, connection_window=1 << 17))
    for path in (UNARY, STREAM):
        stream = peer.call(framed(b"x" * 1_000_000), path)
        come = [event.message or b"" for event in peer.of(Begun)] + [event.message for event in peer.of(Message)]
        assert max(len(message) for message in come) == 1_000_000
        peer.core.answer(stream, b"")
        peer.exchange()
        assert peer.status[stream] == 0
    assert peer.budget.used == 0


def test_messages_that_nobody_reads_stop_at_the_window() -> None:
    window = 1 << 16
    peer = Peer(Limits(stream_window=window))
    stream = peer.call(path=STREAM, end=False)
    peer.client.send_data(stream, framed(b"x" * 1_000) * 1_000)
    peer.exchange()
    come = peer.of(Message)
    assert 50 < len(come) <= window // 1_005
    for read in range(1_000):
        event = peer.of(Message)[read]
        peer.core.consumed(stream, event.size)
        peer.exchange()
    assert len(peer.of(Message)) == 1_000
    assert peer.budget.used == 0


@pytest.mark.parametrize("end", ["answered", "refused", "taken back", "wrong"])
def test_the_window_of_the_connection_is_given_back_however_calls_end(end: str) -> None:
    peer = Peer(Limits(connection_window=1 << 16))
    for _ in range(200):
        path = b"/t.S/None" if end == "wrong" else UNARY
        stream = peer.call(framed(b"x" * 1_000), path, end=end != "taken back")
        if end == "answered":
            peer.core.answer(stream, b"")
        elif end == "refused":
            peer.core.end(stream, grpc.StatusCode.NOT_FOUND)
        elif end == "taken back":
            peer.client.reset_stream(stream)
        peer.exchange()
        assert stream in peer.closed
    assert peer.budget.used == 0
    assert peer.client.remote_window_size > 1 << 15


def test_requests_that_are_never_whole_have_a_budget_of_all_and_one_each() -> None:
    limits = Limits(buffered_max=250_000)
    budget = Budget(400_000)
    first, second = Peer(limits, budget), Peer(limits, budget)
    part = framed(b"x" * 200_000)[:-1]
    calls = [(peer, peer.call(part, end=False)) for peer in (first, first, second, second)]
    refused = [peer.status.get(stream) for peer, stream in calls]
    full = CODES["RESOURCE_EXHAUSTED"]
    assert refused == [None, full, None, full] or refused == [None, full, full, full]
    assert budget.used <= budget.limit
    first.core.close()
    second.core.close()
    assert budget.used == 0


def test_a_request_that_takes_too_long_is_ended() -> None:
    peer = Peer(Limits(request_s=5))
    stream = peer.call(framed(b"abc")[:-1], end=False)
    peer.exchange(now_s=4.0)
    peer.core.tick(4.0)
    peer.exchange()
    assert stream not in peer.status
    peer.core.tick(6.0)
    peer.exchange()
    assert peer.status[stream] == CODES["DEADLINE_EXCEEDED"]
    peer.core.tick(8.0)
    peer.exchange()
    assert peer.closed[stream] == 0


def test_a_call_that_is_taken_back_is_told() -> None:
    peer = Peer()
    stream = peer.call(path=STREAM, end=False)
    peer.client.reset_stream(stream)
    peer.exchange()
    assert Gone(stream) in peer.events
    peer.core.send(stream, b"too late")
    peer.core.end(stream, grpc.StatusCode.OK)
    peer.exchange()
    assert not peer.core.over


def test_a_reset_in_the_same_read_as_its_request_is_told_after_it() -> None:
    peer = Peer()
    stream = peer.client.send_request(headers())
    peer.client.send_data(stream, framed(b"a"), end_stream=True)
    sent = peer.client.data_to_send()
    peer.client.reset_stream(stream)
    events = peer.core.receive(sent + peer.client.data_to_send(), 0.0)
    assert [isinstance(event, kind) for event, kind in zip(events, (Begun, Gone), strict=True)] == [True, True]
    peer.core.answer(stream, b"nobody waits")
    peer.core.outgoing()
    assert not peer.core.over


def test_an_answer_waits_for_the_client_and_is_whole_in_the_end() -> None:
    peer = Peer()
    stream = peer.call(framed(b"a"))
    peer.core.answer(stream, b"x" * 500_000)
    peer.exchange()
    assert peer.core.unsent_bytes(stream) > 400_000
    assert stream not in peer.status
    while stream not in peer.status:
        before = len(peer.body[stream])
        peer.client.acknowledge_received_data(before - peer.budget.used, stream) if before else None
        peer.client.set_local_window_size(1 << 24, stream_id=stream)
        peer.client.set_local_window_size(1 << 24)
        peer.exchange()
        assert len(peer.body[stream]) > before
    assert len(peer.body[stream]) == 500_005


def test_who_takes_no_answers_gets_no_further_calls() -> None:
    peer = Peer(Limits(unsent_max=300_000))
    for _ in range(2):
        peer.core.answer(peer.call(framed(b"a")), b"x" * 200_000)
        peer.exchange()
    assert peer.core.unsent.is_too_much()
    assert not peer.core.over


def test_who_takes_nothing_pays_for_it_where_there_is_no_room_in_all() -> None:
    limits = Limits(unsent_alone_max=100_000, unsent_in_all_max=500_000, unread_s=60.0, keepalive_s=1e6)
    idle = [Peer(limits)]
    idle += [Peer(limits, idle[0].budget) for _ in range(2)]
    taking = Peer(limits, idle[0].budget)
    for peer in idle:
        peer.core.answer(peer.call(framed(b"a")), b"x" * 300_000)
        peer.exchange()  # as much as its window lets go
    taking.core.answer(taking.call(framed(b"a")), b"x" * 60_000)
    assert [peer.core.unsent.is_too_much() for peer in (*idle, taking)] == [True, True, True, False]
    taking.exchange()
    for now_s in (59.0, 61.0):
        assert [bool(peer.core.over) for peer in idle] == [False] * 3
        for peer in (*idle, taking):
            peer.core.tick(now_s)
    assert [peer.core.over for peer in (*idle, taking)] == [End.IDLE] * 3 + [None]
    for peer in idle:
        peer.core.close()
    assert taking.budget.unsent == 0
    assert not taking.core.unsent.is_too_much()


@pytest.mark.parametrize("kind", ["ping", "settings", "nothing"])
def test_frames_that_say_nothing_are_borne_for_a_while(kind: str) -> None:
    peer = Peer(Limits(idle_frames=(50, 5.0)))
    stream = peer.call(path=STREAM, end=False)

    def one() -> None:
        if kind == "ping":
            peer.client.ping(b"12345678")
        elif kind == "settings":
            peer.client.update_settings({})
        else:
            peer.events += peer.core.receive(bytes((0, 0, 0, 0, 0)) + stream.to_bytes(4, "big"), peer.core.now_s)
        peer.exchange()

    for second in range(1, 20):
        for _ in range(5):
            one()
        peer.core.tick(float(second))
    assert not peer.core.over
    for _ in range(60):
        one()
    assert peer.core.over is End.FLOOD


def test_a_flood_that_libnghttp2_ends_is_one_for_us_too() -> None:
    """It is past use by the time that we have counted what came in the same read."""
    core = GrpcConnection(Limits(), Budget(1), {UNARY}, {STREAM}, 0.0)
    frame = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    core.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame * 10_000, 0.0)
    assert core.over is End.FLOOD


def test_pings_beside_calls_are_no_flood() -> None:
    """grpc-go sends one with each piece that it gets, to measure the line."""
    peer = Peer(Limits(idle_frames=(50, 5.0)))
    for _ in range(1_000):
        stream = peer.call(framed(b"a"))
        peer.core.answer(stream, b"b")
        peer.client.ping(b"12345678")
        peer.exchange()
    assert not peer.core.over


def test_who_does_not_answer_is_left() -> None:
    peer = Peer(Limits(keepalive_s=10, keepalive_timeout_s=5))
    peer.core.tick(11.0)
    peer.exchange(now_s=11.5)  # it answers
    peer.core.tick(17.0)
    assert not peer.core.over
    peer.core.tick(22.0)
    assert b"livelive" in peer.core.outgoing()
    peer.core.tick(28.0)
    assert peer.core.over is End.IDLE


def test_who_does_not_say_hello_is_left() -> None:
    core = GrpcConnection(Limits(hello_s=10), Budget(1), {UNARY}, {STREAM}, 0.0)
    core.receive(b"PRI * HTTP/2.0\r\n", 1.0)
    core.tick(9.0)
    assert not core.over
    core.tick(11.0)
    assert core.over is End.IDLE


def test_drained_connections_finish_what_is_under_way() -> None:
    peer = Peer()
    stream = peer.call(path=STREAM, end=False)
    peer.core.drain()
    peer.exchange()
    assert peer.goaways == [0]
    assert not peer.client.can_send_request
    assert not peer.core.over
    peer.core.end(stream, grpc.StatusCode.OK)
    peer.exchange()
    assert peer.status[stream] == 0
    assert peer.core.over is End.DRAIN
    assert peer.core.farewell.is_heard


def test_an_aged_connection_drains() -> None:
    peer = Peer(age_s_max=100)
    peer.core.tick(99.0)
    peer.exchange(now_s=99.0)
    assert not peer.core.over
    peer.core.tick(101.0)
    peer.exchange()
    assert peer.core.over is End.AGE
    assert set(peer.goaways) == {0}


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


_BLOCK = b"\x83\x86\x84"
ENDS = {
    "resets": (b"".join(_frame(1, 5, n, _BLOCK) + _frame(3, 0, n, bytes(4)) for n in range(1, 401, 2)), End.FLOOD),
    "headers without an end": (_frame(1, 0, 1, _BLOCK) + _frame(9, 0, 1, b"\x40\1x\1y") * 100, End.FLOOD),
    "priorities": (_frame(2, 0, 1, b"\0\0\0\1\1") * 20_000, End.FLOOD),
    "a ping of no size": (_frame(6, 0, 0, b"1"), End.PROTOCOL),
    "data of no stream": (_frame(0, 0, 1, b"x"), End.PROTOCOL),
    "a stream of the server's": (_frame(1, 5, 2, _BLOCK), End.PROTOCOL),
    "farewell": (_frame(7, 0, 0, bytes(8)), End.CLIENT),
}


@pytest.mark.parametrize("name", ENDS)
def test_it_is_known_why_a_connection_ended(name: str) -> None:
    sent, why = ENDS[name]
    peer = Peer(Limits(resets=(50, 1)))
    peer.core.receive(sent, 1.0)
    peer.core.outgoing()
    assert peer.core.over is why


def test_another_protocol_is_known_as_such_and_a_loss_as_the_clients() -> None:
    core = GrpcConnection(Limits(), Budget(1), {UNARY}, {STREAM}, 0.0)
    core.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1.0)
    assert core.over is End.PROTOCOL
    peer = Peer()
    peer.core.close()
    assert peer.core.over is End.CLIENT


@settings(deadline=None)
@given(st.binary(max_size=2_000))
def test_bytes_of_any_kind_end_a_connection_at_most(data: bytes) -> None:
    peer = Peer()
    peer.core.receive(data, 1.0)
    peer.core.outgoing()
    peer.core.tick(2.0)


@settings(deadline=None)
@given(st.data())
def test_broken_calls_end_a_connection_at_most(data: st.DataObject) -> None:
    """Bytes of a good call, some of them changed."""
    peer = Peer()
    stream = peer.client.send_request(headers(STREAM, {"grpc-timeout": b"5S"}))
    peer.client.send_data(stream, framed(b"abcdefgh") * 3, end_stream=True)
    sent = bytearray(peer.client.data_to_send())
    for _ in range(data.draw(st.integers(1, 6))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    peer.core.receive(bytes(sent), 1.0)
    peer.core.outgoing()
    peer.core.close()
    assert peer.budget.used == 0
