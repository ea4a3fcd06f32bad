"""Spans as they are told: plain values in a bounded queue, which a thread of its own empties (`sending.py`)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from services.shared.telemetry.context import TraceContext

Value = str | int | float | bool
#: Links of one span at most.
LINKS_MAX = 128


class Kind(IntEnum):
    """As OTLP counts them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Span(NamedTuple):
    """One that has ended. Times are of the wall clock, in nanoseconds."""

    name: str
    kind: Kind
    context: TraceContext
    #: 0: it has none.
    parent_id: int
    begun_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    links: Sequence[TraceContext] = ()
    #: Why it failed, in a few words; empty: it did not.
    error: str = ""


@dataclass
class SpanCounts:
    """Of a process, since its start."""

    told: int = 0
    #: The queue was full.
    dropped: int = 0
    sent: int = 0
    #: The collector did not take them in time.
    lost: int = 0


class SpanQueue:
    """Spans that wait to be sent. `add` from any thread; it never waits."""

    def __init__(self, spans_max: int, batch_max: int) -> None:
        self._waiting: deque[Span] = deque()
        self._spans_max, self._batch_max = spans_max, batch_max
        #: Set where a batch is full, or the end has come.
        self.wanted = threading.Event()
        self.counts = SpanCounts()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, span: Span) -> None:
        """Takes it, or drops it where too many wait."""
        self.counts.told += 1
        if len(self._waiting) >= self._spans_max:
            self.counts.dropped += 1
            return
        self._waiting.append(span)
        if len(self._waiting) >= self._batch_max and not self.wanted.is_set():
            self.wanted.set()

    def take(self) -> list[Span]:
        """The oldest, a batch of them at most. For one thread."""
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(self._batch_max, len(waiting)))]
