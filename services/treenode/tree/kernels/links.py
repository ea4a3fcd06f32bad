"""One tree over the members: its columns, and the kernels that keep its links, levels and counts.

Each tree numbers its members in its own pre-order when it is laid out; a member's number in a tree is its *seat*. In
the sponsor tree the seat is the row itself; the placement tree has two columns that lead from row to seat and back. A
member that arrives later takes the next number, so its seat says nothing about its place: the links do.

A seat is *clean* while its downline is exactly the seats from it to `span` - 1, in pre-order, all of them clean.
Whatever changes the tree below a seat makes it and everyone above it dirty for good (until the next layout); hence a
dirty seat's parent is dirty, and marking can stop at the first dirty one. A walk takes a clean seat's downline as one
range and follows links only through dirty ones. So an untouched downline is one range, and a much changed tree is
still exact.
"""

from __future__ import annotations

from typing import NamedTuple

from services.treenode.tree.kernels.kernel import Int32s, Int64s, inlined, inner, kernel, whole

#: In `parent`: nobody above; and a seat that is no place.
TOP = -1
FREE = -2


class Genealogy(NamedTuple):
    """The columns of one tree, by seat. Capacity is the same for all; seats from counters[USED] on have no meaning."""

    #: int32: the parent's seat; TOP; or FREE.
    parent: Int32s
    #: int32: clean: one past the last seat of the downline, > 0; dirty: -1 - the first child's seat, 0 without one.
    span: Int32s
    #: int32: the next seat with the same parent, or -1.
    following: Int32s
    #: int32: the seat before with the same parent; the first one's is the last one.
    preceding: Int32s
    #: int32: levels below the top.
    level: Int32s
    #: int32: members below at any level; empty places do not count.
    members: Int32s
    #: (slots, capacity) int64: own and downline's personal volume, in hundredths.
    group: Int64s
    #: int32 by row: its seat; of length 0 where seat and row are the same.
    seat_of: Int32s
    #: int32: the seat's row; of length 0 likewise.
    row_at: Int32s
    #: (1,) int32: the first seat without a parent, or -1.
    top: Int32s


@inlined
def seat_at(tree: Genealogy, row: int) -> int:
    """The seat of a row."""
    if tree.seat_of.shape[0] == 0:
        return whole(row)
    return whole(tree.seat_of[row])


@inlined
def row_of(tree: Genealogy, seat: int) -> int:
    """The row of a seat."""
    if tree.row_at.shape[0] == 0:
        return whole(seat)
    return whole(tree.row_at[seat])


@inlined
def first_child(tree: Genealogy, seat: int) -> int:
    """The first child's seat, or -1."""
    span = whole(tree.span[seat])
    if span > 0:
        if span > seat + 1:
            return whole(seat + 1)
        return whole(-1)
    return -1 - span


@inlined
def mark_dirty(tree: Genealogy, seat: int) -> None:
    """Makes `seat` and all above it dirty. TOP is fine."""
    while seat >= 0 and tree.span[seat] > 0:
        tree.span[seat] = -1 - first_child(tree, seat)
        seat = whole(tree.parent[seat])


@inlined
def link_last(tree: Genealogy, parent: int, seat: int) -> None:
    """Makes `seat` the last child of `parent` (dirty), or the last one at the top. Levels and sums are the caller's."""
    first = whole(tree.top[0]) if parent < 0 else first_child(tree, parent)
    tree.parent[seat] = parent
    tree.following[seat] = -1
    if first >= 0:
        last = whole(tree.preceding[first])
        tree.following[last] = seat
        tree.preceding[seat] = last
        tree.preceding[first] = seat
        return
    tree.preceding[seat] = seat
    if parent < 0:
        tree.top[0] = seat
    else:
        tree.span[parent] = -1 - seat


@inlined
def unlink(tree: Genealogy, seat: int) -> None:
    """Takes `seat` out of its parent's (dirty) children. Its own `parent` stays, for the caller to replace."""
    parent = whole(tree.parent[seat])
    first = whole(tree.top[0]) if parent < 0 else first_child(tree, parent)
    after = whole(tree.following[seat])
    before = whole(tree.preceding[seat])
    if after >= 0:
        tree.preceding[after] = before
    elif first != seat:
        tree.preceding[first] = before
    if first != seat:
        tree.following[before] = after
    elif parent < 0:
        tree.top[0] = after
    else:
        tree.span[parent] = -1 - after


@inlined
def add_counts(tree: Genealogy, seat: int, members: int) -> None:
    """Adds `members` to the count of `seat` and everyone above it. TOP is fine."""
    while seat >= 0:
        tree.members[seat] += members
        seat = whole(tree.parent[seat])


@inlined
def add_volume(tree: Genealogy, slot: int, seat: int, amount: int) -> None:
    """Adds `amount` to the group volume of `seat` and everyone above it. TOP is fine."""
    group = tree.group[slot]
    parent = tree.parent
    while seat >= 0:
        group[seat] += amount
        seat = whole(parent[seat])


@inlined
def sum_fits(left: int, right: int) -> bool:
    """Whether left + right fits an int64."""
    total = whole(left) + whole(right)
    return ((left ^ total) & (right ^ total)) >= 0


@inlined
def difference_fits(left: int, right: int) -> bool:
    """Whether left - right fits an int64."""
    total = whole(left) - whole(right)
    return ((left ^ right) & (left ^ total)) >= 0


@inner
def can_be_added(tree: Genealogy, slot: int, seat: int, amount: int, until: int) -> bool:
    """Whether `amount` can be added to the group volumes from `seat` up to, but without, `until` (TOP: to the top)."""
    while seat >= 0 and seat != until:
        if not sum_fits(tree.group[slot, seat], amount):
            return False
        seat = whole(tree.parent[seat])
    return True


@inner
def can_be_taken(tree: Genealogy, slot: int, seat: int, amount: int, until: int) -> bool:
    """Whether `amount` can be taken from the group volumes from `seat` up to, but without, `until` (TOP: all)."""
    while seat >= 0 and seat != until:
        if not difference_fits(tree.group[slot, seat], amount):
            return False
        seat = whole(tree.parent[seat])
    return True


@kernel
def is_below(tree: Genealogy, seat: int, head: int) -> bool:
    """Whether `seat` is `head` or in its downline."""
    level = tree.level[head]
    while seat >= 0 and tree.level[seat] > level:
        seat = whole(tree.parent[seat])
    return seat == head


@inlined
def next_in_walk(tree: Genealogy, seat: int, head: int) -> int:
    """The seat after the whole downline of `seat` in the pre-order of the tree below `head`; -1 at its end."""
    while seat != head:
        after = whole(tree.following[seat])
        if after >= 0:
            return after
        seat = whole(tree.parent[seat])
    return whole(-1)


@inner
def shift_levels(tree: Genealogy, head: int, levels: int) -> None:
    """Adds `levels` to the level of `head` and of its whole downline."""
    seat = head
    while seat >= 0:
        if tree.span[seat] > 0:
            for below in range(seat, tree.span[seat]):
                tree.level[below] += levels
            seat = next_in_walk(tree, seat, head)
        else:
            tree.level[seat] += levels
            child = first_child(tree, seat)
            seat = child if child >= 0 else next_in_walk(tree, seat, head)
