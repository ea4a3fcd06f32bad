"""What one reading of all figures has; and how one waits for the thread that sends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from services.shared.telemetry.histograms import Histogram
from services.shared.telemetry.spans import Value

#: Ends of names that say the unit, as OpenTelemetry writes units.
_UNITS = {"_seconds": "s", "_bytes": "By", "_percent": "%"}


class Kind(Enum):
    """What a figure is."""

    #: It goes up and down.
    GAUGE = "gauge"
    #: It only grows.
    SUM = "sum"
    HISTOGRAM = "histogram"


class Point(NamedTuple):
    """One value of a figure, or one histogram, which nobody changes any more."""

    attributes: Mapping[str, Value]
    value: float | Histogram


class Figure(NamedTuple):
    """All values of one figure."""

    name: str
    description: str
    kind: Kind
    points: Sequence[Point]
    #: As OpenTelemetry writes it; empty: none.
    unit: str = ""


class Reading(NamedTuple):
    """All figures at one time. Times are of the wall clock, in nanoseconds."""

    figures: Sequence[Figure]
    #: Since when sums and histograms count.
    begun_ns: int
    read_ns: int


def unit_of(name: str) -> str:
    """Of a figure of that name."""
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


@dataclass
class ReadingCounts:
    """Of a process, since its start."""

    sent: int = 0
    #: The collector did not take them in time.
    lost: int = 0
    #: A newer one came before they were sent.
    replaced: int = 0


class NewestReading:
    """The one that waits. `put` is the event loop's, `take` the sending thread's; neither waits."""

    def __init__(self, interval_s: float) -> None:
        #: How often one is to come, in seconds.
        self.interval_s = interval_s
        #: At most one. A list, whose `pop` is one step for all threads.
        self._waiting: list[Reading] = []
        self.counts = ReadingCounts()

    def put(self, reading: Reading) -> None:
        """In the place of the one that waits."""
        if self.take() is not None:
            self.counts.replaced += 1
        self._waiting.append(reading)

    def take(self) -> Reading | None:
        """The one that waits."""
        try:
            return self._waiting.pop()
        except IndexError:
            return None

    def counted(self) -> dict[str, float]:
        """Readings by what became of them."""
        return vars(self.counts).copy()
