"""Updates that are not applied at their position: how they are held, tried again, rejected, and settled by an operator.

The rules, beside those of apply.py:

- An update that names a member who was *removed*, and is not there, waits for that very person: an enrolment releases
  it only where it says `returning`. Another person may enrol under the id, and gets nothing that was not meant for it.
  One that names an id that nobody had yet goes to whoever arrives.
- An operator may *drop* held updates (they are rejected) or *retry* them (they are tried as the tree is now, whoever
  has the ids). A decision that would change nothing is rejected itself.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from fasttree.v1 import types_pb2
from services.treenode.tree.changes import Refusal, attempt, find_place
from services.treenode.tree.failures import HeldUpdateError
from services.treenode.tree.held import HeldUpdate, NotApplied, RejectedUpdates, resolved
from services.treenode.tree.store import NOBODY

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree


def hold(tree: Tree, position: int, update: types_pb2.Update, refusal: Refusal, not_applied: list[NotApplied]) -> None:
    """Holds an update that is not held yet, for the member that its refusal names."""
    held = _held(tree, position, update, refusal)
    tree.held_updates.hold(held)
    tree.add_to_digest(held.digest)
    not_applied.append(held.not_applied())


def reject(tree: Tree, position: int, update_id: str, reason: str, not_applied: list[NotApplied]) -> None:
    """Rejects an update, which is not held."""
    rejected = NotApplied(position, update_id, types_pb2.OUTCOME_REJECTED, reason)
    tree.rejected_updates.add(rejected)
    tree.add_to_digest(RejectedUpdates.digest_of(rejected))
    not_applied.append(rejected)


def release(tree: Tree, enrolled: types_pb2.MemberEnrolled, not_applied: list[NotApplied]) -> None:
    """Tries again what waits for a member that has just arrived."""
    _try_again(tree, tree.held_updates.take_waiting(enrolled.member_id, of_removed=enrolled.returning), not_applied)


def settle(tree: Tree, settled: types_pb2.HeldSettled, not_applied: list[NotApplied]) -> Refusal | None:
    """Does what an operator decided about held updates, or says why nothing came of it. The form is good."""
    by_member = settled.WhichOneof("which") == "member_id"
    positions = _settled_positions(tree, settled)
    if not positions:
        which = f"waits for member {settled.member_id}" if by_member else f"of position {settled.position} is held"
        return Refusal(f"no update {which}")
    if settled.action == types_pb2.HELD_ACTION_DROP:
        tree.changing = True
        for position in positions:
            tree.held_updates.take(position)
            held = _resolve(tree, position)
            reason = f"dropped at position {tree.position}: {settled.reason}"
            reject(tree, position, held.update.update_id, reason, not_applied)
        return None
    waits_for = tree.held_updates.by_position[positions[0]].waits_for
    row = find_place(tree, waits_for)
    if row < 0 or tree.store.kind[row] == NOBODY:
        return Refusal(f"member {waits_for} is not there: enrol it first, or drop what waits for it")
    tree.changing = True
    for position in positions:
        tree.held_updates.take(position)
    _try_again(tree, positions, not_applied)
    return None


def _settled_positions(tree: Tree, settled: types_pb2.HeldSettled) -> list[int]:
    held_updates = tree.held_updates
    if settled.WhichOneof("which") == "member_id":
        return sorted(held_updates.waiting.get(settled.member_id, []))
    return [settled.position] if settled.position in held_updates.by_position else []


def _try_again(tree: Tree, ready: list[int], not_applied: list[NotApplied]) -> None:
    """Tries held updates that wait for nobody now, lowest position first, and those that they release."""
    held_updates = tree.held_updates
    heapq.heapify(ready)
    while ready:
        position = heapq.heappop(ready)
        held = held_updates.by_position[position]
        try:
            refusal = attempt(tree, held.update)
        except Exception as error:
            raise HeldUpdateError(position, error) from error
        if refusal is not None and refusal.waits_for:
            again = _held(tree, position, held.update, refusal)
            held_updates.hold(again)
            tree.add_to_digest(again.digest - held.digest)
            continue
        _resolve(tree, position)
        if refusal is not None:
            reject(tree, position, held.update.update_id, refusal.reason, not_applied)
        elif held.update.HasField("member_enrolled"):
            enrolled = held.update.member_enrolled
            for released in held_updates.take_waiting(enrolled.member_id, of_removed=enrolled.returning):
                heapq.heappush(ready, released)


def _held(tree: Tree, position: int, update: types_pb2.Update, refusal: Refusal) -> HeldUpdate:
    # An order keeps what it meant at its position, whatever is in force when its member comes.
    update = resolved(update, tree.rules)
    return HeldUpdate(position, update, refusal.waits_for, refusal.reason, refusal.removed_at, tree.position)


def _resolve(tree: Tree, position: int) -> HeldUpdate:
    held = tree.held_updates.resolve(position, tree.position)
    tree.add_to_digest(-held.digest)
    return held
