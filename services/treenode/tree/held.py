"""Updates that were not applied at their position: held ones wait for a member, rejected ones never come in."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.rules import Rules
from services.treenode.tree.kernels.kernel import Int64s

#: How many rejected updates are kept to be listed; the count and the digest know of all.
REJECTED_KEPT = 10_000
#: How many removals an import carries: the newest.
REMOVALS_CARRIED = 10_000


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
    #: For a held one: where that member was removed; 0: it never was.
    removed_at: int = 0


@dataclass(frozen=True)
class HeldUpdate:
    """An update that waits for a member."""

    position: int
    update: types_pb2.Update
    waits_for: str
    reason: str
    #: Where that member was removed: the update waits for that very person, or an operator. 0: for whoever arrives.
    removed_at: int = 0
    #: Where it began to wait so.
    since: int = 0

    @property
    def digest(self) -> int:
        """Its share of the tree's digest."""
        share = HeldUpdates.digest_of(self.position, self.update.update_id)
        return share + _digest("of removed", self.position, self.waits_for, self.removed_at) * (self.removed_at > 0)

    def not_applied(self) -> NotApplied:
        """As it is listed."""
        return NotApplied(
            self.position,
            self.update.update_id,
            types_pb2.OUTCOME_HELD,
            self.reason,
            waits_for=self.waits_for,
            removed_at=self.removed_at,
        )


class CarriedHold(NamedTuple):
    """An update that was held for a removed member when an import's file was taken."""

    position: int
    waits_for: str
    removed_at: int


class EndedWait(NamedTuple):
    """An update waited for a removed member from one position up to, but without, another one."""

    hold: CarriedHold
    since: int
    until: int


def of_removed(member_id: str, removed_at: int) -> str:
    """Why an update waits that names a removed member."""
    return (
        f"member {member_id} was removed at position {removed_at}: drop it, or retry it once the id is that of the "
        "person meant"
    )


def resolved(update: types_pb2.Update, rules: Rules) -> types_pb2.Update:
    """The update with what it leaves open filled in, by the rules at its own position: an order's type and period, what
    becomes of the volume of a member who leaves."""
    if update.HasField("member_removed"):
        return _resolved_removal(update, rules)
    if not update.HasField("volume_posted"):
        return update
    posted = update.volume_posted
    meant = rules.orders.get((posted.volume_type, posted.period))
    if meant is None or meant == (posted.volume_type, posted.period):
        return update
    whole = types_pb2.Update()
    whole.CopyFrom(update)
    whole.volume_posted.volume_type, whole.volume_posted.period = meant
    return whole


def _resolved_removal(update: types_pb2.Update, rules: Rules) -> types_pb2.Update:
    removed = update.member_removed
    if removed.volume or removed.mode == types_pb2.REMOVAL_MODE_LEAVE_EMPTY:
        return update
    whole = types_pb2.Update()
    whole.CopyFrom(update)
    whole.member_removed.volume = rules.volume_of_removed
    return whole


def _digest(*parts: object) -> int:
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class Settled:
    """Pairs (position, position at which it was let go), in the order of the second: 16 bytes each.

    All of them are kept for as long as their tree, which ends with the next import. That is no more than what the log
    keeps: each was held since the file's position or carried into the tree, and the log has to have every update since
    then and every carried one. So whatever file may still come, what was held at its position is known.
    """

    def __init__(self, pairs: Int64s | None = None) -> None:
        self._pairs: Int64s = np.empty((0, 2), dtype=np.int64) if pairs is None else pairs
        self._count = len(self._pairs)

    @property
    def pairs(self) -> Int64s:
        """(n, 2) int64: a view that stays as it is."""
        return self._pairs[: self._count]

    def copy(self) -> Settled:
        return Settled(self.pairs.copy())

    def append(self, position: int, at_position: int) -> None:
        if self._count == len(self._pairs):
            grown = np.empty((2 * self._count + 64, 2), dtype=np.int64)
            grown[: self._count] = self._pairs
            self._pairs = grown
        self._pairs[self._count] = position, at_position
        self._count += 1

    def held_at(self, as_of_position: int) -> list[int]:
        """Positions at or before that one which were let go after it."""
        later = self.pairs[np.searchsorted(self.pairs[:, 1], as_of_position, side="right") :, 0]
        found: list[int] = later[later <= as_of_position].tolist()
        return found


