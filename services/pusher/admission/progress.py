"""What the admission core keeps of each batch and each stream: see `admission.py`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic

from services.pusher.admission.batch import Batch, Content
from services.pusher.admission.budget import Budget
from services.pusher.admission.events import EndStream
from services.pusher.log.group_commit import NotStored
from services.pusher.log.store import Appended


class Reading(Enum):
    """Whether the next message of a stream may come."""

    OPEN = "open"
    #: Its last one waits for the stream's own budget, or for the common one.
    HELD = "held"
    QUEUED = "queued"
    #: No more come.
    ENDED = "ended"


@dataclass(slots=True)
class PushedBatch(Generic[Content]):
    """A batch from its admission until it is answered."""

    #: Grows with each admission, over all streams: the order in which the log gets them.
    number: int
    stream: int
    batch: Batch[Content]
    #: What it took of both budgets (without well-formed updates: of its stream's alone).
    cost: int
    #: What the log made of it; None until then.
    result: Appended | NotStored | None = None
    #: Where nodes were asked for: the last position that they have to confirm (0: none), until when, and whether.
    last_position: int = 0
    deadline_s: float = 0.0
    confirmed: bool | None = None


@dataclass(slots=True)
class PushStream(Generic[Content]):
    """One client's stream."""

    number: int
    #: When the call ends whatever happens.
    deadline_s: float | None
    #: Taken: the sum of the costs in `owed`.
    budget: Budget
    reading: Reading = Reading.OPEN
    #: The batch that waits for budget: there while `reading` is HELD or QUEUED, and only then.
    held: Batch[Content] | None = None
    #: Admitted and not answered, in order.
    owed: deque[PushedBatch[Content]] = field(default_factory=deque)
    #: A response is under way.
    responding: bool = False
    #: How it ends once nothing is owed; None while more may come.
    end: EndStream | None = None

    def problem(self) -> str:
        """What does not hold by itself; empty where all does."""
        numbers = [pushed.number for pushed in self.owed]
        if numbers != sorted(set(numbers)):
            return f"owes receipts out of order: {numbers}"
        if self.budget.taken != sum([pushed.cost for pushed in self.owed]):
            return f"took {self.budget.taken} of its budget, and owes {[pushed.cost for pushed in self.owed]}"
        if self.budget.taken > self.budget.updates_max and len(self.owed) > 1:
            return "took more than its budget for more than one batch"
        if (self.held is not None) != (self.reading in (Reading.HELD, Reading.QUEUED)):
            return f"holds {self.held}, and reading is {self.reading}"
        if (self.end is not None) != (self.reading is Reading.ENDED):
            return f"reading is {self.reading}, and it ends by {self.end}"
        if self.end is not None and not self.owed and not self.responding:
            return "has nothing left to do, and is still here"
        return ""


@dataclass(slots=True)
class PushCounts:
    """What became of answered updates since the start."""

    taken: int = 0
    duplicates: int = 0
    malformed: int = 0
    conflicts: int = 0
    refused: int = 0
    unconfirmed: int = 0
