"""A tree small enough to simulate for months: what a node's state is, without the genealogy.

A few kinds of updates are enough to see a lost, a doubled and a reordered one: ENROL brings a member in, POST adds to
its volume of a month, MARK sets its status (the last one wins, so order shows) or its value in a declared column,
REMOVE takes it out (its volume goes to the member of the lowest number, or leaves), BAN can never be taken. As in the
real tree, an update for an unknown member is held until that member arrives, and then tried at once, in position order,
for what it meant at its own position; SETTLE lets one go. The digest is a sum over members, rules, held and rejected
updates, and depends on the state alone.

RULE holds a change of the rules as the real log has it, and the rules are the real ones (toy_rules.py).

POISON is one that the engine fails at: before it has changed anything, or, with value 1, after. SKIP is an operator's
decision that every tree rejects the update at the position that stands where others have a member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fasttree.v1 import types_pb2
from services.shared.rules import Rules
from tests.simulator.toy_rules import FOUNDING, after_rule, column_text, month_of, month_text, rules_hash

ROLL_UP = int(types_pb2.REMOVAL_VOLUME_ROLL_UP)
ENROL, POST, MARK, BAN, POISON, SKIP, RULE, REMOVE, SETTLE = range(9)
KIND_NAMES = ("enrol", "post", "mark", "ban", "poison", "skip", "rule", "remove", "settle")
MASK = (1 << 64) - 1


class EngineFailed(Exception):  # noqa: N818 - not an error of this program
    """The engine failed at an update; `is_whole`: before it changed anything."""

    def __init__(self, position: int, *, is_whole: bool) -> None:
        super().__init__(f"update {position}")
        self.position = position
        self.is_whole = is_whole


class Update(NamedTuple):
    """One change: `value` is an amount (POST), a status (MARK), or what becomes of the volume (REMOVE, 0: as the rules
    say). SETTLE has a position where others have a member."""

    update_id: str
    kind: int
    member: int
    value: int
    #: The month of a POST, the column of a MARK; 0: the current one, the status.
    name: int = 0
    #: The change of a RULE, serialized.
    content: bytes = b""


#: (month, volume) in order, and the status.
Fact = tuple[tuple[tuple[int, int], ...], int]
NEW: Fact = ((), 0)


class ImportFile(NamedTuple):
    """What an import file holds of each member, and whether its rows are sound. Volume of month 0 is of the month that
    is current at the file's position.

    For the checkers: the import that was in force when it was exported, and the updates that were held then, whose
    effect is therefore not in it.
    """

    members: Mapping[int, Fact]
    sound: bool
    #: Stands for the file's SHA-256.
    checksum: int = 0
    in_force: int = 0
    held: tuple[int, ...] = ()


class ToyTree:
    """The state at (import_id, position)."""

    def __init__(
        self,
        import_id: int = 0,
        position: int = 0,
        members: Mapping[int, Fact] | None = None,
        rules: Rules = FOUNDING,
    ) -> None:
        self.import_id = import_id
        self.position = position
        self.rules = rules
        current = month_of(rules.current_period)
        #: Volumes and status of each member.
        self.members: dict[int, Fact] = {
            member: (tuple(sorted((month or current, amount) for month, amount in volumes)), status)
            for member, (volumes, status) in (members or {}).items()
        }
        #: Values in declared columns, by member and column.
        self.cells: dict[tuple[int, int], int] = {}
        #: Updates that wait for their member, by position, in position order.
        self.held: dict[int, Update] = {}
        #: Ids of updates that can never be taken, by position.
        self.rejected: dict[int, str] = {}
        #: For the checkers: orders that the rules refused at their own position, which the door should have.
        self.refused_orders: set[int] = set()
        #: Position of each update that was held, and the one at which it was released.
        self.released: dict[int, int] = {}
        #: Positions that operators decided to skip, as far as it was told; `base`: what came up to there is its file's.
        self.skips: frozenset[int] = frozenset()
        self.base = position
        self.digest = sum(_member_hash(member, fact) for member, fact in self.members.items()) & MASK
        self._add(rules_hash(rules))

    def apply(self, position: int, update: Update) -> None:
        """Takes the update at its position; whoever calls answers for the order. Raises EngineFailed."""
        before, self.position = self.position, position
        try:
            self._take(position, update)
        except EngineFailed as failed:
            if failed.is_whole:
                self.position = before
            raise
        if update.kind == POST and position in self.rejected and position not in self.skips:
            self.refused_orders.add(position)

    def offer_carried(self, carried: Iterable[tuple[int, Update]]) -> None:
        """Offers updates that an import's file was too early for, in position order; the tree's position stays."""
        for position, update in carried:
            self._take(position, update)

    def carried_positions(self, as_of_position: int) -> tuple[int, ...]:
        """Positions up to `as_of_position` whose updates were still held when the tree was there."""
        late = [held for held, released in self.released.items() if held <= as_of_position < released]
        return tuple(sorted([position for position in self.held if position <= as_of_position] + late))

    @property
    def is_bare(self) -> bool:
        """Whether it is of before the first import and the first member."""
        return not self.import_id and not self.members

    def copy(self) -> ToyTree:
        """A tree of its own in the same state (a snapshot)."""
        twin = ToyTree(self.import_id, self.position, rules=self.rules)
        twin.cells, twin.refused_orders = dict(self.cells), set(self.refused_orders)
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
        elif update.kind == RULE:
            self._take_rule(position, update)
        elif update.kind == SETTLE:
            self._settle(position, update)
        elif self._is_refused(update):
            self._reject(position, update)
        elif update.kind == ENROL:
            self.members[update.member] = NEW
            self._add(_member_hash(update.member, NEW))
            self._release(update.member)
        elif update.member not in self.members:
            self.held[position] = resolved(update, self.rules)
            self._add(_held_hash(position, update))
        else:
            self._change(resolved(update, self.rules))

    def _is_refused(self, update: Update) -> bool:
        if update.kind == POST:
            return bool(self.rules.order_problem("", month_text(update.name)))
        if update.kind == MARK and update.name:
            return all(column.name != column_text(update.name) for column in self.rules.columns)
        return update.kind == BAN or (update.kind == ENROL and update.member in self.members)

    def _reject(self, position: int, update: Update) -> None:
        self.rejected[position] = update.update_id
        self._add(hash((2, position, update.kind, update.member)))

    def _take_rule(self, position: int, update: Update) -> None:
        rules = after_rule(self.rules, update.content)
        if rules is None:
            self._reject(position, update)
            return
        self._add(rules_hash(rules) - rules_hash(self.rules))
        sealed = {month_of(each) for each in {*rules.sealed_periods} - {*self.rules.sealed_periods}}
        self.rules = rules
        for member, (volumes, status) in list(self.members.items()) if sealed else []:
            self._set(member, (tuple(each for each in volumes if each[0] not in sealed), status))

    def _settle(self, position: int, update: Update) -> None:
        held = self.held.pop(update.member, None)
        if held is None:
            self._reject(position, update)
            return
        self._add(-_held_hash(update.member, held))
        self.released[update.member] = self.position
        self._reject(update.member, held)

    def _change(self, update: Update) -> None:
        member = update.member
        volumes, status = self.members[member]
        if update.kind == POST:
            self._set(member, (_added(volumes, update.name, update.value), status))
        elif update.kind == REMOVE:
            self._remove(member, rolls_up=update.value == ROLL_UP)
        elif update.name:
            cell = (member, update.name)
            before = hash((6, *cell, self.cells[cell])) if cell in self.cells else 0
            self.cells[cell] = update.value
            self._add(hash((6, *cell, update.value)) - before)
        else:
            self._set(member, (volumes, update.value))

    def _remove(self, member: int, *, rolls_up: bool) -> None:
        volumes, _ = self.members[member]
        self._add(-_member_hash(member, self.members.pop(member)))
        for cell in [cell for cell in self.cells if cell[0] == member]:
            self._add(-hash((6, *cell, self.cells.pop(cell))))
        if rolls_up and self.members:
            heir = min(self.members)
            sums, status = self.members[heir]
            for month, amount in volumes:
                sums = _added(sums, month, amount)
            self._set(heir, (sums, status))

    def _set(self, member: int, after: Fact) -> None:
        self._add(_member_hash(member, after) - _member_hash(member, self.members[member]))
        self.members[member] = after

    def _release(self, member: int) -> None:
        for position in [position for position, update in self.held.items() if update.member == member]:
            if member not in self.members:
                return  # one of them has removed it again
            update = self.held.pop(position)
            self.released[position] = self.position
            self._add(-_held_hash(position, update))
            if self._is_refused(update):
                self._reject(position, update)
            else:
                self._change(update)

    def _add(self, amount: int) -> None:
        self.digest = (self.digest + amount) & MASK


def _member_hash(member: int, fact: Fact) -> int:
    return hash((member, fact))


def _held_hash(position: int, update: Update) -> int:
    return hash((1, position, update.member, update.kind))


def _added(volumes: tuple[tuple[int, int], ...], month: int, amount: int) -> tuple[tuple[int, int], ...]:
    sums = dict(volumes)
    sums[month] = sums.get(month, 0) + amount
    return tuple(sorted(sums.items()))


def resolved(update: Update, rules: Rules) -> Update:
    """The update with what it leaves open filled in, by the rules at its own position."""
    if update.kind == POST and not update.name:
        return update._replace(name=month_of(rules.current_period))
    if update.kind == REMOVE and not update.value:
        return update._replace(value=int(rules.volume_of_removed))
    return update


def real(update: Update) -> types_pb2.Update:
    """What the real rules are asked of: orders, and changes of the rules."""
    if update.kind == RULE:
        whole = types_pb2.Update.FromString(update.content)
        whole.update_id = update.update_id
        return whole
    if update.kind == POST:
        posted = types_pb2.VolumePosted(member_id=str(update.member), period=month_text(update.name))
        return types_pb2.Update(update_id=update.update_id, volume_posted=posted)
    return types_pb2.Update(update_id=update.update_id)
