"""What `make h2spec` looks at, where it was mended or is answered otherwise: bytes in, bytes out."""

from __future__ import annotations

import grpc
import pytest
from ngh2 import ErrorCode

from services.shared.serving.connections import End
from services.shared.serving.http2.connection import GrpcConnection
from services.shared.serving.http2.events import Begun
from services.shared.serving.http2.limits import Budget, Limits
from tests.shared.http2.peer import STREAM, UNARY, Peer, framed, headers

_MIB = 1 << 20


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _answered() -> tuple[Peer, int]:
    """A peer, and a stream of it that is closed."""
    peer = Peer()
    stream = peer.call(framed(b"a"))
    peer.core.answer(stream, b"b")
    peer.exchange()
    assert peer.closed[stream] == 0
    return peer, stream


@pytest.mark.parametrize(
    ("method", "kind", "status"), [("GET", "", 405), ("HEAD", "", 405), ("PUT", "", 405), ("POST", "text/html", 415)]
)
def test_who_does_not_speak_grpc_is_told(method: str, kind: str, status: int) -> None:
    peer = Peer()
    fields = {":method": method.encode()} | ({"content-type": kind.encode()} if kind else {})
    stream = peer.client.send_request(headers(more=fields), end_stream=True)
    peer.exchange()
    assert peer.status[stream] == -status
    assert (b"application/grpc" in peer.body[stream]) == (method != "HEAD")
    assert peer.closed[stream] == 0
    assert peer.of(Begun) == []


def test_who_does_not_speak_grpc_need_not_send_the_rest() -> None:
    peer = Peer()
    stream = peer.call(bytes(100), more={":method": b"PUT"}, end=False)
    assert peer.status[stream] == -405
    assert peer.body[stream]
    peer.core.tick(2.0)
    peer.exchange()
    assert peer.closed[stream] == 0


@pytest.mark.parametrize("known", [False, True])
def test_one_stream_more_than_may_be_is_refused(known: bool) -> None:
    """It costs the connection once its client has said that it knows the number."""
    core = GrpcConnection(Limits(calls_max=3), Budget(1), {UNARY}, {STREAM}, 0.0)
    core.outgoing()
    core.receive(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + (_frame(4, 1, 0) if known else b""), 1.0)
    block = b"\x83\x86\x41\x01x\x44" + bytes((len(STREAM),)) + STREAM + b"\x5f\x10application/grpc"
    sent = b"".join(_frame(1, 4, number, block) for number in (1, 3, 5, 7))
    events = core.receive(sent, 1.0)
    assert [event.stream_id for event in events if isinstance(event, Begun)] == [1, 3, 5]
    refused = _frame(3, 0, 7, int(ErrorCode.REFUSED_STREAM).to_bytes(4, "big"))
    assert (refused in core.outgoing()) != known
    assert core.over is (End.PROTOCOL if known else None)


def test_late_data_is_passed_over_and_its_window_given_back() -> None:
    peer, stream = _answered()
    late = _frame(0, 0, stream, bytes(16_384)) * 64
    for _ in range(40):  # more than the connection's window
        assert peer.core.receive(late, 1.0) == []
        peer.core.outgoing()
    assert not peer.core.over
    assert peer.budget.used == 0
    again = peer.call(framed(bytes(_MIB)))
    assert peer.of(Begun)[-1].stream_id == again


def test_late_headers_are_passed_over_and_what_they_say_to_the_decoder_is_kept() -> None:
    peer, stream = _answered()
    block = b"\x83\x86\x84\x41\x01x\x40\x03x-a\x01b"
    assert peer.core.receive(_frame(1, 5, stream, block), 1.0) == []
    fresh = b"\x83\x86\x41\x01x\x04" + bytes((len(STREAM),)) + STREAM + b"\x0f\x10\x10application/grpc\xbf"
    (begun,) = peer.core.receive(_frame(1, 4, stream + 2, fresh), 1.0)
    assert isinstance(begun, Begun)
    assert (b"x-a", b"b") in begun.headers


def test_a_stream_s_window_that_is_too_large_ends_the_connection() -> None:
    peer = Peer()
    stream = peer.call(path=STREAM, end=False)
    peer.core.receive(_frame(8, 0, stream, b"\x7f\xff\xff\xff") * 2, 1.0)
    sent = peer.core.outgoing()
    assert _frame(7, 0, 0)[3:4] in sent
    assert int(ErrorCode.FLOW_CONTROL_ERROR).to_bytes(4, "big") in sent
    assert peer.core.over


def test_early_answers_end_what_the_client_still_sends() -> None:
    """A little later: a reset that meets what grpcio's client is sending hides the status from its program."""
    peer = Peer()
    stream = peer.call(path=STREAM, end=False)
    peer.core.end(stream, grpc.StatusCode.NOT_FOUND, "no ä%\n")
    peer.exchange()
    assert peer.status[stream] == grpc.StatusCode.NOT_FOUND.value[0]
    assert peer.details[stream] == "no %C3%A4%25%0A"
    peer.say(stream, framed(b"on its way"))
    peer.core.tick(0.5)
    peer.exchange()
    assert stream not in peer.closed
    peer.core.tick(1.5)
    peer.exchange()
    assert peer.closed[stream] == 0
