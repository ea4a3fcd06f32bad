"""What the admission core is told (events) and what it asks for (actions): see `admission.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from services.pusher.admission.batch import Batch
from services.pusher.fanout.events import KnownOutcome, NodeConfirmed, NodeStands
from services.pusher.lineage.lineage import Door
from services.pusher.log.group_commit import Committed, NotStored, Push
from services.pusher.log.store import Appended
from services.shared.cores import Tick

Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A client pushes. `stream` is the shell's own number for it, never used before; it may be read from at once."""

    stream: int
    #: When the call ends whatever happens; None: never.
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pushed(Generic[Content]):
    """The next message of a stream. The one after it may only come after `ReadOn`."""

    stream: int
    batch: Batch[Content]


@dataclass(frozen=True, slots=True)
class RequestsEnded:
    """The client pushes no more on this stream, and waits for its receipts."""

    stream: int


@dataclass(frozen=True, slots=True)
class ResponseTaken:
    """The transport took the last response: there may be another one."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamGone:
    """The stream is over; nobody waits for its receipts any more."""

    stream: int


@dataclass(frozen=True, slots=True)
class Drain:
    """The pusher is about to end."""


@dataclass(frozen=True, slots=True)
class RoomFound:
    """The log, which was full, has room again."""


AdmissionEvent = (
    StreamOpened
    | Pushed[Content]
    | RequestsEnded
    | ResponseTaken
    | StreamGone
    | Committed
    | NodeConfirmed
    | NodeStands
    | Door
    | RoomFound
    | Drain
    | Tick
)


# --- actions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Append(Generic[Content]):
    """Hand the push to the log, in the order of the actions; `Committed` answers with its number."""

    push: Push[Content]


@dataclass(frozen=True, slots=True)
class ReadOn:
    """The stream's next message may come."""

    stream: int


@dataclass(frozen=True, slots=True)
class Answer(Generic[Content]):
    """What became of a batch: for its receipts.

    Attributes:
        batch: The batch.
        result: Of its well-formed updates. Without any: `Appended` with no positions.
        confirmed: Whether the nodes that were asked for confirmed it in time; None where none were asked for.
        outcomes: What the nodes made of each well-formed update, where they were asked for; else empty.
    """

    batch: Batch[Content]
    result: Appended | NotStored
    confirmed: bool | None = None
    outcomes: Sequence[KnownOutcome] = ()


@dataclass(frozen=True, slots=True)
class Respond(Generic[Content]):
    """Send the receipts of these batches as one message. `ResponseTaken` answers, or `StreamGone`."""

    stream: int
    answers: Sequence[Answer[Content]]


class StreamEnd(Enum):
    """Why a stream ends."""

    #: Every batch of it has its receipts, and no more come.
    DONE = "done"
    #: The pusher is about to end. What has a receipt is durable.
    DRAINING = "draining"
    #: The log must not grow before somebody acts; the message says what to do. What has a receipt is durable.
    CLOSED = "closed"
    #: A message has more updates than are allowed. Those before it have their receipts.
    TOO_MANY_UPDATES = "too_many_updates"
    #: A batch could not be stored for a reason that nobody thought of.
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class EndStream:
    """End the stream. The core has done with it: its events are ignored from now on."""

    stream: int
    why: StreamEnd
    message: str = ""
    #: Of a FAULT.
    error: Exception | None = None


AdmissionAction = Append[Content] | ReadOn | Respond[Content] | EndStream
