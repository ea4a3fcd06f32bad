"""Updates that were not applied at their position: held ones wait for a member, rejected ones never come in."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass

from fasttree.v1 import types_pb2

#: How many rejected updates are kept to be listed; the count and the digest know of all.
REJECTED_KEPT = 10_000
#: How many resolved ones are remembered, for imports whose file was taken before they were resolved.
RESOLVED_KEPT = 1_000_000


@dataclass(frozen=True)
class NotApplied:
    """An update that was held or rejected."""

    position: int
    update_id: str
    #: types_pb2.OUTCOME_HELD or OUTCOME_REJECTED.
    outcome: types_pb2.Outcome.ValueType
    #: Why, in one line.
    reason: str
    #: For a held one: the member that it waits for.
    waits_for: str = ""


@dataclass(frozen=True)
class HeldUpdate:
    """An update that waits for a member."""

    position: int
    update: types_pb2.Update
    waits_for: str
    reason: str

    def not_applied(self) -> NotApplied:
        """As it is listed."""
        return NotApplied(
            self.position, self.update.update_id, types_pb2.OUTCOME_HELD, self.reason, waits_for=self.waits_for
        )


def _digest(*parts: object) -> int:
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class HeldUpdates:
    """The held updates by position and by the member that they wait for."""

    def __init__(self) -> None:
        #: By position, lowest first; each is in `waiting` under its member once.
        self.by_position: dict[int, HeldUpdate] = {}
        #: Positions by member id: all and only the held updates that wait for it.
        self.waiting: dict[str, list[int]] = {}
        #: (position, position at which it was applied or rejected), the newest RESOLVED_KEPT.
        self.resolved: deque[tuple[int, int]] = deque(maxlen=RESOLVED_KEPT)

    def __len__(self) -> int:
        return len(self.by_position)

    def copy(self) -> HeldUpdates:
        """The same held updates."""
        copy = HeldUpdates()
        copy.by_position = dict(self.by_position)
        copy.waiting = {member_id: list(positions) for member_id, positions in self.waiting.items()}
        copy.resolved = self.resolved.copy()
        return copy

    def hold(self, held: HeldUpdate) -> None:
        """Takes an update in that is not held, or puts one that is off to another member."""
        self.by_position[held.position] = held
        self.waiting.setdefault(held.waits_for, []).append(held.position)

    def take_waiting(self, member_id: str) -> list[int]:
        """The positions that wait for a member; they wait no more, but stay held until `resolve` or `hold`."""
        return self.waiting.pop(member_id, [])

    def resolve(self, position: int, at_position: int) -> HeldUpdate:
        """Lets a held update go that was taken from its waiting list."""
        self.resolved.append((position, at_position))
        return self.by_position.pop(position)

    def forget(self, position: int) -> HeldUpdate:
        """Lets a held update go as if it had never been held."""
        held = self.by_position.pop(position)
        waiting = self.waiting[held.waits_for]
        waiting.remove(position)
        if not waiting:
            del self.waiting[held.waits_for]
        return held

    def held_at(self, as_of_position: int) -> list[int]:
        """Positions of updates that were held at `as_of_position`, in order."""
        positions = [position for position in self.by_position if position <= as_of_position]
        positions += [position for position, at in self.resolved if position <= as_of_position < at]
        return sorted(positions)

    @staticmethod
    def digest_of(position: int, update_id: str) -> int:
        """A held update's share of the tree's digest."""
        return _digest("held", position, update_id)


class RejectedUpdates:
    """The rejected updates since the import: the newest to be listed, and the number of all."""

    def __init__(self) -> None:
        self.newest: deque[NotApplied] = deque(maxlen=REJECTED_KEPT)
        self.total = 0

    def copy(self) -> RejectedUpdates:
        """The same rejected updates."""
        copy = RejectedUpdates()
        copy.newest = self.newest.copy()
        copy.total = self.total
        return copy

    def add(self, rejected: NotApplied) -> None:
        self.newest.append(rejected)
        self.total += 1

    @staticmethod
    def digest_of(rejected: NotApplied) -> int:
        """A rejected update's share of the tree's digest."""
        return _digest("rejected", rejected.position, rejected.update_id, rejected.reason)
