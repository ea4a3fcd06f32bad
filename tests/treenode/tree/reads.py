"""Reads a tree by ids, through the kernels that reports walk it with. Empty places are never among the members."""

from __future__ import annotations

import numpy as np

from services.treenode.tree import FurtherColumn, Tree
from services.treenode.tree.columns.ids import find_one, ids_of, packed_id
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.kernels.kernel import AnyArray, Int32s
from services.treenode.tree.kernels.links import TOP, Genealogy
from services.treenode.tree.kernels.ranges import all_ranges, downline_ranges, hidden_by_row
from services.treenode.tree.kernels.walks import children_of, seats_within, upline_of
from services.treenode.tree.store import NOBODY
from tests.treenode.tree.naive import SPONSOR


def row_of(tree: Tree, member_id: str) -> int:
    """The row of a member; -1 where nobody has the id."""
    row = int(find_one(tree.store.ids, packed_id(member_id)))
    return row if row >= 0 and tree.store.kind[row] != NOBODY else -1


def walked(tree: Tree, which: int) -> Genealogy:
    """One of the two trees."""
    return tree.sponsor if which == SPONSOR else tree.placement


def seat_of(tree: Tree, which: int, member_id: str) -> int:
    """The seat of a member; TOP for the empty id."""
    if not member_id:
        return TOP
    row = row_of(tree, member_id)
    return row if which == SPONSOR else int(tree.placement.seat_of[row])


def parent(tree: Tree, which: int, member_id: str) -> str:
    """The id of the member or empty place right above; empty where there is none."""
    above = int(walked(tree, which).parent[seat_of(tree, which, member_id)])
    if above < 0:
        return ""
    row = above if which == SPONSOR else int(tree.placement.row_at[above])
    text: bytes = ids_of(tree.store.ids.words[row : row + 1])[0]
    return text.decode()


def level(tree: Tree, which: int, member_id: str) -> int:
    """Levels below the top."""
    return int(walked(tree, which).level[seat_of(tree, which, member_id)])


def downline_count(tree: Tree, which: int, member_id: str) -> int:
    """Members below, at any level."""
    return int(walked(tree, which).members[seat_of(tree, which, member_id)])


def group_volume(tree: Tree, which: int, member_id: str, slot: int = 0) -> int:
    """Own volume and that of the downline, in hundredths."""
    return int(walked(tree, which).group[slot, seat_of(tree, which, member_id)])


def personal_volume(tree: Tree, member_id: str, slot: int = 0) -> int:
    """Own volume, in hundredths."""
    return int(tree.store.personal[slot, row_of(tree, member_id)])


def upline(tree: Tree, which: int, member_id: str) -> list[str]:
    """Everyone above, nearest first."""
    return _members(tree, which, upline_of(walked(tree, which), seat_of(tree, which, member_id)))


def front_line(tree: Tree, which: int, member_id: str) -> list[str]:
    """Direct children in tree order; of the empty id: the members without a sponsor, in both trees."""
    seats = children_of(walked(tree, which), seat_of(tree, which, member_id))
    if not member_id and which != SPONSOR:
        seats = seats[hidden_by_row(tree.sponsor, tree.store.used)[tree.placement.row_at[seats]] == 0]
    return _members(tree, which, seats)


def downline(tree: Tree, which: int, member_id: str) -> list[str]:
    """A member and its downline in tree order; of the empty id: everyone's but the holding tank's."""
    columns = walked(tree, which)
    if member_id:
        ranges = downline_ranges(columns, seat_of(tree, which, member_id))
    else:
        nobody = np.empty(0, np.uint8)
        ranges = all_ranges(columns, nobody if which == SPONSOR else hidden_by_row(tree.sponsor, tree.store.used))
    seats = [np.arange(first, last, dtype=np.int32) for first, last in ranges.tolist()]
    return _members(tree, which, np.concatenate([np.empty(0, np.int32), *seats]))


def shallow_downline(tree: Tree, which: int, member_id: str, levels: int) -> list[str]:
    """A member and so many levels below it, in tree order."""
    heads = np.array([seat_of(tree, which, member_id)], np.int32)
    return _members(tree, which, seats_within(walked(tree, which), heads, levels))


def _members(tree: Tree, which: int, seats: Int32s) -> list[str]:
    rows = seats if which == SPONSOR else tree.placement.row_at[seats]
    texts: AnyArray = ids_of(tree.store.ids.words[rows[tree.store.kind[rows] != NOBODY]])
    return [text.decode() for text in texts.tolist()]


def texts_of(column: FurtherColumn) -> list[str]:
    """The texts of a table's column of texts."""
    texts = Texts(column.texts)
    return [texts.text_at(reference) for reference in column.values.tolist()]
