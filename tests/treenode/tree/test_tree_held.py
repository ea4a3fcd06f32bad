"""Held and rejected updates: who waits for whom, what an arrival releases, what is carried into an import."""

from __future__ import annotations

import random

from fasttree.v1 import types_pb2
from services.treenode.tree import Tree
from tests.treenode.tree.judge import CONFIG, expect_same, naive_tree, tree_of
from tests.treenode.tree.say import enrol, move, order, remove, take, update


def test_an_arrival_releases_what_waits_and_what_that_releases() -> None:
    tree, naive = tree_of(naive_tree()), naive_tree()
    updates = [
        order("C", 3),  # 1: waits for C
        enrol("C", "B"),  # 2: waits for B
        enrol("B", "A", "Z"),  # 3: waits for A, then for Z
        order("C", 4),  # 4
        enrol("C", "A"),  # 5: waits for A, and comes before 2
        enrol("A"),  # 6: C arrives by 5; its orders too; 3 goes on to wait for Z
        enrol("Z"),  # 7: B arrives; 2 is rejected: C is there
    ]
    told = take(tree, *updates)
    for each in updates:
        naive.apply(each)
        if naive.position == 6:
            assert naive.waits_for == {2: "B", 3: "Z"}
    expect_same(tree, naive)
    assert [(each.position, each.waits_for) for each in told] == [
        (1, "C"),
        (2, "B"),
        (3, "A"),
        (4, "C"),
        (5, "A"),
        (2, ""),
    ]
    assert tree.held_count == 0
    assert [each.position for each in tree.rejected()] == [2]


def test_the_lowest_position_comes_first_though_it_came_to_wait_last() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("C", "Z", "A"), enrol("C", "A"), enrol("Z"))
    assert tree.held_updates.waiting == {"A": [2, 1]}
    told = take(tree, enrol("A"))
    assert [(each.position, each.reason) for each in told] == [(2, "member C is enrolled already")]
    tree.validate()


def test_carried_positions_are_those_held_at_the_time() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, order("A", 1), order("B", 1), enrol("A"), order("C", 1), enrol("B"))
    assert tree.carried_positions(1) == [1]
    assert tree.carried_positions(2) == [1, 2]
    assert tree.carried_positions(3) == [2]
    assert tree.carried_positions(4) == [2, 4]
    assert tree.carried_positions(5) == [4]
    assert Tree.from_state(*tree.state()).carried_positions(4) == [2, 4]


def test_carried_updates_are_offered_to_an_import() -> None:
    old = Tree.empty(CONFIG)
    updates = [order("A", 1), order("B", 2), enrol("A", "S")]
    take(old, *updates)
    assert old.carried_positions(3) == [1, 2, 3]
    naive = naive_tree()
    take(new := Tree.empty(CONFIG), enrol("S"), enrol("T"), enrol("U"))
    told = new.offer_carried([1, 2, 3], updates)
    assert [(each.position, each.outcome) for each in told] == [
        (1, types_pb2.OUTCOME_HELD),
        (2, types_pb2.OUTCOME_HELD),
    ]
    assert new.position == 3
    assert not new.changing
    assert [each.position for each in new.held()] == [2]
    assert new.carried_positions(3) == [2]
    assert new.digest_at(3) == new.digest
    assert new.digest_at(2) is None
    new.validate()
    assert naive.position == 0


def test_what_an_update_does_never_depends_on_its_batch() -> None:
    choose = random.Random(5)
    ids = [f"m{number}" for number in range(30)] + [""]
    updates: list[types_pb2.Update] = []
    for _ in range(600):
        one, two, three = choose.choices(ids, k=3)
        updates.append(
            choose.choice(
                [
                    enrol(one, two, three, rank=choose.choice([0, 5, 40_000]), placement_leg=choose.choice([0, 0, 2])),
                    enrol(one, two, joined_on=choose.choice(["", "2026-11-22", "soon"])),
                    enrol(one, two, kind=choose.choice([0, 1, 2, 7])),
                    order(one, choose.choice([5, -5, 2**62])),
                    order(one, 1, period=choose.choice(["", "2026-10", "1999-01"])),
                    move(one, two, tree=choose.choice([1, 2])),
                    remove(one, leave_empty=choose.random() < 0.5),
                    enrol(one),
                    update(),
                    order("not a\nmember", 1),
                    enrol("x" * 33),
                    enrol("é", one),
                ]
            )
        )
    alone, together = Tree.empty(CONFIG), Tree.empty(CONFIG)
    told_alone = [told for each in updates for told in take(alone, each)]
    told_together = take(together, *updates[:250]) + take(together, *updates[250:])
    assert told_alone == told_together
    assert alone.digest == together.digest
    assert all(alone.digest_at(position) == together.digest_at(position) for position in range(601))
    together.validate()
    assert together.member_count > 5
    assert together.rejected_count > 100


def test_the_next_position_is_asked_for() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("A"))
    for wrong in (1, 3):
        try:
            tree.apply(wrong, [order("A", 1)])
        except ValueError as error:
            assert "position 1" in str(error)  # noqa: PT017 - each wrong position is tried on one tree
        else:
            raise AssertionError("a gap was taken")
    assert tree.position == 1
