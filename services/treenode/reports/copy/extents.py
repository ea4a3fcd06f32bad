"""Which members a report is about: ranges of seats. Nothing here awaits: each function sees one state of the tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fasttree.v1 import types_pb2
from services.shared.domain.limits import MEMBER_ID_LENGTH_MAX
from services.shared.domain.members import is_name
from services.shared.domain.sentences import quoted
from services.shared.personal.names import meant
from services.shared.serving.errors import InvalidArgumentError, NotFoundError
from services.treenode.reports.columns import further_column
from services.treenode.reports.copy.revealed import Reveal, revealed
from services.treenode.reports.copy.scope import Scope, scope_of
from services.treenode.reports.plan.choice import Catalogue, Choice
from services.treenode.tree import Tree
from services.treenode.tree.columns.ids import find_one, packed_id
from services.treenode.tree.kernels.kernel import Int32s, Int64s
from services.treenode.tree.kernels.links import TOP, Genealogy
from services.treenode.tree.kernels.ranges import all_ranges, downline_ranges, hidden_by_row, single_ranges
from services.treenode.tree.kernels.walks import children_of, seats_within
from services.treenode.tree.store import NOBODY

#: Down to this level a walk by links beats reading whole ranges and leaving the deeper members out.
SHALLOW_LEVELS_MAX = 6


@dataclass(frozen=True)
class Place:
    """A member in one of the trees."""

    row: int
    seat: int


def catalogue_of(tree: Tree, personal: frozenset[str] = frozenset(), reveal: Reveal | None = None) -> Catalogue:
    """What the tree has. `personal`: names of columns that are personal; `reveal`: finds their values."""
    wanted = {meant(name) for name in personal}  # a file's own may be written otherwise
    hidden = frozenset(name for name in tree.further if meant(name) in wanted) if wanted else personal
    further = {
        name: further_column(name, column.kind, column.values.dtype.type) for name, column in tree.further.items()
    }
    if reveal is not None:
        further.update({name: revealed(further[name], reveal) for name in hidden})
    return Catalogue(tree.volume_types, tree.periods, further, personal=hidden)


def genealogy(tree: Tree, choice: Choice) -> Genealogy:
    """The tree that a report walks."""
    return tree.placement if choice.tree == types_pb2.TREE_PLACEMENT else tree.sponsor


def scope(tree: Tree, choice: Choice) -> Scope | None:
    """What the caller sees of the tree that the report walks; None: all of it."""
    return None if choice.leads is None else scope_of(tree, genealogy(tree, choice), choice.leads)


def checked_id(member_id: str, field: str) -> str:
    """`member_id`, if it can be one.

    Raises:
        InvalidArgumentError: It can't.
    """
    if is_name(member_id, MEMBER_ID_LENGTH_MAX):
        return member_id
    raise InvalidArgumentError(
        f"{field} {quoted(member_id)} is no member id: send 1 to {MEMBER_ID_LENGTH_MAX} printable ASCII characters, "
        "no space at either end",
        reason="MEMBER_ID_INVALID",
        field=field,
        value=member_id,
    )


def check_ends(member_ids: Sequence[str]) -> None:
    """Raises InvalidArgumentError where one of many ids begins or ends with a space, which none does."""
    if " " not in "".join(member_ids):
        return
    for index, member_id in enumerate(member_ids):
        if member_id != member_id.strip(" "):
            checked_id(member_id, f"member_ids[{index}]")


def checked_prefix(prefix: str, field: str) -> str:
    """`prefix`, if an id can begin so. Raises InvalidArgumentError where none can."""
    checked_id(prefix.rstrip(" ") if len(prefix) <= MEMBER_ID_LENGTH_MAX else prefix, field)
    return prefix


def row_of_member(tree: Tree, member_id: str, field: str = "member_id") -> int:
    """The row of a member.

    Raises:
        InvalidArgumentError: It is no id.
        NotFoundError: Nobody has it, or the member has left.
    """
    store = tree.store
    row = int(find_one(store.ids, packed_id(checked_id(member_id, field))))
    if row < 0 or store.kind[row] == NOBODY:
        raise member_unknown(member_id, field)
    return row


def member_unknown(member_id: str, field: str) -> NotFoundError:
    """Says that nobody has the id that stands in that field of the request."""
    return NotFoundError(
        f"{field} {quoted(member_id)}: no member has this id", reason="MEMBER_UNKNOWN", field=field, value=member_id
    )


def seats_of_rows(walked: Genealogy, rows: Int32s) -> Int32s:
    return walked.seat_of[rows] if len(walked.seat_of) else rows


def place_of(tree: Tree, choice: Choice, member_id: str, field: str = "member_id") -> Place:
    """Where a member is. Raises as `row_of_member`, also for one whom the caller does not see."""
    row = row_of_member(tree, member_id, field)
    walked = genealogy(tree, choice)
    seat = int(walked.seat_of[row]) if len(walked.seat_of) else row
    seen = scope(tree, choice)
    if seen is not None and not seen.sees(np.array([seat], np.int32))[0]:
        raise member_unknown(member_id, field)
    return Place(row, seat)


@dataclass(frozen=True)
class Extent:
    """The members that a report is about: seats of one tree, in the order of the report, empty places among them."""

    ranges: Int64s
    #: Subtracted from each level.
    base_level: int

    @cached_property
    def seat_count(self) -> int:
        return int((self.ranges[:, 1] - self.ranges[:, 0]).sum())


def downline(tree: Tree, choice: Choice, member_id: str, max_level: int = 0) -> Extent:
    """A member with its downline, or every root with its own where the id is empty: for a leader, himself with his.
    Raises as `row_of_member`.

    A small `max_level` (0: none) keeps the walk from going deeper; the extent may still have deeper members.
    """
    walked = genealogy(tree, choice)
    if member_id := member_id or choice.leads or "":
        seat = place_of(tree, choice, member_id).seat
        if 0 < max_level <= SHALLOW_LEVELS_MAX:
            seats = seats_within(walked, np.array([seat], np.int32), max_level)
            return Extent(single_ranges(seats), int(walked.level[seat]))
        return Extent(downline_ranges(walked, seat), int(walked.level[seat]))
    hidden = np.empty(0, np.uint8)
    if choice.tree == types_pb2.TREE_PLACEMENT and tree.holding_count:
        hidden = hidden_by_row(tree.sponsor, tree.store.used)
    return Extent(all_ranges(walked, hidden), 0)


def downline_size(tree: Tree, choice: Choice, member_id: str) -> int:
    """How many members `downline` will have, about; to choose where to scan them. Raises as `row_of_member`."""
    if not (member_id := member_id or choice.leads or ""):
        return tree.member_count
    return int(genealogy(tree, choice).members[place_of(tree, choice, member_id).seat]) + 1


def front_line_size(tree: Tree, choice: Choice, member_id: str) -> int:
    """How many direct children there are, at most. Raises as `row_of_member`."""
    if member_id:
        return len(children_of(genealogy(tree, choice), place_of(tree, choice, member_id).seat))
    # Whoever waits for a placement stands beside the roots of the placement tree.
    return tree.root_count + tree.empty_place_count + tree.holding_count


def upline_size(tree: Tree, choice: Choice, member_id: str) -> int:
    """How many stand above a member. Raises as `row_of_member`."""
    return int(genealogy(tree, choice).level[place_of(tree, choice, member_id).seat])


def front_line(tree: Tree, choice: Choice, member_id: str) -> Extent:
    """A member's direct children, or the roots where the id is empty: for a leader, himself alone. Raises as
    `row_of_member`."""
    walked = genealogy(tree, choice)
    if not member_id and choice.leads is not None:
        seat = place_of(tree, choice, choice.leads).seat
        return Extent(single_ranges(np.array([seat], np.int32)), int(walked.level[seat]))
    if member_id:
        seat = place_of(tree, choice, member_id).seat
        return Extent(single_ranges(children_of(walked, seat)), int(walked.level[seat]))
    seats = children_of(walked, TOP)
    if choice.tree == types_pb2.TREE_PLACEMENT and tree.holding_count:
        seats = seats[hidden_by_row(tree.sponsor, tree.store.used)[walked.row_at[seats]] == 0]
    return Extent(single_ranges(seats), 0)


def seen_rows(tree: Tree, choice: Choice) -> Callable[[Int32s], NDArray[np.bool_]]:
    """Says of rows, whether the caller sees them."""
    seen, walked = scope(tree, choice), genealogy(tree, choice)
    if seen is None:
        return lambda rows: np.ones(len(rows), np.bool_)
    return lambda rows: seen.sees(seats_of_rows(walked, rows))


def of_rows(tree: Tree, choice: Choice, rows: Int32s) -> Extent:
    """Members by their rows; for a leader, their levels count from his own."""
    seen = scope(tree, choice)
    return Extent(single_ranges(seats_of_rows(genealogy(tree, choice), rows)), 0 if seen is None else seen.level)
