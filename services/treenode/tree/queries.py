"""The read side: rows by id, uplines, front lines, downlines, and columns of them. All of it is at the tree's position.

A *row* is a member's index in the columns of `tree.store`; a *seat* its index in the columns of one tree (`span`,
`level`, `count`, `group`, …). In the sponsor tree they are the same. Both mean something only until the next update or
new layout: nothing that lives longer may keep one. Empty places are never among the rows that these functions return.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from services.treenode.tree.columns.ids import MAX_ID_LENGTH, find_one, find_rows, ids_of, packed_id, words_of
from services.treenode.tree.kernels.kernel import AnyArray, Int32s, Int64s
from services.treenode.tree.kernels.links import TOP, Genealogy
from services.treenode.tree.kernels.walks import children_of, downline_seats, seats_within, upline_of
from services.treenode.tree.store import NOBODY
from services.treenode.tree.tree import Tree

#: No limit of levels.
ALL_LEVELS = 2**31 - 1


class Which(IntEnum):
    """One of the two trees; the numbers are those of fasttree.v1.Tree."""

    SPONSOR = 1
    PLACEMENT = 2


@dataclass(frozen=True)
class Downline:
    """A member's downline with itself, or the whole tree, in tree order (each member before its downline)."""

    which: Which
    #: (n,) int32, or a slice where the rows are one range: `column[rows]` is then a view, to copy before updates go on.
    rows: Int32s | slice
    #: The same in the tree's own numbering, for its columns.
    seats: Int32s | slice
    #: Level of the start; the level of a member in this downline is its own less this.
    base_level: int

    def __len__(self) -> int:
        return self.rows.stop - self.rows.start if isinstance(self.rows, slice) else len(self.rows)


def genealogy(tree: Tree, which: Which) -> Genealogy:
    """The columns of one of the trees."""
    return tree.sponsor if which == Which.SPONSOR else tree.placement


def row_of_member(tree: Tree, member_id: str) -> int:
    """The row of a member; -1 where there is none (or the text is no id)."""
    if not 0 < len(member_id) <= MAX_ID_LENGTH or not member_id.isascii():
        return -1
    row = int(find_one(tree.store.ids, packed_id(member_id)))
    return row if row >= 0 and tree.store.kind[row] != NOBODY else -1


def rows_of_members(tree: Tree, member_ids: Sequence[str]) -> Int32s:
    """The row of each member, (n,) int32; -1 where there is none (or the text is no id)."""
    if not member_ids:
        return np.empty(0, dtype=np.int32)
    if max(map(len, member_ids)) > MAX_ID_LENGTH or not "".join(member_ids).isascii():
        return np.array([row_of_member(tree, member_id) for member_id in member_ids], dtype=np.int32)
    rows = np.empty(len(member_ids), dtype=np.int32)
    find_rows(tree.store.ids, words_of(member_ids), rows)
    if tree.empty_place_count:
        rows[(rows >= 0) & (tree.store.kind[rows] == NOBODY)] = -1
    return rows


def member_id(tree: Tree, row: int) -> str:
    """The id of a row; empty for TOP."""
    return tree.store.ids.words[row].tobytes().rstrip(b"\0").decode() if row >= 0 else ""


def member_ids(tree: Tree, rows: AnyArray | slice) -> AnyArray:
    """The ids of rows, (n,) dtype S; empty for TOP."""
    if isinstance(rows, slice):
        return ids_of(tree.store.ids.words[rows])
    words = tree.store.ids.words[rows]
    words[np.asarray(rows) < 0] = 0
    return ids_of(words)


def seats_of(tree: Tree, which: Which, rows: AnyArray) -> AnyArray:
    """The seats of rows (none of them TOP) in one of the trees."""
    return rows if which == Which.SPONSOR else tree.placement.seat_of[rows]


def parent_rows(tree: Tree, which: Which, rows: AnyArray | slice) -> Int32s:
    """The rows of sponsors or placements of the rows, (n,) int32; TOP where there is none."""
    if which == Which.SPONSOR:
        return tree.sponsor.parent[rows].copy()
    placement = tree.placement
    above = placement.parent[placement.seat_of[rows]]
    return np.where(above >= 0, placement.row_at[above], TOP).astype(np.int32)


