"""Held updates that an operator settles, and those of removed members, which no other person may get."""

from __future__ import annotations

import pytest

from fasttree.v1 import types_pb2
from services.treenode.tree import CarriedHold, NotApplied, Tree
from services.treenode.tree.held import Settled
from tests.treenode.tree import reads
from tests.treenode.tree.judge import CONFIG, naive_tree, tree_of
from tests.treenode.tree.naive import Place
from tests.treenode.tree.say import enrol, move, order, remove, settle, take

REMOVED = "member M was removed at position {}: drop it, or retry it once the id is that of the person meant"


def family() -> Tree:
    """M below A, and gone again at position 3; a return of M's is held at position 4."""
    tree = Tree.empty(CONFIG)
    take(tree, enrol("A"), enrol("M", "A"), remove("M"), order("M", -500))
    return tree


def pv(tree: Tree, member_id: str) -> int:
    return reads.personal_volume(tree, member_id, 0)


def held(tree: Tree) -> list[int]:
    return [each.position for each in tree.held()]


@pytest.mark.parametrize("leave_empty", [False, True])
def test_what_a_removed_member_left_is_not_credited_to_another_person(leave_empty: bool) -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("A"), enrol("M", "A"), remove("M", leave_empty=leave_empty))
    (told,) = take(tree, order("M", -500))
    assert (told.reason, told.waits_for, told.removed_at) == (REMOVED.format(3), "M", 3)
    assert not take(tree, enrol("M", "A"), order("M", 7))
    assert (pv(tree, "M"), held(tree)) == (7, [4])
    tree.validate()
    restored = Tree.from_state(*tree.state())
    assert (list(restored.held()), restored.digest) == (list(tree.held()), tree.digest)
    for each in (tree, restored):
        assert not take(each, settle("retry", "M"))
        assert (pv(each, "M"), each.held_count) == (-493, 0)
        each.validate()


def test_whoever_comes_back_and_says_so_gets_what_was_held() -> None:
    tree = family()
    assert not take(tree, enrol("M", "A", returning=True))
    assert (pv(tree, "M"), tree.held_count) == (-500, 0)
    # Removed once more, the memory is of the newest removal.
    take(tree, remove("M"), order("M", 1))
    assert next(tree.held()).removed_at == 6
    tree.validate()


def test_what_came_before_the_member_ever_did_waits_for_whoever_arrives() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, order("M", 1), enrol("B", "M"), enrol("M"))
    assert (pv(tree, "M"), held(tree)) == (1, [])
    # An enrolment below a removed sponsor is not put below somebody else either.
    take(tree, remove("M"), enrol("C", "M"), move("B", "M"), enrol("M"))
    assert held(tree) == [5, 6]
    assert not take(tree, settle("retry", 6))
    assert (reads.front_line(tree, 1, "M"), held(tree)) == (["B"], [5])
    tree.validate()


def test_one_that_waits_for_somebody_else_meanwhile_meets_the_removal_later() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("M"), enrol("C", "Z", "M"), remove("M"), enrol("Z"))
    (waits,) = tree.held()
    assert (waits.position, waits.waits_for, waits.removed_at) == (2, "M", 3)
    take(tree, enrol("M"))
    assert held(tree) == [2]
    assert not take(tree, settle("retry", 2))
    assert tree.held_count == 0
    assert reads.parent(tree, 2, "C") == "M"
    tree.validate()


def test_dropped_updates_are_rejected_with_the_reason() -> None:
    tree = Tree.empty(CONFIG)
    updates = [order("typo", 1), order("other", 2), order("typo", 3)]
    take(tree, *updates)
    told = take(tree, settle("drop", 2, "meant for 102"), settle("drop", "typo", "mistyped"))
    assert [(each.position, each.reason) for each in told] == [
        (2, "dropped at position 4: meant for 102"),
        (1, "dropped at position 5: mistyped"),
        (3, "dropped at position 5: mistyped"),
    ]
    assert all(each.outcome == types_pb2.OUTCOME_REJECTED for each in told)
    assert (tree.held_count, tree.rejected_count) == (0, 3)
    take(tree, enrol("typo"), enrol("other"))
    assert (pv(tree, "typo"), pv(tree, "other")) == (0, 0)
    tree.validate()


def rejections(told: list[NotApplied]) -> list[tuple[int, str]]:
    return [(each.position, each.reason) for each in told if each.outcome == types_pb2.OUTCOME_REJECTED]


def test_a_decision_that_changes_nothing_is_rejected() -> None:
    tree = family()
    digest = tree.digest
    told = take(
        tree,
        settle("drop", 9),
        settle("drop", "A"),
        settle("retry", 4),
        settle("retry", "M"),
        settle("drop", 4, " "),
        types_pb2.Update(
            update_id="none", held_settled=types_pb2.HeldSettled(action=types_pb2.HELD_ACTION_DROP, reason="why")
        ),
        types_pb2.Update(update_id="what", held_settled=types_pb2.HeldSettled(position=4, reason="why")),
    )
    assert rejections(told) == [
        (5, "no update of position 9 is held"),
        (6, "no update waits for member A"),
        (7, "member M is not there: enrol it first, or drop what waits for it"),
        (8, "member M is not there: enrol it first, or drop what waits for it"),
        (9, "reason: say why, in a few words"),
        (10, "name the held updates: set one of position, from 1, and member_id"),
        (11, "action must be HELD_ACTION_DROP or HELD_ACTION_RETRY"),
    ]
    assert held(tree) == [4]
    assert tree.digest != digest  # rejections are in it
    tree.validate()


