"""One message of updates, checked: what of it is for the log, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from fasttree.v1 import pusher_pb2
from services.pusher.admission.acks import AckRange
from services.shared.domain.updates import size_problem, update_problem
from services.shared.wire.record import content_bytes

Content = TypeVar("Content")

#: Most updates in one message, and most receipts.
MESSAGE_UPDATES_MAX = 1000
#: An update that is longer than this costs as much as several, so that a budget bounds memory too.
_COST_BYTES = 512

_RANGES = {pusher_pb2.ACK_LEVEL_ONE_NODE: AckRange.ONE_NODE, pusher_pb2.ACK_LEVEL_ALL_NODES: AckRange.ALL_NODES}


class Malformed(NamedTuple):
    """An update that is not for the log, whatever the tree."""

    update_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class Batch(Generic[Content]):
    """One message.

    Attributes:
        updates: How many came in it.
        update_ids, contents: Of the well-formed ones, in order.
        size_bytes: Of all `contents`.
        ack_range: How many nodes have to confirm before the receipts go; None: none.
        malformed: The others, by their index in the message.
    """

    updates: int
    update_ids: Sequence[str]
    contents: Sequence[Content]
    size_bytes: int
    ack_range: AckRange | None
    malformed: Mapping[int, Malformed]

    @property
    def cost(self) -> int:
        """What it takes of a budget."""
        return max(1, self.updates, self.size_bytes // _COST_BYTES)


def batch_of(request: pusher_pb2.PushUpdatesRequest) -> Batch[bytes]:
    """Checks every update. This and `receipts.py` are the pusher's hottest code: microseconds an update."""
    updates = request.updates
    update_ids: list[str] = []
    contents: list[bytes] = []
    malformed: dict[int, Malformed] = {}
    if len(updates) <= MESSAGE_UPDATES_MAX:  # the core takes none of a message with more
        for index, update in enumerate(updates):
            problem = update_problem(update)
            if problem is None:
                content = content_bytes(update)
                problem = size_problem(len(content))
                if problem is None:
                    update_ids.append(update.update_id)
                    contents.append(content)
                    continue
            malformed[index] = Malformed(update.update_id, problem)
    size_bytes = sum(map(len, contents))
    return Batch(len(updates), update_ids, contents, size_bytes, _RANGES.get(request.ack_level), malformed)
