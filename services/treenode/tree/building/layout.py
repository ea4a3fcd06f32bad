"""Layout: numbers members in pre-order, and computes every derived column from parents and personal volumes.

Nothing here is recursive. Numbering needs the parents before their children: a file that has them so is taken in its
own order, any other one is first sorted by level (a counting sort, so siblings stay in file order). All else is one
pass up or down over columns in which a parent stands shortly before its children.
"""

from __future__ import annotations

import numpy as np

from services.treenode.tree.kernels.kernel import AnyArray, Int32s, Int64s, kernel
from services.treenode.tree.kernels.links import TOP, Genealogy


@kernel
def _parents_first(parent: Int32s) -> bool:
    for index in range(parent.shape[0]):  # noqa: SIM110 - numba compiles no generator expressions
        if parent[index] >= index:
            return False
    return True


@kernel
def _levels(parent: Int32s, level: Int32s) -> int:
    """Fills `level` (-1 everywhere before); the deepest one. Each row is passed twice at most."""
    deepest = 0
    for index in range(parent.shape[0]):
        if level[index] >= 0:
            continue
        depth = 0
        row = np.int64(index)
        while row >= 0 and level[row] < 0:
            depth += 1
            row = np.int64(parent[row])
        depth += level[row] if row >= 0 else -1
        deepest = max(deepest, depth)
        row = np.int64(index)
        while row >= 0 and level[row] < 0:
            level[row] = depth
            depth -= 1
            row = np.int64(parent[row])
    return deepest


@kernel
def _sort_by_level(level: Int32s, begin: Int64s, step: Int32s) -> None:
    """Fills `step` with each row's place among the rows by level; equal ones in their own order. `begin`: zeros."""
    for index in range(level.shape[0]):
        begin[level[index] + 1] += 1
    for depth in range(1, begin.shape[0]):
        begin[depth] += begin[depth - 1]
    for index in range(level.shape[0]):
        step[index] = begin[level[index]]
        begin[level[index]] += 1


@kernel
def _steps_above(parent: Int32s, step: Int32s, above: Int32s) -> None:
    """Fills `above` with the step of the parent of the row at each step, or -1."""
    for index in range(parent.shape[0]):
        above[step[index]] = step[parent[index]] if parent[index] >= 0 else -1


@kernel
def _number(parent: Int32s, size: Int32s, seat: Int32s) -> None:
    """Fills `seat` with the pre-order number of each row. `parent`: each before its children; `size`: ones."""
    count = parent.shape[0]
    for row in range(count - 1, -1, -1):
        if parent[row] >= 0:
            size[parent[row]] += size[row]
    top = 0
    # From here on size[row] is the next seat to give below a row that has its own.
    for row in range(count):
        above = parent[row]
        own = size[row]
        if above >= 0:
            seat[row] = size[above]
            size[above] += own
        else:
            seat[row] = top
            top += own
        size[row] = seat[row] + 1


@kernel
def _look_up(values: Int32s, places: Int32s) -> None:
    """Replaces each place by the value there."""
    for index in range(places.shape[0]):
        places[index] = values[places[index]]


def preorder(parent: Int32s) -> Int32s:
    """The pre-order number of each row, (n,) int32. `parent`: (n,) int32 row or -1, without cycles."""
    count = len(parent)
    seat = np.empty(count, dtype=np.int32)
    if _parents_first(parent):
        _number(parent, np.ones(count, dtype=np.int32), seat)
        return seat
    level = np.full(count, -1, dtype=np.int32)
    deepest = int(_levels(parent, level))
    step = np.empty(count, dtype=np.int32)
    _sort_by_level(level, np.zeros(deepest + 2, dtype=np.int64), step)
    # By step a parent is not far before its children, so the numbering stays within the cache.
    above = level
    _steps_above(parent, step, above)
    _number(above, np.ones(count, dtype=np.int32), seat)
    _look_up(seat, step)
    return step


@kernel
def place_all(from_row: Int32s, seat: Int32s, parent: Int32s, out: Int32s) -> None:
    """Writes each row's parent in seats: out[seat[i]] = seat[parent[i]], or TOP; from_row[seat[i]] = i."""
    for index in range(parent.shape[0]):
        above = parent[index]
        own = seat[index]
        out[own] = seat[above] if above >= 0 else TOP
        from_row[own] = index


@kernel
def parents_by_row(file_row: Int32s, row_of_file: Int32s, parent: Int32s, out: Int32s) -> None:
    """Fills `out` with the row of each row's parent, or TOP. `parent`: by row of the file."""
    for row in range(file_row.shape[0]):
        above = parent[file_row[row]]
        out[row] = row_of_file[above] if above >= 0 else TOP


@kernel
def derive_links(tree: Genealogy, count: int, present: AnyArray) -> None:
    """Fills span, following, preceding, level, count and top from `parent`, in which seats are in pre-order.

    `present`: uint8 by row, 0 for an empty place (not counted).
    """
    mapped = tree.row_at.shape[0] > 0
    tree.top[0] = 0 if count else -1
    # Downwards `span` holds sizes for a while.
    for seat in range(count):
        above = tree.parent[seat]
        tree.level[seat] = tree.level[above] + 1 if above >= 0 else 0
        tree.span[seat] = 1
        tree.members[seat] = 0
    for seat in range(count - 1, -1, -1):
        above = tree.parent[seat]
        if above >= 0:
            row = tree.row_at[seat] if mapped else seat
            tree.span[above] += tree.span[seat]
            tree.members[above] += tree.members[seat] + (1 if present[row] else 0)
        tree.span[seat] += seat
    for seat in range(count):
        above = tree.parent[seat]
        end = tree.span[above] if above >= 0 else count
        first = above + 1 if above >= 0 else 0
        after = tree.span[seat]
        if after < end:
            tree.following[seat] = after
            tree.preceding[after] = seat
        else:
            tree.following[seat] = -1
            tree.preceding[first] = seat


@kernel
def roll_up(tree: Genealogy, slot: int, count: int, personal: AnyArray) -> bool:
    """Fills group volumes of a slot from personal ones (by row); seats are in pre-order. False: a total overflows."""
    group = tree.group[slot]
    if tree.row_at.shape[0] > 0:
        for seat in range(count):
            group[seat] = personal[tree.row_at[seat]]
    else:
        for seat in range(count):
            group[seat] = personal[seat]
    fits = True
    for seat in range(count - 1, -1, -1):
        above = tree.parent[seat]
        if above >= 0:
            left = group[above]
            right = group[seat]
            total = left + right
            if ((left ^ total) & (right ^ total)) < 0:
                fits = False
            group[above] = total
    return fits


def empty_genealogy(capacity: int, slots: int, mapped: bool) -> Genealogy:
    """A tree without members. Memory is only taken as seats are written."""

    def column() -> Int32s:
        return np.empty(capacity, dtype=np.int32)

    seats = np.empty((2, capacity if mapped else 0), dtype=np.int32)
    group = np.zeros((slots, capacity), dtype=np.int64)
    top = np.full(1, -1, dtype=np.int32)
    return Genealogy(column(), column(), column(), column(), column(), column(), group, seats[0], seats[1], top)
