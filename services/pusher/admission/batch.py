"""What the core knows of one message of updates: what of it is for the log, and what is wrong with the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from services.pusher.admission.acks import AckRange
from services.shared.rules import NO_RULES, Rules

Content = TypeVar("Content")

#: Most updates in one message, and most receipts.
MESSAGE_UPDATES_MAX = 1000
#: An update that is longer than this costs as much as several, so that a budget bounds memory too.
_COST_BYTES = 512


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
        rules: Those that it was checked under.
        to_judge: One of the well-formed ones changes the rules, or is refused by them: for the log to say.
        traced: Those of the well-formed ones that are traced, as `services/pusher/tracing` has them.
        decisions: By their index in the message, those that decide for all: about the rules, or about held updates.
    """

    updates: int
    update_ids: Sequence[str]
    contents: Sequence[Content]
    size_bytes: int
    ack_range: AckRange | None
    malformed: Mapping[int, Malformed]
    rules: Rules = NO_RULES
    to_judge: bool = False
    traced: Sequence[Any] = ()
    decisions: Sequence[int] = ()

    @property
    def cost(self) -> int:
        """What it takes of a budget."""
        return max(1, self.updates, self.size_bytes // _COST_BYTES)