def levels(tree: Tree, which: Which, rows: AnyArray | slice) -> Int32s:
    """Levels below the top of the rows, (n,) int32."""
    if which == Which.SPONSOR:
        return tree.sponsor.level[rows]
    return tree.placement.level[tree.placement.seat_of[rows]]


def downline_counts(tree: Tree, which: Which, rows: AnyArray | slice) -> Int32s:
    """Members below each of the rows, (n,) int32."""
    if which == Which.SPONSOR:
        counts: Int32s = tree.sponsor.members[rows]
    else:
        counts = tree.placement.members[tree.placement.seat_of[rows]]
    return counts


def personal_volumes(tree: Tree, slot: int, rows: AnyArray | slice) -> Int64s:
    """Personal volumes of the rows in one slot, (n,) int64 hundredths."""
    return tree.store.personal[slot, rows].astype(np.int64)


def group_volumes(tree: Tree, which: Which, slot: int, rows: AnyArray | slice) -> Int64s:
    """Group volumes (own and downline) of the rows in one slot, (n,) int64 hundredths."""
    if which == Which.SPONSOR:
        volumes: Int64s = tree.sponsor.group[slot, rows]
    else:
        volumes = tree.placement.group[slot, tree.placement.seat_of[rows]]
    return volumes


def upline_rows(tree: Tree, which: Which, row: int) -> Int32s:
    """Everyone above a row, nearest first, (n,) int32."""
    columns = genealogy(tree, which)
    seat = row if which == Which.SPONSOR else int(columns.seat_of[row])
    return _members(tree, which, upline_of(columns, seat))


def front_line_rows(tree: Tree, which: Which, row: int) -> Int32s:
    """Direct children of a row in tree order, (n,) int32. TOP: the members without a sponsor, in both trees."""
    columns = genealogy(tree, which)
    seat = row if which == Which.SPONSOR or row < 0 else int(columns.seat_of[row])
    rows = _members(tree, which, children_of(columns, seat))
    if row < 0 and which == Which.PLACEMENT:
        rows = rows[tree.sponsor.parent[rows] < 0]
    return rows


def downline(tree: Tree, which: Which, row: int, max_level: int = ALL_LEVELS) -> Downline:
    """A row and its downline, `max_level` levels deep. TOP: everyone in that tree, so in the placement tree without
    the holding tank and what is placed below it."""
    columns = genealogy(tree, which)
    if row < 0:
        return _whole_tree(tree, which, max_level)
    seat = row if which == Which.SPONSOR else int(columns.seat_of[row])
    base_level = int(columns.level[seat])
    end = int(columns.span[seat])
    if max_level >= ALL_LEVELS and end > 0 and which == Which.SPONSOR and not tree.empty_place_count:
        return Downline(which, slice(seat, end), slice(seat, end), base_level)
    return _downlines(tree, which, np.array([seat], dtype=np.int32), max_level, base_level)


def _whole_tree(tree: Tree, which: Which, max_level: int) -> Downline:
    columns = genealogy(tree, which)
    if which == Which.SPONSOR and not tree.change_count and not tree.empty_place_count and max_level >= ALL_LEVELS:
        everyone = slice(0, tree.store.used)
        return Downline(which, everyone, everyone, 0)
    heads = children_of(columns, TOP)
    if which == Which.PLACEMENT:
        heads = heads[tree.sponsor.parent[columns.row_at[heads]] < 0]
    return _downlines(tree, which, heads, max_level, 0)


def _downlines(tree: Tree, which: Which, heads: Int32s, max_level: int, base_level: int) -> Downline:
    columns = genealogy(tree, which)
    if max_level >= ALL_LEVELS:
        seats = downline_seats(columns, heads, tree.empty_place_count)
    else:
        seats = seats_within(columns, heads, max_level)
    rows = _rows(tree, which, seats)
    if tree.empty_place_count:
        present = tree.store.kind[rows] != NOBODY
        rows, seats = rows[present], seats[present]
    return Downline(which, rows, seats, base_level)


def _rows(tree: Tree, which: Which, seats: Int32s) -> Int32s:
    return seats if which == Which.SPONSOR else tree.placement.row_at[seats]


def _members(tree: Tree, which: Which, seats: Int32s) -> Int32s:
    rows = _rows(tree, which, seats)
    return rows[tree.store.kind[rows] != NOBODY] if tree.empty_place_count else rows