@dataclass
class HeldUpdates:
    """The held updates by position and by the member that they wait for."""

    #: By position, lowest first; each is in `waiting` under its member once.
    by_position: dict[int, HeldUpdate] = field(default_factory=dict)
    #: Positions by member id: all and only the held updates that wait for it.
    waiting: dict[str, list[int]] = field(default_factory=dict)
    #: Those that were applied or rejected since the tree began.
    settled: Settled = field(default_factory=Settled)
    #: Waits for a removed member that are over, since the tree began.
    ended_waits: list[EndedWait] = field(default_factory=list)
    #: By id: where the member was removed last, since the tree began or before its import. It may be there again.
    removals: dict[str, int] = field(default_factory=dict)
    #: (id, position) of those before the last of a member who was removed more than once.
    earlier_removals: list[tuple[str, int]] = field(default_factory=list)
    #: Those that the import carried, by position.
    carried_removals: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return len(self.by_position)

    def copy(self) -> HeldUpdates:
        """The same held updates."""
        return HeldUpdates(
            dict(self.by_position),
            {member_id: list(positions) for member_id, positions in self.waiting.items()},
            self.settled.copy(),
            list(self.ended_waits),
            dict(self.removals),
            list(self.earlier_removals),
            self.carried_removals,
        )

    def hold(self, held: HeldUpdate) -> None:
        """Takes an update in that is not held, or puts one that waits for nobody to another member."""
        before = self.by_position.get(held.position)
        if before is not None:
            self._end_wait(before, held.since)
        self.by_position[held.position] = held
        self.waiting.setdefault(held.waits_for, []).append(held.position)

    def take_waiting(self, member_id: str, *, of_removed: bool) -> list[int]:
        """The positions that wait for a member, those since its removal only where wanted; they wait no more, but stay
        held until `resolve` or `hold`."""
        positions = self.waiting.pop(member_id, [])
        if of_removed:
            return positions
        left = [position for position in positions if self.by_position[position].removed_at]
        if left:
            self.waiting[member_id] = left
            return [position for position in positions if not self.by_position[position].removed_at]
        return positions

    def take(self, position: int) -> None:
        """One held update waits no more, but stays held until `resolve` or `hold`."""
        member_id = self.by_position[position].waits_for
        positions = self.waiting[member_id]
        positions.remove(position)
        if not positions:
            del self.waiting[member_id]

    def resolve(self, position: int, at_position: int) -> HeldUpdate:
        """Lets a held update go that was taken from its waiting list."""
        self.settled.append(position, at_position)
        held = self.by_position.pop(position)
        self._end_wait(held, at_position)
        return held

    def _end_wait(self, held: HeldUpdate, until: int) -> None:
        if held.removed_at and held.since < until:
            hold = CarriedHold(held.position, held.waits_for, held.removed_at)
            self.ended_waits.append(EndedWait(hold, held.since, until))

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
        return sorted(positions + self.settled.held_at(as_of_position))

    def holds_at(self, as_of_position: int) -> list[CarriedHold]:
        """Those of them that waited for a removed member then, by position."""
        holds = [
            CarriedHold(held.position, held.waits_for, held.removed_at)
            for held in self.by_position.values()
            if held.removed_at and held.since <= as_of_position
        ]
        holds += [ended.hold for ended in self.ended_waits if ended.since <= as_of_position < ended.until]
        return sorted(holds)

    def removals_at(self, as_of_position: int) -> list[tuple[str, int]]:
        """(id, position) of each member's last removal at or before that position, by position."""
        # Of one member, they come as they happened: the last one counts.
        removals = (*self.earlier_removals, *self.removals.items())
        last = dict(each for each in removals if each[1] <= as_of_position)
        return sorted(last.items(), key=itemgetter(1))

    def note_removal(self, member_id: str, position: int) -> int:
        """A member is removed; the difference that it makes to the tree's digest."""
        before = self.removals.get(member_id, 0)
        if before:
            self.earlier_removals.append((member_id, before))
        self.removals[member_id] = position
        return self.removal_digest(member_id, position) - self.removal_digest(member_id, before)

    @staticmethod
    def removal_digest(member_id: str, position: int) -> int:
        """A removal's share of the tree's digest; 0 where there was none."""
        return _digest("removed", member_id, position) if position else 0

    @staticmethod
    def digest_of(position: int, update_id: str) -> int:
        """A held update's share of the tree's digest, if it waits for whoever arrives."""
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
