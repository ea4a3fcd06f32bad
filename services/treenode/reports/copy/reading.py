"""How reports take members out of a tree. Nothing here awaits: each function sees one state of the tree."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.serving.errors import InvalidArgumentError, NotFoundError
from services.treenode.reports.copy.buffers import Buffers
from services.treenode.reports.copy.freeze import copied_column, copied_links, copied_values, copied_volumes
from services.treenode.reports.copy.rows import PLAIN_DTYPES, FrozenRows, FurtherValues
from services.treenode.reports.plan.columns import VOLUMES, Catalogue, Choice
from services.treenode.tree import Tree
from services.treenode.tree.columns.ids import find_one, packed_id
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, Int64s, UInt8s
from services.treenode.tree.kernels.links import TOP, Genealogy
from services.treenode.tree.kernels.ranges import all_ranges, downline_ranges, hidden_by_row, single_ranges
from services.treenode.tree.kernels.walks import children_of, seats_within
from services.treenode.tree.store import NOBODY

ID_LENGTH_MAX = 32
#: Down to this level a walk by links beats reading whole ranges and leaving the deeper members out.
SHALLOW_LEVELS_MAX = 6


@dataclass(frozen=True)
class Place:
    """A member in one of the trees."""

    row: int
    seat: int


def catalogue_of(tree: Tree) -> Catalogue:
    """What the tree has."""
    further = {name: column.kind for name, column in tree.further.items()}
    return Catalogue(tuple(tree.volume_types), tuple(tree.periods), further)


def genealogy(tree: Tree, choice: Choice) -> Genealogy:
    """The tree that a report"""
    return tree.placement if choice.tree == types_pb2.TREE_PLACEMENT else tree.sponsor


def checked_id(member_id: str, field: str) -> str:
    """`member_id`, if it can be one.

    Raises:
        InvalidArgumentError: It can't.
    """
    if 0 < len(member_id) <= ID_LENGTH_MAX and member_id.isascii() and member_id.isprintable():
        return member_id
    raise InvalidArgumentError(
        f'{field} "{member_id}" is no member id: send 1 to {ID_LENGTH_MAX} printable ASCII characters',
        reason="MEMBER_ID_INVALID",
        field=field,
        value=member_id,
    )


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
        f'{field} "{member_id}": no member has this id', reason="MEMBER_UNKNOWN", field=field, value=member_id
    )


def seats_of_rows(walked: Genealogy, rows: Int32s) -> Int32s:
    """The seats of rows."""
    return walked.seat_of[rows] if len(walked.seat_of) else rows


def place_of(tree: Tree, choice: Choice, member_id: str, field: str = "member_id") -> Place:
    """Where a member is. Raises as `row_of_member`."""
    row = row_of_member(tree, member_id, field)
    walked = genealogy(tree, choice)
    return Place(row, int(walked.seat_of[row]) if len(walked.seat_of) else row)


@dataclass(frozen=True)
class Extent:
    """The members that a report is about: seats of one tree, in the order of the report, empty places among them."""

    ranges: Int64s
    #: Subtracted from each level.
    base_level: int

    @property
    def seat_count(self) -> int:
        """Seats in the ranges."""
        return int((self.ranges[:, 1] - self.ranges[:, 0]).sum())


def downline(tree: Tree, choice: Choice, member_id: str, max_level: int = 0) -> Extent:
    """A member with its downline, or every root with its own where the id is empty. Raises as `row_of_member`.

    A small `max_level` (0: none) keeps the walk from going deeper; the extent may still have deeper members.
    """
    walked = genealogy(tree, choice)
    if member_id:
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
    if not member_id:
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
    """A member's direct children, or the roots where the id is empty. Raises as `row_of_member`."""
    walked = genealogy(tree, choice)
    if member_id:
        seat = place_of(tree, choice, member_id).seat
        return Extent(single_ranges(children_of(walked, seat)), int(walked.level[seat]))
    seats = children_of(walked, TOP)
    if choice.tree == types_pb2.TREE_PLACEMENT and tree.holding_count:
        seats = seats[hidden_by_row(tree.sponsor, tree.store.used)[walked.row_at[seats]] == 0]
    return Extent(single_ranges(seats), 0)


def of_rows(tree: Tree, choice: Choice, rows: Int32s) -> Extent:
    """Members by their rows."""
    return Extent(single_ranges(seats_of_rows(genealogy(tree, choice), rows)), 0)


