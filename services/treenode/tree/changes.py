"""What one update does to the tree, or why it is not taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.domain.days import day_number
from services.shared.domain.limits import NO_DAY
from services.shared.domain.updates import NO_CHANGE, change_problem
from services.shared.rules import CHANGES, Refused, changed, version_problem
from services.treenode.tree.columns.further import Value
from services.treenode.tree.columns.ids import find_one, key_of, packed_id
from services.treenode.tree.columns.shown import show_rows
from services.treenode.tree.failures import UnknownVersionError
from services.treenode.tree.held import of_removed
from services.treenode.tree.kernels.legs import choose_leg
from services.treenode.tree.kernels.links import TOP, is_below
from services.treenode.tree.kernels.moves import (
    heir_of,
    move_fits,
    move_placement,
    move_sponsor,
    removal_fits,
    remove_member,
    roll_up_volume,
    set_profile,
    volume_can_roll_up,
)
from services.treenode.tree.kernels.postings import enrol_members, post_volumes
from services.treenode.tree.skips import Skip
from services.treenode.tree.store import DISTRIBUTOR, NOBODY

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree


@dataclass(frozen=True)
class Refusal:
    """Why an update is not taken; nothing was changed."""

    #: In one line.
    reason: str
    #: The member that it waits for: then it is held. Empty: it is rejected.
    waits_for: str = ""
    #: Where that member was removed; 0: it never was.
    removed_at: int = 0


class _RefusedError(Exception):
    """Carries a refusal out of the checks of an update."""

    def __init__(self, reason: str, waits_for: str = "", removed_at: int = 0) -> None:
        super().__init__(reason)
        self.refusal = Refusal(reason, waits_for, removed_at)


def attempt(tree: Tree, update: types_pb2.Update) -> Refusal | None:
    """Applies an update at the tree's position, or says why not.

    `tree.changing` is set before the first change to the tree, by whoever makes it. Raises UnknownVersionError
    for an update whose effect this build can't know.
    Of an operator's decision about held updates only the form is looked at: see outcomes.py.
    """
    kind = update.WhichOneof("change")
    if kind is None:
        return Refusal(NO_CHANGE)
    change = getattr(update, kind)
    if problem := change_problem(kind, change):
        return Refusal(problem)
    if kind in CHANGES:
        return _take_rules(tree, kind, change)
    try:
        _APPLY[kind](tree, change)
    except _RefusedError as refused:
        return refused.refusal
    return None


def _take_rules(tree: Tree, kind: str, change: Any) -> Refusal | None:
    rules = changed(tree.rules, kind, change)
    if isinstance(rules, Refused):
        return Refusal(rules.reason)
    if problem := version_problem(rules.version):
        raise UnknownVersionError(f"from here on {problem}")
    tree.changing = True
    tree.take_rules(rules)
    return None


def find_place(tree: Tree, member_id: str) -> int:
    """The row of a place, be it empty; -1 where none has the id."""
    return int(find_one(tree.store.ids, packed_id(member_id)))


def _member_row(tree: Tree, member_id: str, what: str) -> int:
    row = find_place(tree, member_id)
    if row < 0 or tree.store.kind[row] == NOBODY:
        if removed_at := tree.held_updates.removals.get(member_id, 0):
            raise _RefusedError(of_removed(member_id, removed_at), member_id, removed_at)
        raise _RefusedError(f"{what} {member_id} is not known yet", waits_for=member_id)
    return row


def _row_above(tree: Tree, member_id: str, what: str) -> int:
    return _member_row(tree, member_id, what) if member_id else TOP


def _seat(tree: Tree, row: int) -> int:
    return int(tree.placement.seat_of[row]) if row >= 0 else TOP


def _parsed_columns(tree: Tree, columns: Mapping[str, str]) -> dict[str, Value]:
    if not columns:
        return {}
    try:
        return tree.further.parsed(columns)
    except ValueError as error:
        raise _RefusedError(str(error)) from None


def _status_code(tree: Tree, status: str) -> int:
    try:
        return tree.status_code(status)
    except ValueError as error:
        raise _RefusedError(str(error)) from None


def _enrol(tree: Tree, enrolled: types_pb2.MemberEnrolled) -> None:
    member_id, leg = enrolled.member_id, enrolled.placement_leg
    kind, rank, joined_on = enrolled.kind or DISTRIBUTOR, enrolled.rank, day_number(enrolled.joined_on)
    columns = _parsed_columns(tree, enrolled.columns)
    row = find_place(tree, member_id)
    if row >= 0 and tree.store.kind[row] != NOBODY:
        raise _RefusedError(f"member {member_id} is enrolled already")
    sponsor = _row_above(tree, enrolled.sponsor_id, "sponsor")
    placement = _row_above(tree, enrolled.placement_id, "placement")
    status = _status_code(tree, enrolled.status)
    if row >= 0:
        _check_move(tree, row, sponsor, "sponsor")
        leg = _check_placement(tree, row, placement, leg)
        tree.changing = True
        move_sponsor(tree.store, row, sponsor)
        move_placement(tree.store, row, placement, leg)
        set_profile(tree.store, row, kind, status, rank, joined_on)
    else:
        if placement >= 0 and choose_leg(tree.store, _seat(tree, placement), leg) < 0:
            raise _RefusedError(f"leg {leg} of {enrolled.placement_id} is taken")
        row = _enrol_new(tree, enrolled, (kind, status, rank, joined_on))
    show_rows(tree, row)
    _set_columns(tree, row, member_id, columns)


def _enrol_new(tree: Tree, enrolled: types_pb2.MemberEnrolled, profile: tuple[int, int, int, int]) -> int:
    """Makes a new place; everything is checked."""
    asked = packed_id(enrolled.member_id)
    tree.ensure_capacity(1, asked)
    rows = np.empty(1, dtype=np.int32)
    legs = np.array([enrolled.placement_leg], dtype=np.int32)
    tree.changing = True
    done = enrol_members(
        tree.store,
        asked,
        packed_id(enrolled.sponsor_id),
        packed_id(enrolled.placement_id),
        legs,
        np.array([profile], dtype=np.int32),
        rows,
        0,
        0,
    )
    if done != 1:
        raise AssertionError(f"a checked enrolment of {enrolled.member_id} was not taken")
    tree.further.clear(rows)
    return int(rows[0])


def _set_columns(tree: Tree, row: int, member_id: str, columns: Mapping[str, Value]) -> None:
    if not columns:
        return
    key = key_of(member_id)
    tree.add_to_digest(sum(tree.further[name].put(row, key, value) for name, value in columns.items()))


def _change(tree: Tree, changed: types_pb2.MemberChanged) -> None:
    member_id = changed.member_id
    joined_on = day_number(changed.joined_on) if changed.HasField("joined_on") else None
    columns = _parsed_columns(tree, changed.columns)
    row = _member_row(tree, member_id, "member")
    status = _status_code(tree, changed.status) if changed.HasField("status") else None
    store = tree.store
    tree.changing = True
    set_profile(
        store,
        row,
        changed.kind if changed.HasField("kind") else int(store.kind[row]),
        int(store.status[row]) if status is None else status,
        changed.rank if changed.HasField("rank") else int(store.rank[row]),
        int(store.joined_on[row]) if joined_on is None else joined_on,
    )
    show_rows(tree, row)
    _set_columns(tree, row, member_id, columns)


def _check_move(tree: Tree, row: int, above: int, what: str) -> None:
    if above >= 0 and is_below(tree.sponsor, above, row):
        raise _RefusedError(f"the new {what} is in the member's own downline")
    if not move_fits(tree.store, tree.sponsor, row, above):
        raise _RefusedError("a group total would not fit 64 bits")


def _check_placement(tree: Tree, row: int, above: int, leg: int) -> int:
    """The leg to take below the row `above`; 0 at the top."""
    seat = _seat(tree, row)
    above_seat = _seat(tree, above)
    if above >= 0 and is_below(tree.placement, above_seat, seat):
        raise _RefusedError("the new placement is in the member's own downline")
    if not move_fits(tree.store, tree.placement, seat, above_seat):
        raise _RefusedError("a group total would not fit 64 bits")
    if above < 0:
        return 0
    own_leg = int(tree.store.leg[row])
    if tree.placement.parent[seat] == above_seat and leg in (0, own_leg):
        return own_leg
    taken = int(choose_leg(tree.store, above_seat, leg))
    if taken < 0:
        raise _RefusedError(f"leg {leg} of the new placement is taken")
    return taken


def _move(tree: Tree, moved: types_pb2.MemberMoved) -> None:
    row = _member_row(tree, moved.member_id, "member")
    above = _row_above(tree, moved.new_parent_id, "new parent")
    if moved.tree == types_pb2.TREE_PLACEMENT:
        leg = _check_placement(tree, row, above, moved.placement_leg)
        tree.changing = True
        move_placement(tree.store, row, above, leg)
    else:
        _check_move(tree, row, above, "sponsor")
        tree.changing = True
        move_sponsor(tree.store, row, above)


def _remove(tree: Tree, removed: types_pb2.MemberRemoved) -> None:
    row = _member_row(tree, removed.member_id, "member")
    emptied = removed.mode == types_pb2.REMOVAL_MODE_LEAVE_EMPTY
    heir = -1 if emptied or not _rolls_up(tree, removed) else int(heir_of(tree.store, row))
    if heir >= 0:
        _make_ready_to_roll_up(tree, row, heir)
    elif not emptied and not removal_fits(tree.store, row):
        raise _RefusedError("a group total would not fit 64 bits")
    no_status = _status_code(tree, "") if emptied else 0
    tree.changing = True
    _set_columns(tree, row, removed.member_id, tree.further.nothing())
    if emptied:
        set_profile(tree.store, row, NOBODY, no_status, 0, NO_DAY)
    else:
        if heir >= 0:
            roll_up_volume(tree.store, row, heir)
        remove_member(tree.store, row)
    show_rows(tree, row)
    tree.add_to_digest(tree.held_updates.note_removal(removed.member_id, tree.position))


def _rolls_up(tree: Tree, removed: types_pb2.MemberRemoved) -> bool:
    return (removed.volume or tree.rules.volume_of_removed) != types_pb2.REMOVAL_VOLUME_LEAVES


def _make_ready_to_roll_up(tree: Tree, row: int, heir: int) -> None:
    """Sees to it that `roll_up_volume` can be called."""
    if not volume_can_roll_up(tree.store, row, heir):
        raise _RefusedError("a total would not fit 64 bits")
    for slot in range(len(tree.store.personal)):
        if amount := int(tree.store.personal[slot, row]):
            tree.ensure_volume_width(slot, heir, amount)


def _post(tree: Tree, posted: types_pb2.VolumePosted) -> None:
    member_id = posted.member_id
    if problem := tree.rules.order_problem(posted.volume_type, posted.period):
        raise _RefusedError(problem)
    slot = tree.slots.of_orders(posted.volume_type, posted.period)
    row = _member_row(tree, member_id, "member")
    tree.ensure_volume_width(slot, row, posted.amount_hundredths)
    slots = np.array([slot], dtype=np.int32)
    amounts = np.array([posted.amount_hundredths], dtype=np.int64)
    tree.changing = True
    if post_volumes(tree.store, packed_id(member_id), slots, amounts, 0, 0) != 1:
        raise _RefusedError("a total would not fit 64 bits")


def _skip(tree: Tree, skipped: types_pb2.UpdateSkipped) -> None:
    """Every node knows of the decision before (skips.py); one that does not finds out here that it is too late."""
    if skipped.position >= tree.position:
        raise _RefusedError("only an update that came before can be skipped")
    tree.learn_skip(Skip(skipped.position, skipped.skipped_update_id, skipped.reason))


def _erase(tree: Tree, erased: types_pb2.MemberErased) -> None:
    """Empties the cells of personal columns. What is held of the member has tokens that lead to nothing."""
    row = find_place(tree, erased.member_id)
    # A file's own may be written otherwise. Not as `services.shared.personal.names` has it, which changes with Unicode:
    # the same record makes the same state everywhere. What that means beyond this are tokens, which lead to nothing.
    personal = {name.lower() for name in tree.rules.personal}
    nothing = {name: value for name, value in tree.further.nothing().items() if name.lower() in personal}
    if row >= 0 and nothing:
        tree.changing = True
        _set_columns(tree, row, erased.member_id, nothing)


#: What applies each change, once its form is known to be good.
_APPLY: dict[str, Callable[[Tree, Any], None]] = {
    "member_enrolled": _enrol,
    "member_changed": _change,
    "member_moved": _move,
    "member_removed": _remove,
    "volume_posted": _post,
    "update_skipped": _skip,
    "member_erased": _erase,
    "held_settled": lambda tree, settled: None,
}
