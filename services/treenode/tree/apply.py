"""Takes updates in, in the order of the log, and decides what becomes of each.

Rules, the same on every node since they depend on the state alone:

- An update is *applied*, *held* (it names a member that is not known: one that never was, or whose place is empty) or
  *rejected* (it can never be taken). Held and rejected ones change nothing; both are in the digest.
- What is wrong with an update in itself is found first, then whether it must be held, then whether the tree refuses
  it.
- When a member arrives, the held updates that wait for it are tried again at once, at the position of its arrival,
  lowest position first; those that this releases join them (outcomes.py, with the exceptions).

Runs of orders and of enrolments go through kernels by the batch; whatever these stop at is looked at alone.

Where the engine itself fails, the tree stops before that update (`failures.py`). `Tree.changing` is set from an
update's first change to its last, so that it is known whether the tree is still as it was before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.domain.days import day_number
from services.shared.domain.limits import LEG_MAX, MEMBER_ID_LENGTH_MAX, RANK_MAX
from services.shared.domain.updates import columns_problem
from services.shared.rules import Rules, changed
from services.treenode.tree.changes import Refusal, attempt, find_place
from services.treenode.tree.columns.further import Value
from services.treenode.tree.columns.ids import words_of
from services.treenode.tree.columns.names import Names
from services.treenode.tree.columns.shown import show_rows
from services.treenode.tree.failures import UpdateFailedError
from services.treenode.tree.held import REMOVALS_CARRIED, CarriedHold, NotApplied, of_removed
from services.treenode.tree.kernels.kernel import Int32s, UInt32s
from services.treenode.tree.kernels.postings import enrol_members, post_volumes
from services.treenode.tree.outcomes import hold, reject, release, settle
from services.treenode.tree.skips import Skip
from services.treenode.tree.store import CUSTOMER, DISTRIBUTOR, POSITION, RING

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree

#: Told of a period, and the tree just before the update that closes it for good: it is whole, and has its volumes yet.
#: It must not change anything, nor raise.
BeforeSeal = Callable[["Tree", str], None]
_SEALING = ("period_closed", "period_sealed")

#: While updates wait for members, this many enrolments are compared with them before a kernel takes them in.
_PLAIN_AT_ONCE = 64


def apply_updates(
    tree: Tree, first_position: int, updates: Sequence[types_pb2.Update], before_seal: BeforeSeal | None
) -> list[NotApplied]:
    """See Tree.apply."""
    if first_position != tree.position + 1:
        raise ValueError(f"the tree is at position {tree.position}: update {first_position} is not the next one")
    not_applied: list[NotApplied] = []
    if tree.skips.due:
        _settle_held_skips(tree, not_applied)
    done = 0
    while (skip := tree.skips.next_due(first_position + done, first_position + len(updates) - 1)) is not None:
        begin, done = done, skip.position - first_position
        _apply_runs(tree, updates[begin:done], not_applied, before_seal)
        tree.store.counters[POSITION] += 1
        _reject_skipped(tree, skip, not_applied)
        done += 1
    _apply_runs(tree, updates[done:] if done else updates, not_applied, before_seal)
    return not_applied


def _apply_runs(
    tree: Tree, updates: Sequence[types_pb2.Update], not_applied: list[NotApplied], before_seal: BeforeSeal | None
) -> None:
    """Applies updates run by run of one kind. Raises UpdateFailedError."""
    kinds = [update.WhichOneof("change") for update in updates]
    begin = 0
    while begin < len(updates):
        end = begin + 1
        while end < len(updates) and kinds[end] == kinds[begin]:
            end += 1
        run = updates[begin:end] if len(kinds) != end - begin else updates
        if kinds[begin] == "volume_posted":
            _apply_by_kernel(tree, _post_run, run, not_applied)
        elif kinds[begin] == "member_enrolled":
            _apply_by_kernel(tree, _enrol_run, run, not_applied)
        else:
            for update in run:
                if before_seal is not None and kinds[begin] in _SEALING:
                    for period in _sealed_by(tree, update):
                        before_seal(tree, period)
                _apply_next(tree, update, not_applied)
        begin = end


def _sealed_by(tree: Tree, update: types_pb2.Update) -> Sequence[str]:
    """The periods that an update would close for good; none where it would be refused."""
    kind = update.WhichOneof("change")
    after = changed(tree.rules, kind, getattr(update, kind)) if kind is not None else None
    return after.sealed_periods[len(tree.rules.sealed_periods) :] if isinstance(after, Rules) else ()


_Run = Callable[["Tree", Sequence[types_pb2.Update], list[NotApplied]], None]


def _apply_by_kernel(
    tree: Tree, apply_run: _Run, updates: Sequence[types_pb2.Update], not_applied: list[NotApplied]
) -> None:
    """Applies a run by the batch; where that fails, one by one, which shows the update that it fails at."""
    position = tree.position
    try:
        apply_run(tree, updates, not_applied)
    except UpdateFailedError:
        raise
    except Exception as error:
        if tree.changing:
            raise UpdateFailedError(tree.position + 1, error, not_applied, is_whole=False) from error
        for update in updates[tree.position - position :]:
            _apply_next(tree, update, not_applied)


def offer_carried(
    tree: Tree, positions: Sequence[int], updates: Sequence[types_pb2.Update], holds: Sequence[CarriedHold]
) -> list[NotApplied]:
    """See Tree.offer_carried."""
    not_applied: list[NotApplied] = []
    of_removed_members = {each.position: each for each in holds}
    for position, update in zip(positions, updates, strict=True):
        skip = tree.skips.known.get(position)
        if skip is not None:
            _reject_skipped(tree, skip, not_applied)
            continue
        try:
            if carried := of_removed_members.get(position):
                reason = of_removed(carried.waits_for, carried.removed_at)
                hold(tree, position, update, Refusal(reason, carried.waits_for, carried.removed_at), not_applied)
            else:
                _settle(tree, position, update, not_applied)
        except Exception as error:
            raise UpdateFailedError(position, error, not_applied, is_whole=False) from error
        tree.changing = False
    tree.restart_ring()
    return not_applied


def carry_removals(tree: Tree, removals: Iterable[tuple[str, int]]) -> None:
    """See Tree.carry_removals."""
    absent = [(member_id, position) for member_id, position in removals if find_place(tree, member_id) < 0]
    tree.held_updates.carried_removals = tuple(absent[-REMOVALS_CARRIED:])
    for member_id, position in tree.held_updates.carried_removals:
        tree.add_to_digest(tree.held_updates.note_removal(member_id, position))
    tree.restart_ring()


def _settle_held_skips(tree: Tree, not_applied: list[NotApplied]) -> None:
    """Lets the held updates go that are skipped: the state is as if each had been rejected at its own position."""
    held_updates = tree.held_updates
    for position in sorted(tree.skips.due & held_updates.by_position.keys()):
        held = held_updates.forget(position)
        tree.add_to_digest(-held.digest)
        _reject_skipped(tree, tree.skips.known[position], not_applied)
        tree.restart_ring()


def _reject_skipped(tree: Tree, skip: Skip, not_applied: list[NotApplied]) -> None:
    tree.skips.due.discard(skip.position)
    tree.skips.taken.add(skip.position)
    reject(tree, skip.position, skip.update_id, skip.text, not_applied)


def _post_run(tree: Tree, updates: Sequence[types_pb2.Update], not_applied: list[NotApplied]) -> None:
    orders = [update.volume_posted for update in updates]
    member_ids = [order.member_id for order in orders]
    if not _plain_ids(member_ids):
        for update in updates:
            _apply_next(tree, update, not_applied)
        return
    asked = words_of(member_ids)
    of_orders = tree.slots.of_orders
    slots = np.array([of_orders(order.volume_type, order.period) for order in orders], dtype=np.int32)
    amounts = np.array([order.amount_hundredths for order in orders], dtype=np.int64)
    done = 0
    while True:
        tree.changing = True
        done = int(post_volumes(tree.store, asked, slots, amounts, done, 1))
        tree.changing = False
        if done == len(updates):
            return
        _apply_next(tree, updates[done], not_applied)
        done += 1


def _enrol_run(tree: Tree, updates: Sequence[types_pb2.Update], not_applied: list[NotApplied]) -> None:
    batch = _enrolments(tree, [update.member_enrolled for update in updates])
    waiting = tree.held_updates.waiting
    begin = 0
    while begin < len(updates):
        if batch is not None and batch.statuses is not tree.statuses:
            batch = _enrolments(tree, [update.member_enrolled for update in updates])
        if batch is not None:
            end = begin
            limit = min(len(updates), begin + _PLAIN_AT_ONCE) if waiting else len(updates)
            while end < limit and end not in batch.odd and batch.member_ids[end] not in waiting:
                end += 1
            done = _enrol_plain(tree, batch, begin, end) if end > begin else begin
            if done == end > begin:
                begin = end
                continue
            begin = done
        _apply_next(tree, updates[begin], not_applied)
        begin += 1


@dataclass(frozen=True)
class _Enrolments:
    """A run of enrolments as enrol_members takes them."""

    member_ids: list[str]
    asked: UInt32s
    sponsors: UInt32s
    placements: UInt32s
    legs: Int32s
    profile: Int32s
    #: The names that the status codes of `profile` are of.
    statuses: Names
    #: For each further column of which they bring values: the indices of those that do, ascending, and the values.
    brought: dict[str, tuple[Int32s, list[Value]]]
    #: Indices of those whose columns are not as they should be.
    odd: frozenset[int]


def _enrolments(tree: Tree, members: list[types_pb2.MemberEnrolled]) -> _Enrolments | None:
    """The run as columns; None where some value in it is not plain: then each is looked at alone."""
    member_ids = [member.member_id for member in members]
    sponsor_ids = [member.sponsor_id for member in members]
    placement_ids = [member.placement_id for member in members]
    legs = [member.placement_leg for member in members]
    plain = all(member_ids) and all(map(_plain_ids, (member_ids, sponsor_ids, placement_ids)))
    if not plain or max(legs) > LEG_MAX or (any(legs) and not all(map(_leg_has_place, legs, placement_ids))):
        return None
    statuses = tree.statuses
    try:
        profile = np.array(
            [
                (member.kind or DISTRIBUTOR, tree.status_code(member.status), member.rank, day_number(member.joined_on))
                for member in members
            ],
            dtype=np.int32,
        )
    except ValueError:
        return None
    if tree.statuses is not statuses:
        return None
    kind, rank = profile[:, 0], profile[:, 2]
    if kind.min() < DISTRIBUTOR or kind.max() > CUSTOMER or rank.min() < 0 or rank.max() > RANK_MAX:
        return None
    return _Enrolments(
        member_ids,
        words_of(member_ids),
        words_of(sponsor_ids),
        words_of(placement_ids),
        np.array(legs, dtype=np.int32),
        profile,
        statuses,
        *_brought(tree, members),
    )


def _brought(
    tree: Tree, members: list[types_pb2.MemberEnrolled]
) -> tuple[dict[str, tuple[Int32s, list[Value]]], frozenset[int]]:
    """`brought` and `odd` of _Enrolments."""
    brought: dict[str, tuple[list[int], list[Value]]] = {}
    odd = []
    for index, member in enumerate(members):
        columns = member.columns
        if not columns:
            continue
        try:
            if columns_problem(member):
                raise ValueError
            values = tree.further.parsed(columns)
        except ValueError:
            # Looked at alone, it says why.
            odd.append(index)
            continue
        for name, value in values.items():
            indices, taken = brought.setdefault(name, ([], []))
            indices.append(index)
            taken.append(value)
    found = {name: (np.array(indices, np.int32), taken) for name, (indices, taken) in brought.items()}
    return found, frozenset(odd)


def _enrol_plain(tree: Tree, batch: _Enrolments, begin: int, end: int) -> int:
    """Takes the enrolments from `begin` on in; the index of the first that must be looked at alone, or `end`."""
    tree.ensure_capacity(end - begin, batch.asked[begin:end])
    rows = np.empty(end, dtype=np.int32)
    tree.changing = True
    done = enrol_members(
        tree.store,
        batch.asked[:end],
        batch.sponsors,
        batch.placements,
        batch.legs,
        batch.profile,
        rows,
        begin,
        1,
    )
    tree.further.clear(rows[begin:done])
    show_rows(tree, rows[begin:done])
    if batch.brought and done > begin:
        _put_brought(tree, batch, rows, begin, int(done))
    tree.changing = False
    return int(done)


def _put_brought(tree: Tree, batch: _Enrolments, rows: Int32s, begin: int, done: int) -> None:
    """Gives the new members of an index from `begin` to `done` the values that they bring."""
    facts = np.zeros(done - begin, np.uint64)
    for name, (indices, values) in batch.brought.items():
        first, last = np.searchsorted(indices, (begin, done)).tolist()
        if first < last:
            chosen, part = indices[first:last], np.zeros(last - first, np.uint64)
            tree.further[name].put_new(tree.store.ids.words, rows[chosen], values[first:last], part)
            facts[chosen - begin] += part
    # Each position's digest was noted without what its columns bring.
    sums, digests = np.cumsum(facts, dtype=np.uint64), tree.store.digests
    digests[1 + np.arange(tree.position - len(sums) + 1, tree.position + 1)[-RING:] % RING] += sums[-RING:]
    digests[:1] += sums[-1:]


def _leg_has_place(leg: int, placement_id: str) -> bool:
    return not leg or bool(placement_id)


def _plain_ids(member_ids: list[str]) -> bool:
    """Whether each is the empty text or an id."""
    joined = "".join(member_ids)
    if max(map(len, member_ids)) > MEMBER_ID_LENGTH_MAX or not joined.isascii() or not joined.isprintable():
        return False
    return " " not in joined or all(member_id == member_id.strip(" ") for member_id in member_ids)


def _apply_next(tree: Tree, update: types_pb2.Update, not_applied: list[NotApplied]) -> None:
    """Takes one update in at the next position. Raises UpdateFailedError."""
    digest = tree.digest
    tree.store.counters[POSITION] += 1
    try:
        _settle(tree, tree.position, update, not_applied)
    except Exception as error:
        is_whole = not tree.changing and tree.digest == digest
        if is_whole:
            tree.store.counters[POSITION] -= 1
        failed_at = tree.position + 1 if is_whole else tree.position
        raise UpdateFailedError(failed_at, error, not_applied, is_whole=is_whole) from error
    tree.changing = False
    tree.add_to_digest(0)


def _settle(tree: Tree, position: int, update: types_pb2.Update, not_applied: list[NotApplied]) -> None:
    """Applies, holds or rejects an update of `position`, then those that it releases."""
    refusal = attempt(tree, update)
    if refusal is None and update.HasField("held_settled"):
        refusal = settle(tree, update.held_settled, not_applied)
    if refusal is not None:
        tree.changing = True
        if refusal.waits_for:
            hold(tree, position, update, refusal, not_applied)
        else:
            reject(tree, position, update.update_id, refusal.reason, not_applied)
        return
    if update.HasField("member_enrolled"):
        release(tree, update.member_enrolled, not_applied)
    elif tree.skips.due and update.HasField("update_skipped"):
        _settle_held_skips(tree, not_applied)
