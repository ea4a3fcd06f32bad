"""The calls of a server: how often each ended in which way, how long it took, how many are under way.

Counted for every call, so no more is done than a few additions; whoever asks for the figures adds them up.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.shared.telemetry.calls import CallSpans

#: Ends of the ranges that times are counted in, in seconds.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass
class Times:
    """How many took how long."""

    #: By range; what is above the last bound comes last.
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, other: Times) -> None:
        """Takes the other's in."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s


class Calls:
    """Those of one server."""

    def __init__(self, spans: CallSpans | None = None) -> None:
        #: Those of the calls that are traced; None: none is.
        self.spans = spans
        #: By call and code, such as ("GetMember", "OK").
        self.ended: dict[tuple[str, str], Times] = {}
        #: By call; a stream counts until its end.
        self.open: Counter[str] = Counter()

    def begin(self, call: str) -> float:
        """Returns what `end` is to be given."""
        self.open[call] += 1
        return time.perf_counter()

    def end(self, call: str, code: str, begun: float) -> None:
        """Notes that it is over, with the name of its status."""
        self.open[call] -= 1
        self.note(call, code, begun)

    def note(self, call: str, code: str, begun: float) -> None:
        """The same of a call that was never under way: it was answered as it came."""
        took_s = time.perf_counter() - begun
        times = self.ended.get((call, code))
        if times is None:
            times = self.ended[call, code] = Times()
        times.counts[bisect_left(BOUNDS_S, took_s)] += 1
        times.sum_s += took_s


def ended(servers: Iterable[Calls]) -> Mapping[tuple[str, str], Times]:
    """Of several servers together."""
    found: dict[tuple[str, str], Times] = {}
    for calls in servers:
        for key, times in calls.ended.items():
            found.setdefault(key, Times()).add(times)
    return found


def under_way(servers: Iterable[Calls]) -> Mapping[str, float]:
    """Of several servers together, by call."""
    found: Counter[str] = Counter()
    for calls in servers:
        found.update(calls.open)  # where a sum would leave out those that are none now
    return found