def test_what_waits_for_an_empty_place_or_for_nobody_at_all_can_not_be_retried() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, order("nobody", 1), enrol("M"), remove("M", leave_empty=True), order("M", 1))
    # No row is left in which nobody would be.
    take(tree, *[enrol(f"m{number}") for number in range(tree.store.capacity - tree.store.used)])
    told = take(tree, settle("retry", "M"), settle("retry", 1))
    assert [reason for _, reason in rejections(told)] == [
        "member M is not there: enrol it first, or drop what waits for it",
        "member nobody is not there: enrol it first, or drop what waits for it",
    ]
    assert held(tree) == [1, 4]


def test_a_retry_may_be_rejected_or_go_on_to_wait() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("M"), remove("M"), move("M", "Y"), order("M", 1, period="1999-01"), enrol("M"))
    # The order could never be taken, whoever has the id: it was not held in the first place.
    assert held(tree) == [3]
    assert not take(tree, settle("retry", "M"))
    (waits,) = tree.held()
    assert (waits.waits_for, waits.removed_at) == ("Y", 0)
    told = take(tree, enrol("Y", "M"))
    assert rejections(told) == [(3, "the new sponsor is in the member's own downline")]
    tree.validate()


def imported(*member_ids: str, position: int) -> Tree:
    naive = naive_tree()
    naive.places = {member_id: Place() for member_id in member_ids}
    naive.position = position
    return tree_of(naive)


def test_an_import_carries_who_was_waited_for() -> None:
    old = family()
    return_of_m, other = order("M", -500), order("N", 1)
    take(old, other, enrol("M", "A"), enrol("B"))
    assert old.carried_positions(7) == [4, 5]
    assert old.carried_holds(7) == [CarriedHold(4, "M", 3)]
    # Whoever has the id in the file is not who was removed; the order of N was never anybody else's.
    new = imported("A", "M", "N", "B", position=7)
    told = new.offer_carried([4, 5], [return_of_m, other], old.carried_holds(7))
    assert [(each.position, each.removed_at, each.reason) for each in told] == [(4, 3, REMOVED.format(3))]
    assert (pv(new, "M"), pv(new, "N"), held(new)) == (0, 1, [4])
    assert new.carried_holds(7) == [CarriedHold(4, "M", 3)]
    new.validate()
    assert not take(new, settle("retry", 4))
    assert pv(new, "M") == -500
    # Until a newer one replaces it, an import can be told again what it carried.
    for tree in (new, Tree.from_state(*new.state()), new.relayout()):
        assert tree.carried_positions(7) == [4]
        assert tree.carried_holds(7) == [CarriedHold(4, "M", 3)]
        assert tree.carried_holds(8) == []


def test_an_import_knows_of_the_removals_before_it() -> None:
    old = family()
    take(old, enrol("N"), remove("N", leave_empty=True), enrol("B"), remove("B"), enrol("B"), remove("A"))
    assert old.removals_at(8) == [("M", 3), ("N", 6), ("B", 8)]
    assert old.removals_at(2) == []
    new = imported("A", "B", position=10)
    digest = new.digest
    new.carry_removals(old.removals_at(9))
    # B is in the file: who that is, the company knows.
    assert new.held_updates.carried_removals == (("M", 3), ("N", 6))
    assert new.digest != digest
    assert new.digest_at(10) == new.digest
    new.validate()
    take(new, order("M", -5), order("N", 1), enrol("M"), enrol("N", returning=True), order("C", 1))
    assert [(each.position, each.removed_at) for each in new.held()] == [(11, 3), (15, 0)]
    assert (pv(new, "M"), pv(new, "N")) == (0, 1)
    # Asked again, it tells the same, whatever was removed since.
    take(new, remove("M"))
    for tree in (new, Tree.from_state(*new.state()), new.relayout()):
        assert tree.held_updates.carried_removals == (("M", 3), ("N", 6))
        assert tree.removals_at(15) == [("M", 3), ("N", 6)]
        assert tree.removals_at(16) == [("N", 6), ("M", 16)]
        tree.validate()


def test_whoever_is_in_the_file_was_not_removed_in_the_first_row_either() -> None:
    new = imported("M", position=9)
    new.carry_removals([("M", 3), ("N", 4)])
    assert new.held_updates.carried_removals == (("N", 4),)


def test_an_import_carries_the_newest_removals() -> None:
    new = imported("A", position=50_000)
    new.carry_removals([(f"m{number}", number) for number in range(1, 10_002)])
    assert len(new.held_updates.carried_removals) == 10_000
    assert new.held_updates.carried_removals[0] == ("m2", 2)
    take(new, order("m1", 1), order("m10001", 1))
    assert [each.removed_at for each in new.held()] == [0, 10_001]


def test_what_was_held_for_a_removed_member_at_an_earlier_position_is_known() -> None:
    tree = family()
    take(tree, order("M", 2), enrol("M", "A"), settle("retry", 4), settle("drop", 5))
    assert tree.carried_holds(3) == []
    assert tree.carried_holds(4) == [CarriedHold(4, "M", 3)]
    assert tree.carried_holds(6) == [CarriedHold(4, "M", 3), CarriedHold(5, "M", 3)]
    assert tree.carried_holds(7) == [CarriedHold(5, "M", 3)]
    assert tree.carried_holds(8) == []


def test_nothing_that_was_held_is_forgotten_after_a_million_others() -> None:
    settled = Settled()
    settled.append(1, 1_500_000)
    for number in range(1_200_000):
        settled.append(2 + number, 1_500_000 + number)
    copy = settled.copy()
    settled.append(1_400_000, 3_000_000)
    assert settled.held_at(1) == [1]
    assert settled.held_at(3) == [1, 2, 3]
    assert settled.held_at(1_500_001) == [*range(4, 1_200_002), 1_400_000]
    assert copy.held_at(1_500_001) == list(range(4, 1_200_002))
    assert settled.held_at(3_000_000) == []
