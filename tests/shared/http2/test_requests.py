"""What a request has to be: what is taken, and what is refused, with which status and words."""

from __future__ import annotations

import pytest

from services.shared.serving.http2.events import Begun
from services.shared.serving.http2.limits import Limits
from tests.shared.http2.peer import CODES, Peer, framed, packed

WRONG: dict[str, tuple[bytes, dict[str, bytes], str]] = {
    "no message": (b"", {}, "UNIMPLEMENTED"),
    "two messages": (framed(b"a") + framed(b"b"), {}, "UNIMPLEMENTED"),
    "a message that is cut": (framed(b"abc")[:-1], {}, "INTERNAL"),
    "a head that is cut": (b"\0\0", {}, "INTERNAL"),
    "compressed, and not said": (framed(b"a", flag=1), {}, "INTERNAL"),
    "no flag": (framed(b"a", flag=2), {"grpc-encoding": b"gzip"}, "INTERNAL"),
    "no gzip": (framed(b"not gzip", flag=1), {"grpc-encoding": b"gzip"}, "INTERNAL"),
    "gzip that is cut": (framed(packed(b"a")[:-3], flag=1), {"grpc-encoding": b"gzip"}, "INTERNAL"),
    "more than one gzip": (framed(packed(b"a") + packed(b"b"), flag=1), {"grpc-encoding": b"gzip"}, "INTERNAL"),
    "large once unpacked": (framed(packed(b"a" * 2_000), 1), {"grpc-encoding": b"gzip"}, "RESOURCE_EXHAUSTED"),
    "large": (framed(b"a" * 2_000), {}, "RESOURCE_EXHAUSTED"),
    "large by its head": (b"\0\xff\xff\xff\xff", {}, "RESOURCE_EXHAUSTED"),
    "an encoding that nobody has": (framed(b"a"), {"grpc-encoding": b"snappy"}, "UNIMPLEMENTED"),
    "a timeout without a unit": (framed(b"a"), {"grpc-timeout": b"5"}, "INTERNAL"),
    "a timeout too long": (framed(b"a"), {"grpc-timeout": b"123456789S"}, "INTERNAL"),
    "a timeout below 0": (framed(b"a"), {"grpc-timeout": b"-1S"}, "INTERNAL"),
    "a method that is not there": (framed(b"a"), {":path": b"/t.S/None"}, "UNIMPLEMENTED"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_call_may_be(name: str) -> None:
    data, more, code = WRONG[name]
    peer = Peer(Limits(message_bytes_max=1_000))
    stream = peer.call(data, more=more)
    assert peer.of(Begun) == []
    assert peer.status[stream] == CODES[code]
    assert peer.closed[stream] == 0
    good = peer.call(framed(b"still"))
    assert [event.stream_id for event in peer.of(Begun)] == [good]
    assert peer.budget.used == 0


def test_what_is_wrong_with_a_call_is_told_with_the_mend() -> None:
    peer = Peer()
    for more, details in (
        ({"grpc-timeout": b"-1S"}, 'grpc-timeout "-1S" is not a time: send 1 to 8 digits and one of H M S m u n'),
        ({"grpc-encoding": b"br"}, 'grpc-encoding "br" is not known here: send one of identity, deflate, gzip'),
    ):
        assert peer.details[peer.call(framed(b"a"), more=more)] == details
    assert "name its encoding" in peer.details[peer.call(framed(b"a", flag=1))]
    assert "byte 2" in peer.details[peer.call(framed(b"a", flag=2))]


@pytest.mark.parametrize("kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"])
def test_what_grpc_is_named(kind: bytes) -> None:
    peer = Peer()
    peer.call(framed(b"a"), more={"content-type": kind})
    assert len(peer.of(Begun)) == 1


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("content-type", b"text/html", 415),
        ("content-type", b"application/grpc-web", 415),
        ("content-type", b"application/grpcx", 415),
        (":method", b"GET", 405),
    ],
)
def test_what_is_not_grpc_is_told_in_http(name: str, value: bytes, status: int) -> None:
    peer = Peer()
    stream = peer.call(framed(b"a"), more={name: value})
    assert peer.status[stream] == -status


@pytest.mark.parametrize(
    ("text", "seconds"), [(b"1H", 3_600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9)]
)
def test_a_timeout_is_read(text: bytes, seconds: float) -> None:
    peer = Peer()
    peer.call(framed(b"a"), more={"grpc-timeout": text})
    (begun,) = peer.of(Begun)
    assert begun.timeout_s == pytest.approx(seconds)
