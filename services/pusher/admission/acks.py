"""Which pushed updates have got far enough for their receipts: the acknowledgement levels, without any I/O.

The rules
---------
A *wait* is a run of durable positions for which a client asked to be told when one node, or all healthy nodes, have it.

1. *One node*: some node confirmed the last position of the wait.
2. *All nodes*: every healthy node has confirmed it, and there is a healthy one. Healthy: its stream stands, and it
   had everything at some time since the stream began. A node that leaves is no longer waited for; one that comes back
   counts again once it has caught up. So "all" never means less than one.
3. A wait that is not over at its deadline is over as *not reached*: its updates are durable, and the receipt says so.
4. What the nodes made of updates (held, rejected) is kept for the last `outcomes_max` of them. A position that was
   confirmed since this process began, and of which nothing else was said, was applied. Of an older one nothing is
   known.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum

from services.pusher.fanout.events import KnownOutcome, NodeConfirmed, NodeStands
from services.shared.cores import Tick


class AcksBrokenError(Exception):
    """A rule above was broken: a fault of the program."""


class AckRange(Enum):
    """How many nodes have to confirm."""

    ONE_NODE = "one_node"
    ALL_NODES = "all_nodes"


@dataclass(frozen=True, slots=True)
class WaitBegun:
    """A client waits for everything up to `last_position`. `ticket` is the caller's own, unique while it waits."""

    ticket: int
    last_position: int
    ack_range: AckRange
    deadline_s: float


@dataclass(frozen=True, slots=True)
class WaitGivenUp:
    """The client went away."""

    ticket: int


AckEvent = WaitBegun | WaitGivenUp | NodeConfirmed | NodeStands | Tick


@dataclass(frozen=True, slots=True)
class WaitOver:
    """The wait is over: reached, or not in time."""

    ticket: int
    reached: bool


class Acks:
    """The acknowledgement core: events in, finished waits out."""

    def __init__(self, *, position: int, outcomes_max: int = 65_536) -> None:
        """`position`: the log's end at the start. Of what came before it, outcomes are not known."""
        self._outcomes_after = position
        self._outcomes_max = outcomes_max
        self._outcomes: OrderedDict[int, KnownOutcome] = OrderedDict()
        #: Healthy nodes, with the last position that each confirmed.
        self._healthy: dict[str, int] = {}
        #: The highest position that any node ever confirmed.
        self._confirmed = 0
        #: Waits that are not over. Each also stands in the heap of its range and in that of the deadlines; those that
        #: are over are dropped from the heaps when they come to the top.
        self._waits: dict[int, WaitBegun] = {}
        self._by_position: dict[AckRange, list[tuple[int, int]]] = {each: [] for each in AckRange}
        self._by_deadline: list[tuple[float, int]] = []

    @property
    def deadline_s(self) -> float | None:
        """When the next wait is over; None while nobody waits."""
        return self._by_deadline[0][0] if self._by_deadline else None

    def handle(self, event: AckEvent, now_s: float) -> list[WaitOver]:
        """Takes one event."""
        match event:
            case Tick():
                return self._late(now_s)
            case WaitBegun():
                if event.ticket in self._waits:
                    raise AcksBrokenError(f"ticket {event.ticket} waits already")
                self._waits[event.ticket] = event
                heapq.heappush(self._by_position[event.ack_range], (event.last_position, event.ticket))
                heapq.heappush(self._by_deadline, (event.deadline_s, event.ticket))
            case WaitGivenUp(ticket):
                self._waits.pop(ticket, None)
            case NodeConfirmed(node, position, not_applied):
                for at, outcome in not_applied:
                    self._keep(at, outcome)
                self._confirmed = max(self._confirmed, position)
                if node in self._healthy:
                    self._healthy[node] = max(self._healthy[node], position)
            case NodeStands():
                self._healthy.pop(event.node, None)
                if event.in_step:
                    self._healthy[event.node] = event.applied_position
                    if event.applied_position > self._confirmed:
                        # It said that it stands there, and not what became of the updates up to there.
                        self._confirmed = event.applied_position
                        self._outcomes_after = max(self._outcomes_after, event.applied_position)
        return self._reached()

    def _late(self, now_s: float) -> list[WaitOver]:
        """The waits whose deadline has passed."""
        over: list[WaitOver] = []
        while self._by_deadline and self._by_deadline[0][0] <= now_s:
            ticket = heapq.heappop(self._by_deadline)[1]
            if self._waits.pop(ticket, None) is not None:
                over.append(WaitOver(ticket, reached=False))
        return over

    def outcome(self, position: int) -> KnownOutcome:
        """What the nodes made of the update at `position`, as far as it is known."""
        if position <= self._outcomes_after or position > self._confirmed:
            return KnownOutcome.UNKNOWN
        return self._outcomes.get(position, KnownOutcome.APPLIED)

    @property
    def waiting(self) -> int:
        """Waits that are not over."""
        return len(self._waits)

    def level(self, ack_range: AckRange) -> int:
        """The highest position for which a wait of this range would be over."""
        if ack_range is AckRange.ONE_NODE:
            return self._confirmed
        return min(self._healthy.values(), default=0)

    def _reached(self) -> list[WaitOver]:
        over: list[WaitOver] = []
        for ack_range, heap in self._by_position.items():
            level = self.level(ack_range)
            while heap and (heap[0][0] <= level or heap[0][1] not in self._waits):
                ticket = heapq.heappop(heap)[1]
                if self._waits.pop(ticket, None) is not None:
                    over.append(WaitOver(ticket, reached=True))
        if not self._waits:
            self._by_deadline.clear()  # all of them are over: the heap must not grow with a busy client
        return over

    def _keep(self, position: int, outcome: KnownOutcome) -> None:
        self._outcomes[position] = outcome
        while len(self._outcomes) > self._outcomes_max:
            # Forgotten ones must not look applied afterwards.
            self._outcomes_after = max(self._outcomes_after, self._outcomes.popitem(last=False)[0])

    def validate(self) -> None:
        """Raises `AcksBrokenError` if a rule of this file does not hold."""
        for wait in self._waits.values():
            if wait.last_position <= self.level(wait.ack_range):
                raise AcksBrokenError(f"ticket {wait.ticket} waits for {wait.last_position}, which is confirmed")
        if len(self._outcomes) > self._outcomes_max:
            raise AcksBrokenError("more outcomes are kept than allowed")
