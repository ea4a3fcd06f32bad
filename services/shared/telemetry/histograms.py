"""How often something was how large: a few additions for each, and the newest traced one of each range as example."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.core import Exemplar


class Histogram:
    """Noted by one thread, read by any.

    Args:
        bounds: Ends of the ranges, ascending; what is above the last one comes last.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        #: By range: the trace's id, the value, and when it was.
        self.examples: dict[int, tuple[int, float, float]] = {}

    def note(self, value: float, trace_id: int = 0) -> None:
        """One more. `trace_id`: of the trace that it is in; 0: none."""
        place = bisect_left(self.bounds, value)
        self.counts[place] += 1
        self.sum += value
        if trace_id:
            self.examples[place] = (trace_id, value, time.time())

    def copy(self) -> Histogram:
        """As it is now; nothing changes it any more."""
        found = Histogram(self.bounds)
        found.add(self)
        return found

    def add(self, other: Histogram) -> None:
        """Takes the other's in, which has the same bounds."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum
        self.examples |= other.examples

    def buckets(self) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """As Prometheus has them: each with those below it."""
        names = [*map(str, self.bounds), "+Inf"]
        found: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for place, (name, count) in enumerate(zip(names, accumulate(self.counts), strict=True)):
            example = self._example(place)
            found.append((name, count) if example is None else (name, count, example))
        return found

    def _example(self, place: int) -> Exemplar | None:
        found = self.examples.get(place)
        return None if found is None else Exemplar({"trace_id": f"{found[0]:032x}"}, found[1], found[2])
