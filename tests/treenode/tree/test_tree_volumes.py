"""Volumes at the edges: nothing wraps, whatever is refused changes nothing, columns widen when they must."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from services.treenode.tree import Tree
from services.treenode.tree import tree as tree_module
from tests.treenode.tree import reads
from tests.treenode.tree.judge import CONFIG, naive_tree, table_of, tree_of
from tests.treenode.tree.naive import SPONSOR, Place
from tests.treenode.tree.say import change, enrol, move, order, remove, take

TOP, BOTTOM = 2**63 - 1, -(2**63)


def family() -> Tree:
    """A above B and C in both trees."""
    tree = Tree.empty(CONFIG)
    assert not take(tree, enrol("A"), enrol("B", "A", "A"), enrol("C", "A", "A"))
    return tree


def group(tree: Tree, member_id: str) -> int:
    """Group volume of the default slot in the sponsor tree."""
    return reads.group_volume(tree, SPONSOR, member_id)


@pytest.mark.parametrize("limit", [TOP, BOTTOM])
def test_an_order_beyond_64_bits_is_refused_and_changes_nothing(limit: int) -> None:
    tree = family()
    step = 1 if limit > 0 else -1
    assert not take(tree, order("B", limit - step), order("B", step))
    digest = tree.digest
    told = take(tree, order("C", step), order("B", step))
    assert [each.reason for each in told] == ["a total would not fit 64 bits"] * 2
    assert (group(tree, "A"), group(tree, "B"), group(tree, "C")) == (limit, limit, 0)
    assert tree.digest != digest  # refusals are in it
    assert not take(tree, order("C", -step), order("B", -step))
    assert group(tree, "A") == limit - 2 * step
    tree.validate()


def test_moves_and_removals_beyond_64_bits_are_refused() -> None:
    tree = family()
    assert not take(tree, enrol("X"), enrol("Y", "X", "X"), order("B", TOP), order("Y", TOP))
    told = take(tree, move("Y", "A"), move("Y", "C", tree=2))
    assert [each.reason for each in told] == ["a group total would not fit 64 bits"] * 2
    assert not take(tree, order("C", -5), enrol("D", "C", "C"), order("D", 5))
    # Without C's -5 A's total would be 5 too large.
    told = take(tree, remove("C"))
    assert [each.reason for each in told] == ["a group total would not fit 64 bits"]
    assert not take(tree, order("B", -5), remove("C"))
    assert group(tree, "A") == TOP
    tree.validate()


def test_a_volume_that_needs_eight_bytes_gets_them() -> None:
    naive = naive_tree()
    naive.places["A"] = Place(volumes={("PV", "2026-11"): 2**29})
    tree = tree_of(naive)
    assert tree.store.personal.dtype == np.int32
    assert not take(tree, order("A", 2**30))
    assert tree.store.personal.dtype == np.int32
    assert not take(tree, order("A", 2**30), order("A", 1))
    assert tree.store.personal.dtype == np.int64
    assert group(tree, "A") == 2**29 + 2**31 + 1
    tree.validate()
    assert Tree.from_state(*tree.state()).store.personal.dtype == np.int64


def test_an_import_with_large_volumes_is_wide_at_once() -> None:
    naive = naive_tree()
    naive.places["A"] = Place(volumes={("PV", "2026-11"): 2**40, ("CV", "2026-10"): -3})
    tree = tree_of(naive)
    assert tree.store.personal.dtype == np.int64
    assert group(tree, "A") == 2**40
    tree.validate()


def test_an_import_whose_totals_do_not_fit_is_refused() -> None:
    naive = naive_tree()
    naive.places["A"] = Place(volumes={("CV", "2026-10"): TOP})
    naive.places["B"] = Place(sponsor="A", volumes={("CV", "2026-10"): 1})
    with pytest.raises(OverflowError, match="CV in 2026-10"):
        Tree.from_table(table_of(naive), CONFIG, 1, 0)


def test_types_and_periods_of_an_import_are_open() -> None:
    naive = naive_tree()
    naive.places["A"] = Place()
    table = table_of(naive)
    table = dataclasses.replace(table, volumes={("QV", "2026-09"): np.array([4], dtype=np.int64)})
    tree = Tree.from_table(table, CONFIG, 1, 0)
    assert tree.volume_types == ("PV", "CV", "QV")
    assert tree.periods == ("2026-11", "2026-10", "2026-09")
    assert not take(tree, order("A", 5, volume_type="QV", period="2026-09"), order("A", 5, period="2026-09"))
    assert reads.personal_volume(tree, "A", tree.slot("QV", "2026-09")) == 9
    told = take(tree, order("A", 1, volume_type="XV"), order("A", 1, period="2030-01"))
    assert [each.reason for each in told] == [
        'there is no volume type "XV": PV, CV, QV',
        'period "2030-01" is not open: 2026-11, 2026-10, 2026-09',
    ]


def test_statuses_that_nobody_has_any_more_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_STATUSES", 4)
    tree = family()
    for number in range(20):
        assert not take(tree, change("A", status=f"s{number}"))
    assert len(tree.statuses) <= 4
    tree.validate()
    # In one batch too: codes that were looked up for later members of it must not go stale.
    assert not take(tree, *[enrol(f"m{number}", status="s19") for number in range(3)], change("A", status="u"))
    assert not take(tree, change("A", status="v"), *[enrol(f"n{number}", status="w") for number in range(9)])
    assert not take(tree, *[change(f"n{number}", status="s19") for number in range(9)], change("A", status="s19"))
    tree.validate()
    assert not take(tree, change("B", status="t1"), change("C", status="t2"), enrol("D", status="t3"))
    told = take(tree, enrol("E", status="t4"), change("A", status="t5"), enrol("F", status="t1"))
    assert [each.reason for each in told] == ["members have 4 different statuses already"] * 2
    tree.validate()
    statuses = {tree.statuses.texts[code] for code in tree.store.status[: tree.store.used].tolist()}
    assert statuses == {"s19", "t1", "t2", "t3"}
