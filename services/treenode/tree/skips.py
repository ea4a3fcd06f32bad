"""Updates that no node takes any more, by an operator's decision: each is rejected at its position, with the reason.

A decision is a log record (`update_skipped`), later in the log than the update that it is about. Nodes hear of all
decisions before they take further records, so that the update is rejected when its turn comes, be it a node's first
time or a replay. What the state is thereby depends on the log alone:

- An update ahead of the tree is rejected at its position, without a look at its content.
- One that the tree holds is let go and rejected before the next update: the state is as if it never had been held.
- One that the import's file has the effect of (it is at or before the file's position, and was not carried) is left
  alone: the tree never saw it.
- One that the tree has taken can't be taken out again: the tree is of no use (`too_late`), and says so.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Fate(enum.IntEnum):
    """What a tree has made of an update; the numbers are those of `fasttree.v1.UpdateFate`."""

    AHEAD = 1
    HELD = 2
    SKIPPED = 3
    IN_FILE = 4
    TAKEN = 5


@dataclass(frozen=True, slots=True)
class Skip:
    """A decision."""

    #: Of the update that is skipped.
    position: int
    update_id: str
    #: The operator's words.
    reason: str

    @property
    def text(self) -> str:
        """What the rejected update is listed with, and what its digest is of."""
        return f"skipped by an operator: {self.reason}"


class Skips:
    """The decisions that one tree knows, and what has become of each."""

    def __init__(self, taken: Iterable[int] = ()) -> None:
        """`taken`: positions that were rejected here by a decision."""
        self.known: dict[int, Skip] = {}
        self.taken = set(taken)
        #: Positions ahead of the tree, or held in it: all and only the known ones that are still to be rejected.
        self.due: set[int] = set()
        #: Positions whose update the tree has taken, so that it differs from what the log says from there on.
        self.too_late: set[int] = set()

    def copy(self) -> Skips:
        """The same decisions."""
        copy = Skips(self.taken)
        copy.known, copy.due, copy.too_late = dict(self.known), set(self.due), set(self.too_late)
        return copy

    def next_due(self, first_position: int, last_position: int) -> Skip | None:
        """The first update in that range that is to be rejected."""
        found = min((position for position in self.due if first_position <= position <= last_position), default=None)
        return None if found is None else self.known[found]
