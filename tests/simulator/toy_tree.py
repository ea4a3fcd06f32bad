"""A tree small enough to simulate for months: what a node's state is, without the genealogy.

Four kinds of updates are enough to see a lost, a doubled and a reordered one: ENROL brings a member in, POST adds to
its volume, MARK sets its status (the last one wins, so order shows), BAN can never be taken. As in the real tree, an
update for an unknown member is held until that member arrives, and then tried at once, in position order; the digest
is a sum over members, held and rejected updates, and depends on the state alone.

POISON is one that the engine fails at: before it has changed anything, or, with value 1, after. SKIP is an operator's
decision that every tree rejects the update at the position that stands where others have a member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

ENROL, POST, MARK, BAN, POISON, SKIP = range(6)
KIND_NAMES = ("enrol", "post", "mark", "ban", "poison", "skip")
MASK = (1 << 64) - 1


class EngineFailed(Exception):  # noqa: N818 - not an error of this program
    """The engine failed at an update; `is_whole`: before it changed anything."""

    def __init__(self, position: int, *, is_whole: bool) -> None:
        super().__init__(f"update {position}")
        self.position = position
        self.is_whole = is_whole


class Update(NamedTuple):
    """One change: `value` is an amount (POST) or a status (MARK)."""

    update_id: str
    kind: int
    member: int
    value: int


class ImportFile(NamedTuple):
    """What an import file holds: (volume, status) of each member, and whether its rows are sound.

    For the checkers: the import that was in force when it was exported, and the updates that were held then, whose
    effect is therefore not in it.
    """

    members: Mapping[int, tuple[int, int]]
    sound: bool
    #: Stands for the file's SHA-256.
    checksum: int = 0
    in_force: int = 0
    held: tuple[int, ...] = ()


class ToyTree:
    """The state at (import_id, position)."""

    def __init__(
        self, import_id: int = 0, position: int = 0, members: Mapping[int, tuple[int, int]] | None = None
    ) -> None:
        self.import_id = import_id
        self.position = position
        #: Volume and status of each member.
        self.members: dict[int, tuple[int, int]] = dict(members or {})
        #: Updates that wait for their member, by position, in position order.
        self.held: dict[int, Update] = {}
        #: Ids of updates that can never be taken, by position.
        self.rejected: dict[int, str] = {}
        #: Position of each update that was held, and the one at which it was released.
        self.released: dict[int, int] = {}
        #: Positions that operators decided to skip, as far as it was told; `base`: what came up to there is its file's.
        self.skips: frozenset[int] = frozenset()
        self.base = position
        self.digest = sum(_member_hash(member, fact) for member, fact in self.members.items()) & MASK

    def apply(self, position: int, update: Update) -> None:
        """Takes the update at its position; whoever calls answers for the order. Raises EngineFailed."""
        before, self.position = self.position, position
        try:
            self._take(position, update)
        except EngineFailed as failed:
            if failed.is_whole:
                self.position = before
            raise

    def offer_carried(self, carried: Iterable[tuple[int, Update]]) -> None:
        """Offers updates that an import's file was too early for, in position order; the tree's position stays."""
        for position, update in carried:
            self._take(position, update)

    def carried_positions(self, as_of_position: int) -> tuple[int, ...]:
        """Positions up to `as_of_position` whose updates were still held when the tree was there."""
        late = [held for held, released in self.released.items() if held <= as_of_position < released]
        return tuple(sorted([position for position in self.held if position <= as_of_position] + late))

    def copy(self) -> ToyTree:
        """A tree of its own in the same state (a snapshot)."""
        twin = ToyTree(self.import_id, self.position)
        twin.members, twin.held, twin.rejected = dict(self.members), dict(self.held), dict(self.rejected)
        twin.released, twin.digest = dict(self.released), self.digest
        twin.skips, twin.base = self.skips, self.base
        return twin

    def too_late(self) -> list[int]:
        """What it has taken although it is skipped."""
        taken = [position for position in self.skips if self.base < position <= self.position]
        return [position for position in taken if position not in self.rejected]

    def _take(self, position: int, update: Update) -> None:
        if position in self.skips:
            self.rejected[position] = update.update_id
            self._add(hash((3, position)))
        elif update.kind == SKIP:
            self.skips |= {update.member}
        elif update.kind == POISON:
            if update.value:
                self._add(1)
            raise EngineFailed(position, is_whole=not update.value)
        elif update.kind == BAN or (update.kind == ENROL and update.member in self.members):
            self.rejected[position] = update.update_id
            self._add(hash((2, position, update.kind, update.member)))
        elif update.kind == ENROL:
            self.members[update.member] = (0, 0)
            self._add(_member_hash(update.member, (0, 0)))
            self._release(update.member)
        elif update.member not in self.members:
            self.held[position] = update
            self._add(hash((1, position, update.member, update.value)))
        else:
            self._change(update)

    def _change(self, update: Update) -> None:
        before = self.members[update.member]
        after = (before[0] + update.value, before[1]) if update.kind == POST else (before[0], update.value)
        self.members[update.member] = after
        self._add(_member_hash(update.member, after) - _member_hash(update.member, before))

    def _release(self, member: int) -> None:
        for position in [position for position, update in self.held.items() if update.member == member]:
            update = self.held.pop(position)
            self.released[position] = self.position
            self._add(-hash((1, position, update.member, update.value)))
            self._change(update)

    def _add(self, amount: int) -> None:
        self.digest = (self.digest + amount) & MASK


def _member_hash(member: int, fact: tuple[int, int]) -> int:
    return hash((member, fact))
