"""Calls of one request and one answer by the clock, whatever comes of those before, as a crowd of clients makes them.

Each call has a deadline at which its client leaves. A call costs this side a few microseconds, so that one process asks
for more than a server can do.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    ErrorCode,
    GoAwayReceived,
    NGH2Error,
    ResponseReceived,
    Role,
    Setting,
    StreamClosed,
    TrailersReceived,
)

#: So many that no one of them resets more streams than a server takes of one client, at what one process can ask for.
_CONNECTIONS = 64
_PACE_S = 0.002
_WINDOW = 1 << 20
#: Calls of one moment, at most: a generator that was held up does not make up for it by a burst.
_AT_ONCE_MAX = 500

OK, LATE, LOST = "OK", "LATE", "LOST"


@dataclass
class Seen:
    """What came of calls that were begun within a stretch of time."""

    begun: int = 0
    #: By status; LATE: its client has left, LOST: with its connection.
    ended: Counter[str] = field(default_factory=Counter)
    #: Of those that ended well: when they were begun, on the monotonic clock, and how long they took.
    answers: list[tuple[float, float]] = field(default_factory=list)

    def p99_ms(self, since_s: float = 0.0, until_s: float = math.inf) -> float:
        """Of calls that were begun then; endless where none was answered."""
        taken = sorted(took_s for begun_s, took_s in self.answers if since_s <= begun_s < until_s)
        return taken[min(len(taken) - 1, int(len(taken) * 0.99))] * 1e3 if taken else math.inf


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, flood: Flood, authority: str, path: str) -> None:
        self._flood = flood
        self._head = (
            (b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()),
            (b":authority", authority.encode()), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
            (b"grpc-timeout", f"{round(flood.deadline_s * 1e3)}m".encode()),
        )  # fmt: skip
        self.begun: dict[int, float] = {}
        self.lost = False
        self._h2 = Connection(
            Role.CLIENT, Configuration(peer_max_concurrent_streams=10_000, stream_reset_rate_limit=(1 << 30, 1 << 30))
        )
        self._h2.initiate_connection({Setting.ENABLE_PUSH: 0, Setting.INITIAL_WINDOW_SIZE: _WINDOW})
        self._h2.set_local_window_size(_WINDOW * 16)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        try:
            self._h2.receive_data(data)
        except NGH2Error:
            self.leaves()
            return
        for event in self._h2.events():
            if isinstance(event, TrailersReceived | ResponseReceived):
                status = dict(event.headers).get(b"grpc-status")
                if status is not None:
                    self._over(event.stream_id, OK if status == b"0" else status.decode())
            elif isinstance(event, StreamClosed):
                self._over(event.stream_id, LOST)
            elif isinstance(event, GoAwayReceived | ConnectionClosed):
                self.leaves()
                return
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.leaves()

    def leaves(self) -> None:
        """Nothing is asked here any more, and what was under way is lost; the flood goes on over another."""
        if self.lost:
            return
        self.lost = True
        self._transport.close()
        for stream_id in list(self.begun):
            self._over(stream_id, LOST)

    def _over(self, stream_id: int, status: str) -> None:
        begun_s = self.begun.pop(stream_id, None)
        if begun_s is not None:
            self._flood.over(begun_s, status)

    def begin(self, request: bytes, now_s: float) -> int:
        """Asks; what is to be sent waits for `flush`."""
        stream_id = int(self._h2.send_request(self._head))
        self._h2.send_data(stream_id, request, end_stream=True)
        self.begun[stream_id] = now_s
        return stream_id

    def leave(self, stream_id: int) -> None:
        """Nobody waits for it any more, if it is under way yet."""
        if stream_id in self.begun:
            self._over(stream_id, LATE)
            self._h2.reset_stream(stream_id, ErrorCode.CANCEL)

    def flush(self) -> None:
        if not self.lost and (data := self._h2.data_to_send()):
            self._transport.write(data)


class Flood:
    """Over its own connections to one server.

    Args:
        requests: Whole messages, asked in turn.
    """

    def __init__(self, address: str, path: str, requests: Sequence[bytes], deadline_s: float = 1.0) -> None:
        self.deadline_s = deadline_s
        self._address, self._path = address, path
        self._requests = [b"\0" + len(each).to_bytes(4, "big") + each for each in requests]
        self._lines: list[_Line] = []
        self._under_way: deque[tuple[float, _Line, int]] = deque()
        self._seen = Seen()
        self._open = self._turn = 0

    async def __aenter__(self) -> Flood:
        for _ in range(_CONNECTIONS):
            self._lines.append(await self._line())
        return self

    async def _line(self) -> _Line:
        host, _, port = self._address.rpartition(":")
        line = _Line(self, self._address, self._path)
        await asyncio.get_running_loop().create_connection(lambda: line, host.strip("[]"), int(port))
        return line

    async def __aexit__(self, *_: object) -> None:
        for line in self._lines:
            line.leaves()

    def over(self, begun_s: float, status: str) -> None:
        """One call is over, as its connection tells."""
        self._open -= 1
        self._seen.ended[status] += 1
        if status == OK:
            self._seen.answers.append((begun_s, time.monotonic() - begun_s))

    async def at_rate(self, per_s: float, seconds: float) -> Seen:
        """So many calls a second, by the clock; returns once all are over."""
        seen = self._seen = Seen()
        begun_s = last_s = time.monotonic()
        owed = 0.0
        while (now_s := time.monotonic()) < begun_s + seconds:
            owed = min(owed + (now_s - last_s) * per_s, _AT_ONCE_MAX)
            last_s = now_s
            await self._begin(int(owed), now_s)
            owed -= int(owed)
            self._leave(now_s)
            await asyncio.sleep(_PACE_S)
        await self._finish()
        return seen

    async def as_fast_as_answered(self, under_way: int, seconds: float) -> Seen:
        """So many calls under way, each followed by another."""
        seen = self._seen = Seen()
        until_s = time.monotonic() + seconds
        while (now_s := time.monotonic()) < until_s:
            await self._begin(under_way - self._open, now_s)
            self._leave(now_s)
            await asyncio.sleep(_PACE_S / 4)
        await self._finish()
        return seen

    async def _begin(self, count: int, now_s: float) -> None:
        for number, line in enumerate(self._lines):
            if line.lost:
                self._lines[number] = await self._line()
        for _ in range(count):
            self._turn += 1
            line = self._lines[self._turn % len(self._lines)]
            stream_id = line.begin(self._requests[self._turn % len(self._requests)], now_s)
            self._under_way.append((now_s, line, stream_id))
            self._open += 1
            self._seen.begun += 1
        self._flush()

    def _leave(self, now_s: float) -> None:
        while self._under_way and now_s - self._under_way[0][0] > self.deadline_s:
            _, line, stream_id = self._under_way.popleft()
            line.leave(stream_id)
        self._flush()

    def _flush(self) -> None:
        for line in self._lines:
            line.flush()

    async def _finish(self) -> None:
        while self._open:
            self._leave(time.monotonic())
            await asyncio.sleep(_PACE_S)
        self._under_way.clear()
