"""What comes by a connection before it is a message: frames, heads, and what messages are cut into."""

from __future__ import annotations

from functools import partial

import grpc
from ngh2 import Configuration, Connection, Role

from services.shared.serving.http2.connection import GrpcConnection
from services.shared.serving.http2.events import Begun, HalfClosed, Message
from services.shared.serving.http2.limits import Budget, Limits
from services.shared.serving.http2.messages import (
    CallError,
    MessageReader,
    check_encoding,
    is_grpc,
    parse_timeout_s,
    read_metadata,
    read_status,
)
from services.shared.serving.http2.outgoing import OutgoingCall
from services.shared.telemetry.context import of_bytes, of_traceparent
from tests.fuzz.target import Run, Target, pieces
from tests.shared.http2.peer import STREAM, UNARY, framed, headers, packed

_LIMITS = Limits()
#: A call may make the server hold this, and frames of it.
_HELD_MAX = 4 << 20


def _server() -> Run:
    def run(data: bytes) -> None:
        budget = Budget(_LIMITS.buffered_in_all_max)
        core = GrpcConnection(_LIMITS, budget, {UNARY}, {STREAM}, 0.0, 10.0)
        now_s = 0.0
        for piece in pieces(data):
            now_s += 0.5
            if core.over is not None:
                break
            for event in core.receive(piece, now_s):
                match event:
                    case Begun() if event.message is not None:
                        core.answer(event.stream_id, event.message)
                    case Message():
                        core.consumed(event.stream_id, event.size)
                        core.send(event.stream_id, event.message)
                    case HalfClosed():
                        core.end(event.stream_id, grpc.StatusCode.OK)
            core.tick(now_s)
            assert len(core.outgoing()) < _HELD_MAX
        core.drain()
        core.outgoing()
        core.close()
        assert budget.used == 0

    return run


def _our_call() -> OutgoingCall:
    return OutgoingCall("localhost", STREAM, _LIMITS, 0.0)


def _call_of_ours() -> Run:
    def run(data: bytes) -> None:
        core = _our_call()
        core.send(b"hello")
        core.outgoing()
        for now_s, piece in enumerate(pieces(data)):
            core.receive(piece, float(now_s))
            core.messages.clear()
            core.tick(float(now_s))
            core.outgoing()

    return run


def _messages(encoding: bytes) -> Run:
    def run(data: bytes) -> None:
        reader = MessageReader(encoding, 1 << 16)
        for piece in pieces(data):
            for message, _ in reader.take(piece):
                assert len(message) <= 1 << 16
            assert reader.held_bytes <= (1 << 16) + 5 + 256

    return run


def _heads() -> Run:
    def run(data: bytes) -> None:
        parts = data.split(b"\n")
        fields = tuple(zip(parts[::2], parts[1::2], strict=False))
        read_metadata(fields)
        read_status(fields)
        read_status(((b"grpc-status", parts[0]), (b"grpc-message", parts[-1])))
        is_grpc(data)
        text = data.decode("latin-1")
        of_traceparent(text)
        of_bytes(data)
        check_encoding(parts[0])
        assert parse_timeout_s(parts[-1]) >= 0

    return run


def _said() -> list[bytes]:
    """What clients of gRPC say, whole."""
    whole = []
    for path, body in ((UNARY, framed(b"hello")), (STREAM, framed(b"a") * 3)):
        client = Connection(Role.CLIENT, Configuration(auto_window_update=False))
        client.initiate_connection({})
        client.send_data(client.send_request(headers(path, {"grpc-timeout": b"5S"})), body, end_stream=True)
        whole.append(b"\x00" + client.data_to_send())
    return whole


def _answered() -> list[bytes]:
    """What a server answers."""
    core = GrpcConnection(_LIMITS, Budget(_LIMITS.buffered_in_all_max), {UNARY}, {STREAM}, 0.0)
    call = _our_call()
    call.send(b"hello")
    said = b""
    for _ in range(3):
        for event in core.receive(call.outgoing(), 0.0):
            if isinstance(event, Message):
                core.send(event.stream_id, b"world")
                core.end(event.stream_id, grpc.StatusCode.ABORTED, "why not")
        data = core.outgoing()
        said += data
        call.receive(data, 0.0)
    return [b"\x00" + said]


TARGETS = [
    Target("http2.server", _server, (), _said, 8_192),
    Target("http2.call", _call_of_ours, (), _answered, 8_192),
    Target("http2.messages", partial(_messages, b"identity"), (CallError,), lambda: [b"\x05" + framed(b"hello") * 3]),
    Target(
        "http2.messages-packed",
        partial(_messages, b"gzip"),
        (CallError,),
        lambda: [b"\x05" + framed(packed(b"a" * 99), 1)],
    ),
    Target(
        "http2.heads",
        _heads,
        (CallError,),
        lambda: [b"gzip\n5S", b"identity\n100m", b"x-bin\nAAAA,BBB\n00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\n8u"],
    ),
]