def copy_bytes(tree: Tree, choice: Choice, columns: Collection[str], count: int, *, shown: bool = True) -> int:
    """Memory that `freeze` of `count` members takes, about."""
    names = set(columns) | (set(choice.columns) if shown else set())
    width = 4 * tree.store.ids.words.shape[1]
    cells = sum(np.dtype(PLAIN_DTYPES[name]).itemsize for name in names & PLAIN_DTYPES.keys())
    further = 8 * len(names - PLAIN_DTYPES.keys())
    volumes = 16 * len(tree.slot_keys()) if VOLUMES in names else 0
    ids = width * (len(names & {"sponsor_id", "placement_id"}) or "member_id" in names)
    # Beyond that: members who came since they were counted, parents outside, alignment.
    row_bytes: int = cells + further + volumes + ids + 1
    return (count + count // 64 + 1024) * row_bytes


@dataclass(frozen=True)
class FrozenLinks:
    """The first half of a copy; good for as long as no link of its tree changes."""

    tree: Tree
    change_count: int
    extent: Extent
    ids: UInt8s
    plain: dict[str, AnyArray]

    def still_hold(self, tree: Tree) -> bool:
        """Whether the tree's links are what they were."""
        return tree is self.tree and tree.change_count == self.change_count


def columns_to_copy(tree: Tree, choice: Choice, columns: Collection[str], *, shown: bool) -> set[str]:
    """`columns`, those that the choice shows, and what tells empty places apart."""
    names = set(columns) | (set(choice.columns) if shown else set())
    if tree.empty_place_count:
        names.add("kind")
    return names


def freeze_links(
    tree: Tree,
    choice: Choice,
    extent: Extent,
    columns: Collection[str],
    *,
    shown: bool = True,
    buffers: Buffers | None = None,
) -> FrozenLinks:
    """Copies what changes with links only. Parameters as of `freeze`."""
    names = columns_to_copy(tree, choice, columns, shown=shown)
    placement = choice.tree == types_pb2.TREE_PLACEMENT
    ids, plain = copied_links(tree.store, placement, extent.ranges, extent.base_level, names, buffers or Buffers())
    return FrozenLinks(tree, tree.change_count, extent, ids, plain)


def freeze_values(
    links: FrozenLinks, choice: Choice, columns: Collection[str], *, shown: bool = True, buffers: Buffers | None = None
) -> FrozenRows:
    """Copies the values to links that still hold. Parameters as of `freeze`."""
    tree, extent, buffers = links.tree, links.extent, buffers or Buffers()
    ranges, count = extent.ranges, extent.seat_count
    names = columns_to_copy(tree, choice, columns, shown=shown)
    placement = choice.tree == types_pb2.TREE_PLACEMENT
    slot = tree.slot(choice.volume_type, choice.period)
    plain = links.plain | copied_values(tree.store, placement, slot, ranges, names, buffers)
    walked = genealogy(tree, choice)
    rows = FrozenRows(count=count, ids=links.ids, plain=plain, status_names=tuple(tree.statuses.texts))
    if VOLUMES in names:
        personal, group = copied_volumes(tree.store.personal, walked, ranges, count, buffers)
        rows = replace(rows, volume_names=tuple(tree.slot_keys()), personal=personal, group=group)
    further = {}
    for name in names - PLAIN_DTYPES.keys() - {VOLUMES}:
        column = tree.further[name]
        values = copied_column(column.values, walked, ranges, count, buffers)
        texts = tuple(column.names.texts) if column.kind == "text" else ()
        further[name] = FurtherValues(column.kind, values, texts)
    return replace(rows, further=further) if further else rows


def freeze(
    tree: Tree,
    choice: Choice,
    extent: Extent,
    columns: Collection[str],
    *,
    shown: bool = True,
    buffers: Buffers | None = None,
) -> FrozenRows:
    """Copies columns of the extent's members; needs nothing of the tree afterwards.

    Args:
        columns: Beyond those that the choice shows.
        shown: False: `columns` only.
        buffers: Memory that was got ready for the copy.
    """
    links = freeze_links(tree, choice, extent, columns, shown=shown, buffers=buffers)
    return freeze_values(links, choice, columns, shown=shown, buffers=buffers)


def without_empty_places(rows: FrozenRows) -> FrozenRows:
    """The rows that are members."""
    kinds = rows.plain.get("kind")
    if kinds is None or kinds.all():
        return rows
    return rows.take(np.flatnonzero(kinds))
