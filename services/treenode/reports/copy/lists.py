"""Lists of members: from one state of the tree to copied rows. Each function runs on the loop or under the gate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.domain.limits import MEMBER_ID_LENGTH_MAX
from services.shared.domain.sentences import quoted
from services.shared.serving.errors import InvalidArgumentError
from services.treenode.reports.columns import LEVEL, MEMBER_ID
from services.treenode.reports.copy.extents import (
    Extent,
    check_ends,
    checked_id,
    downline,
    genealogy,
    of_rows,
    place_of,
    scope,
    seen_rows,
)
from services.treenode.reports.copy.freeze import freeze
from services.treenode.reports.order.ordering import NO_IDS, RowOrder, first_rows, no_point, padded_id
from services.treenode.reports.order.pages import Page
from services.treenode.reports.plan.choice import Choice
from services.treenode.reports.plan.page_tokens import PageKey
from services.treenode.reports.rows import FrozenRows
from services.treenode.tree import Tree
from services.treenode.tree.columns.ids import find_one, find_rows, words_of
from services.treenode.tree.kernels.kernel import Int32s, Int64s, UInt8s, Whole, kernel
from services.treenode.tree.kernels.links import seat_at
from services.treenode.tree.kernels.ranges import single_ranges
from services.treenode.tree.kernels.walks import upline_of
from services.treenode.tree.store import NOBODY, Store

BATCH_MAX = 10_000


def check_batch(member_ids: list[str]) -> None:
    """Raises InvalidArgumentError where there are too many, or where one is no id."""
    if len(member_ids) > BATCH_MAX:
        raise InvalidArgumentError(
            f"member_ids has {len(member_ids)}: send {BATCH_MAX} at most in a call",
            reason="TOO_MANY_MEMBER_IDS",
            field="member_ids",
            value=str(len(member_ids)),
        )
    if member_ids:
        check_ends(member_ids)
        _check_ids(member_ids)


def batch(tree: Tree, choice: Choice, member_ids: list[str]) -> tuple[FrozenRows, list[str]]:
    """Members in the order asked, and the ids that nobody has. `check_batch` has looked at them."""
    if not member_ids:
        return freeze(tree, choice, of_rows(tree, choice, np.empty(0, np.int32))), []
    rows = np.empty(len(member_ids), np.int32)
    find_rows(tree.store.ids, words_of(member_ids), rows)
    known = rows >= 0
    known &= tree.store.kind[rows] != NOBODY
    if choice.leads is not None:
        known &= seen_rows(tree, choice)(np.where(known, rows, 0))
    if known.all():
        return freeze(tree, choice, of_rows(tree, choice, rows)), []
    unknown = [member_ids[index] for index in np.flatnonzero(~known).tolist()]
    return freeze(tree, choice, of_rows(tree, choice, rows[known])), unknown


def _check_ids(member_ids: list[str]) -> None:
    # One look at all of them together; the slow one only finds the culprit.
    whole = "".join(member_ids)
    if (
        min(map(len, member_ids))
        and max(map(len, member_ids)) <= MEMBER_ID_LENGTH_MAX
        and whole.isascii()
        and whole.isprintable()
    ):
        return
    for index, member_id in enumerate(member_ids):
        checked_id(member_id, f"member_ids[{index}]")


def upline(tree: Tree, choice: Choice, ends: tuple[str, str], after: PageKey | None, size: int) -> Page:
    """A page of those above a member, nearest first; empty places are left out, but their levels count.

    `ends`: whose upline, and the last one wanted (empty: up to the root).

    Raises:
        InvalidArgumentError: The last one is not above the first.
        NotFoundError: One of the two is nobody's id.
    """
    member_id, to_member_id = ends
    walked = genealogy(tree, choice)
    seats = upline_of(walked, place_of(tree, choice, member_id).seat)
    if (seen := scope(tree, choice)) is not None:
        seats = seen.cut(seats)
    if to_member_id:
        last = np.flatnonzero(seats == place_of(tree, choice, to_member_id, "to_member_id").seat)
        if not len(last):
            raise InvalidArgumentError(
                f"to_member_id {quoted(to_member_id)} is not above {quoted(member_id)}: "
                "name a member of its upline, or nobody",
                reason="NOT_IN_UPLINE",
                field="to_member_id",
                value=to_member_id,
            )
        seats = seats[: int(last[0]) + 1]
    people = walked.row_at[seats] if len(walked.row_at) else seats
    levels = np.flatnonzero(tree.store.kind[people] != NOBODY).astype(np.int32) + 1
    begin = _upline_begin(tree, people, levels, after)
    shown = levels[begin : begin + size]
    page = freeze(tree, choice, Extent(single_ranges(seats[shown - 1]), 0), (MEMBER_ID,))
    if LEVEL in page.values:
        page = replace(page, values={**page.values, LEVEL: shown})
    more = begin + size < len(levels)
    last_key = PageKey(int(shown[-1]), "", page.id_texts(MEMBER_ID)[-1].decode()) if more else None
    return Page(page, last_key, len(levels))


def _upline_begin(tree: Tree, people: Int32s, levels: Int32s, after: PageKey | None) -> int:
    """Where in `levels` (of the members among `people`, rows of an upline) a page begins."""
    if after is None:
        return 0
    asked = padded_id(after.member_id, MEMBER_ID_LENGTH_MAX).view(np.uint32).reshape(1, -1)
    found = np.flatnonzero(people == int(find_one(tree.store.ids, asked)))
    # Above the last one shown; where that one is not in this upline any more, in its place: whoever was shown may come
    # again, but nobody is left out.
    level = int(found[0]) + 1 if len(found) else (after.number or 0) - 1
    return int(np.searchsorted(levels, level, side="right"))


@kernel
def _held_in_tank(store: Store, ranges: Int64s, rows: Int32s) -> Whole:
    """Fills `rows` with the members of the ranges (of rows) that have a sponsor and no placement; how many."""
    found = 0
    for index in range(ranges.shape[0]):
        for row in range(ranges[index, 0], ranges[index, 1]):
            if (
                store.kind[row] != NOBODY
                and store.sponsor.parent[row] >= 0
                and store.placement.parent[seat_at(store.placement, row)] < 0
            ):
                rows[found] = row
                found += 1
    return found


def counts(tree: Tree, choice: Choice) -> tuple[int, int, int]:
    """Members, roots, and members without a placement: of the whole tree, or of what a leader sees of it.

    `choice` walks the sponsor tree.
    """
    if choice.leads is None:
        return tree.member_count, tree.root_count, tree.holding_count
    seen = scope(tree, choice)
    if seen is None or seen.head < 0:
        return 0, 0, 0
    ranges = downline(tree, choice, choice.leads).ranges
    rows = np.empty(int((ranges[:, 1] - ranges[:, 0]).sum()), np.int32)
    rows = rows[: int(_held_in_tank(tree.store, ranges, rows))]
    return int(seen.walked.members[seen.head]) + 1, 1, int(np.count_nonzero(rows != seen.head))


def holding_tank(tree: Tree, choice: Choice, member_id: str, after: PageKey | None, size: int) -> Page:
    """A page of the members who wait for a placement, by id: all, or those sponsored in a member's downline; for a
    leader, in his, whichever tree is asked for. Raises as `row_of_member`.
    """
    store, sponsored = tree.store, replace(choice, tree=types_pb2.TREE_SPONSOR)
    choice = choice if choice.leads is None else sponsored
    base_level, start = 0, -1
    if member_id := member_id or choice.leads or "":
        start = place_of(tree, sponsored, member_id).row
        extent = downline(tree, sponsored, member_id)
        ranges, base_level = extent.ranges, extent.base_level
    else:
        ranges = np.array([[0, store.used]], np.int64)
    rows = np.empty(int((ranges[:, 1] - ranges[:, 0]).sum()), np.int32)
    rows = rows[: int(_held_in_tank(store, ranges, rows))]
    rows = rows[rows != start]
    ids: UInt8s = store.ids.words.view(np.uint8).reshape(len(store.ids.words), -1)
    point = no_point(ids.shape[1])
    if after is not None:
        point = point._replace(given=True, member=padded_id(after.member_id, ids.shape[1]))
    chosen, more = first_rows(RowOrder(np.empty(0, np.int64), NO_IDS, False, rows, ids), point, size)
    total = len(rows)
    extent = replace(of_rows(tree, choice, rows[chosen]), base_level=base_level)
    page = freeze(tree, choice, extent, (MEMBER_ID,))
    last = PageKey(None, "", page.id_texts(MEMBER_ID)[-1].decode()) if more else None
    return Page(page, last, total)
