"""How much a peer may make a server hold and do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of a server; times in seconds, sizes in bytes."""

    message_bytes_max: int = 16 << 20
    header_bytes_max: int = 16 << 10
    #: Of one connection, under way.
    calls_max: int = 10_000
    #: Of a stream, and of a connection, that have come and were not read.
    stream_window: int = 1 << 20
    connection_window: int = 16 << 20
    #: Of requests that are not whole or not read: of one connection, of all.
    buffered_max: int = 64 << 20
    buffered_in_all_max: int = 512 << 20
    #: Of answers that wait for one connection's client, before its further calls are refused.
    unsent_max: int = 64 << 20
    #: The same of all connections, and what each may have beside that.
    unsent_in_all_max: int = 512 << 20
    unsent_alone_max: int = 1 << 20
    #: A call that waited so long for its turn is refused, and one that waited for this share of the time that its
    #: caller gives it: nobody would wait for its answer any more, in whose time another one can be answered.
    queue_s_max: float = 5.0
    queue_share_max: float = 0.75
    #: Until a connection has said hello, a request is whole.
    hello_s: float = 10.0
    request_s: float = 60.0
    #: In which a client takes some of what waits for it.
    unread_s: float = 60.0
    #: Without a word from the peer, until it is asked, and until its answer is due; so long it also has to go at a
    #: connection's orderly end.
    keepalive_s: float = 10.0
    keepalive_timeout_s: float = 5.0
    #: Pings, settings and empty frames: so many at once, so many a second after those.
    idle_frames: tuple[int, float] = (100, 5.0)
    #: Calls taken back, likewise.
    resets: tuple[int, int] = (10_000, 1_000)


class Allowance:
    """So many at once, and so many a second after those."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst, self._rate = burst, rate
        self.renew()

    def take(self) -> bool:
        """Takes one; whether there was one."""
        self._left -= 1
        return self._left >= 0

    def renew(self) -> None:
        """As many as at first."""
        self._left = float(self._burst)

    def grow(self, passed_s: float) -> None:
        """Time has passed."""
        self._left = min(self._burst, self._left + max(passed_s, 0.0) * self._rate)


@dataclass
class Budget:
    """Bytes that all connections of a server hold together."""

    limit: int
    used: int = 0
    #: Of answers that wait for their clients.
    unsent: int = 0
