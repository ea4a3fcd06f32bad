"""The connections of a port: how many stand, and how the others ended, as monitors read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class End(StrEnum):
    """Why a connection ended, or was not taken."""

    #: Its client has left.
    CLIENT = "client"
    #: No hello in time, no answer to a ping, or nothing read of what was written to it.
    IDLE = "idle"
    #: It had its time, and was asked to come anew.
    AGE = "age"
    #: The server ends.
    DRAIN = "drain"
    #: More resets, pings, settings or pieces of headers than any honest client sends.
    FLOOD = "flood"
    #: What it sent is no HTTP/2.
    PROTOCOL = "protocol"
    #: A fault of ours; the log has it.
    FAULT = "fault"
    #: There are as many as may be.
    FULL = "full"
    #: No TLS, no certificate that is good, or not for HTTP/2.
    TLS = "tls"

    @property
    def is_orderly(self) -> bool:
        """Nobody has done wrong, and nobody was lost."""
        return self in (End.CLIENT, End.AGE, End.DRAIN)


@dataclass
class Connections:
    """Those of one port, by its name."""

    port: str
    open: int = 0
    ended: dict[End, int] = field(default_factory=lambda: dict.fromkeys(End, 0))


def by_reason(ports: Sequence[Connections]) -> Iterator[tuple[str, End, int]]:
    """Port, why, and how many."""
    for connections in ports:
        for why, count in connections.ended.items():
            yield connections.port, why, count
