"""The calls of a server: how often each ended in which way, how long it took, how many are under way.

Counted for every call, so no more is done than a few additions; whoever asks for the figures adds them up.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from services.shared.telemetry.histograms import Histogram

if TYPE_CHECKING:
    from services.shared.telemetry.calls import CallSpans

#: Ends of the ranges that times are counted in, in seconds.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Calls:
    """Those of one server."""

    def __init__(self, spans: CallSpans | None = None) -> None:
        #: Those of the calls that are traced; None: none is.
        self.spans = spans
        #: By call and code, such as ("GetMember", "OK").
        self.ended: dict[tuple[str, str], Histogram] = {}
        #: By call, its full name, such as "fasttree.v1.ReportService/GetMember".
        self.full_names: dict[str, str] = {}
        #: By call; a stream counts until its end.
        self.open: Counter[str] = Counter()

    def name_of(self, path: str) -> str:
        """What a call of that path is named here."""
        name = path.rpartition("/")[2]
        self.full_names[name] = path[1:]
        return name

    def begin(self, call: str) -> float:
        """Returns what `end` is to be given."""
        self.open[call] += 1
        return time.perf_counter()

    def end(self, call: str, code: str, begun: float, trace_id: int = 0) -> None:
        """Notes that it is over, with the name of its status. `trace_id`: where it is traced."""
        self.open[call] -= 1
        self.note(call, code, begun, trace_id)

    def note(self, call: str, code: str, begun: float, trace_id: int = 0) -> None:
        """The same of a call that was never under way: it was answered as it came."""
        took_s = time.perf_counter() - begun
        times = self.ended.get((call, code))
        if times is None:
            times = self.ended[call, code] = Histogram(BOUNDS_S)
        times.note(took_s, trace_id)


def ended(servers: Iterable[Calls]) -> Mapping[tuple[str, str], Histogram]:
    """Of several servers together."""
    found: dict[tuple[str, str], Histogram] = {}
    for calls in servers:
        for key, times in calls.ended.items():
            found.setdefault(key, Histogram(BOUNDS_S)).add(times)
    return found


def under_way(servers: Iterable[Calls]) -> Mapping[str, float]:
    """Of several servers together, by call."""
    found: Counter[str] = Counter()
    for calls in servers:
        found.update(calls.open)  # where a sum would leave out those that are none now
    return found
