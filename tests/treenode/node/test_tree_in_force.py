"""What is known about the tree in force, and what of it another tree takes over."""

from services.treenode.node.tree_in_force import TreeInForce

BEFORE = TreeInForce("old", (7, 70), (3,))


def test_the_newest_record_is_the_one_that_is_furthest_on() -> None:
    assert BEFORE.with_record(9, 90).last_record == (9, 90)
    # A batch that was under way when another tree took the place of the one that it was meant for.
    assert BEFORE.with_record(5, 50).last_record == (7, 70)


def test_another_tree_has_the_records_of_the_one_before_it() -> None:
    after = BEFORE.replaced_by("new", (0, 0), (1, 2))
    assert (after.tree, after.last_record, after.carried) == ("new", (7, 70), (1, 2))
    assert BEFORE.replaced_by("new", (8, 80), ()).last_record == (8, 80)
    assert BEFORE.replaced_by("new", (8, 80), ()).carried == ()
    assert BEFORE.replaced_by("new", (8, 1), ()).last_record == (8, 1), "whatever stands in the record"


def test_the_same_tree_in_another_layout_carries_what_it_carried() -> None:
    assert BEFORE.replaced_by("again", (7, 70), None).carried == (3,)
