"""What a connection tells of its calls."""

from __future__ import annotations

from dataclasses import dataclass

from services.shared.serving.http2.messages import Headers


class Begun:
    """A call has begun; its request is whole where `message` is one, else messages follow."""

    stream_id: int
    path: bytes
    headers: Headers
    timeout_s: float | None = None
    message: bytes | None = None


@dataclass(slots=True)
class Message:
    """A further message of a call, with the bytes to give to `consumed` once it is read."""

    stream_id: int
    message: bytes
    size: int


@dataclass(slots=True)
class HalfClosed:
    """The client has sent all of its messages."""

    stream_id: int


@dataclass(slots=True)
class Gone:
    """Nobody waits for the call's answer any more."""

    stream_id: int


Event = Begun | Message | HalfClosed | Gone
