"""Volumes at the edges: nothing wraps, whatever is refused changes nothing, columns widen when they must."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from services.treenode.tree import Tree
from services.treenode.tree import tree as tree_module
from tests.shared.rules.test_rules import opened, type_added
from tests.treenode.tree import reads
from tests.treenode.tree.judge import CONFIG, naive_tree, table_of, tree_of
from tests.treenode.tree.naive import PLACEMENT, SPONSOR, Place
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
    told = take(tree, remove("C", volume_leaves=True))
    assert [each.reason for each in told] == ["a group total would not fit 64 bits"]
    assert not take(tree, order("B", -5), remove("C", volume_leaves=True))
    assert group(tree, "A") == TOP
    tree.validate()


def volumes(tree: Tree, *member_ids: str) -> list[tuple[int, int, int]]:
    """Personal volume, and group volume in the sponsor and the placement tree, of the default slot."""
    return [
        (
            reads.personal_volume(tree, member_id, 0),
            reads.group_volume(tree, SPONSOR, member_id),
            reads.group_volume(tree, PLACEMENT, member_id),
        )
        for member_id in member_ids
    ]


def test_the_volume_of_a_removed_member_rolls_up_to_its_sponsor() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("A"), enrol("B", "A", "A"), enrol("C", "B", "B"), enrol("D", "C", "C"))
    take(tree, order("B", 1), order("C", 20), order("D", 300), order("C", -7, volume_type="CV", period="2026-10"))
    assert not take(tree, remove("C"))
    assert volumes(tree, "A", "B", "D") == [(0, 321, 321), (21, 321, 321), (300, 300, 300)]
    assert reads.personal_volume(tree, "B", tree.slots.of("CV", "2026-10")) == -7
    tree.validate()


def test_in_the_placement_tree_volume_counts_where_the_sponsor_is_placed() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("A"), enrol("L", "A", "A"), enrol("R", "A", "A"), enrol("M", "L", "R"), order("M", 50))
    assert volumes(tree, "A", "L", "R") == [(0, 50, 50), (0, 50, 0), (0, 0, 50)]
    assert not take(tree, remove("M"))
    assert volumes(tree, "A", "L", "R") == [(0, 50, 50), (50, 50, 50), (0, 0, 0)]
    # A sponsor in the holding tank is in no downline of the placement tree, and neither is what rolls up to it.
    take(tree, enrol("T", "A"), enrol("N", "T", "R"), order("N", 4))
    assert volumes(tree, "A", "T", "R") == [(0, 54, 54), (0, 4, 0), (0, 0, 4)]
    assert not take(tree, remove("N"))
    assert volumes(tree, "A", "T", "R") == [(0, 54, 50), (4, 4, 4), (0, 0, 0)]
    tree.validate()


def test_volume_rolls_up_past_empty_places_and_leaves_with_a_root() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("A"), enrol("B", "A", "A"), enrol("C", "B", "B"), enrol("D", "C", "C"), order("D", 9))
    take(tree, order("B", 2), remove("B", leave_empty=True), remove("C", leave_empty=True))
    assert not take(tree, remove("D"))
    assert volumes(tree, "A") == [(9, 11, 11)]
    assert not take(tree, remove("A"))
    # The empty places are roots now, with the volume that stayed with them.
    assert not take(tree, enrol("B"))
    assert volumes(tree, "B") == [(2, 2, 2)]
    tree.validate()


def test_a_member_whose_sponsor_is_placed_below_it_rolls_up_all_the_same() -> None:
    tree = Tree.empty(CONFIG)
    take(tree, enrol("A"), enrol("S", "A"), enrol("M", "S"), move("S", "M", tree=2), order("M", 6), order("S", 1))
    assert volumes(tree, "S", "M") == [(1, 7, 1), (6, 6, 7)]
    assert not take(tree, remove("M"))
    assert volumes(tree, "A", "S") == [(0, 7, 0), (7, 7, 7)]
    # What is over a limit only in the place that goes is no reason to refuse.
    take(tree, enrol("M", "S"), move("S", "M", tree=2), order("S", -8), order("M", TOP))
    assert volumes(tree, "M") == [(TOP, TOP, TOP - 1)]
    assert not take(tree, remove("M"))
    assert volumes(tree, "S") == [(TOP - 1, TOP - 1, TOP - 1)]
    tree.validate()


@pytest.mark.parametrize("limit", [TOP, BOTTOM + 1])
def test_what_can_not_roll_up_is_refused_and_changes_nothing(limit: int) -> None:
    step = 5 if limit > 0 else -5
    tree = family()
    # B and its sponsor A would be beyond the limit together, though all totals fit by the volume of C.
    take(tree, order("C", -step), order("A", limit), order("B", step))
    before, members = volumes(tree, "A", "B", "C"), tree.member_count
    told = take(tree, remove("B"))
    assert [each.reason for each in told] == ["a total would not fit 64 bits"]
    assert (volumes(tree, "A", "B", "C"), tree.member_count) == (before, members)
    assert not take(tree, remove("B", volume_leaves=True))
    assert group(tree, "A") == limit - step
    # In the placement tree: the line of the sponsor has no room for it.
    take(tree, enrol("P"), enrol("Q", "A", "P"), enrol("S", "A", "Q"), order("P", limit), enrol("M", "S", "C"))
    assert not take(tree, order("M", step))
    told = take(tree, remove("M"))
    assert [each.reason for each in told] == ["a total would not fit 64 bits"]
    assert not take(tree, order("P", -step), remove("M"))
    assert reads.group_volume(tree, PLACEMENT, "P") == limit
    tree.validate()


def test_what_rolls_up_gets_the_width_that_it_needs() -> None:
    naive = naive_tree()
    naive.places["A"] = Place(volumes={("PV", "2026-11"): 2**29})
    naive.places["B"] = Place(sponsor="A", volumes={("PV", "2026-11"): 2**29, ("CV", "2026-10"): 3})
    tree = tree_of(naive)
    assert not take(tree, order("A", 2**29), order("B", 2**29))
    assert tree.store.personal.dtype == np.int32
    assert not take(tree, remove("B"))
    assert tree.store.personal.dtype == np.int64
    assert reads.personal_volume(tree, "A", 0) == 2**31
    assert reads.personal_volume(tree, "A", tree.slots.of("CV", "2026-10")) == 3
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


def test_types_and_periods_of_an_import_are_read_at_once_and_take_orders_once_a_record_opens_them() -> None:
    naive = naive_tree()
    naive.places["A"] = Place()
    table = table_of(naive)
    table = dataclasses.replace(table, volumes={("QV", "2026-09"): np.array([4], dtype=np.int64)})
    tree = Tree.from_table(table, CONFIG, 1, 0)
    assert tree.volume_types == ("PV", "CV", "QV")
    assert tree.periods == ("2026-11", "2026-10", "2026-09")
    assert tree.slots.beyond(tree.rules) == (["QV"], ["2026-09"])
    told = take(tree, order("A", 1, volume_type="QV"), order("A", 1, period="2026-09"))
    assert [each.reason for each in told] == [
        'there is no volume type "QV": PV, CV',
        'period "2026-09" is not open: 2026-11, 2026-10',
    ]
    assert not take(tree, type_added("QV"), opened("2026-09"))
    assert not take(tree, order("A", 5, volume_type="QV", period="2026-09"), order("A", 5, period="2026-09"))
    assert reads.personal_volume(tree, "A", tree.slots.of("QV", "2026-09")) == 9
    assert tree.slots.beyond(tree.rules) == ([], [])


def test_an_import_without_room_for_its_volumes_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tree_module, "build_store", lambda *_: pytest.fail("columns were made"))
    naive = naive_tree()
    naive.places["A"] = Place()
    zeros = np.zeros(1, dtype=np.int64)
    crossed = [
        *((f"V{number}", "2026-10") for number in range(62)),
        *(("PV", f"2{number:03}-01") for number in range(15)),
    ]
    table = dataclasses.replace(table_of(naive), volumes=dict.fromkeys(crossed, zeros))
    with pytest.raises(OverflowError, match=r"64 volume types in 17 periods are 1,088 pairs, and 1,024 fit"):
        Tree.from_table(table, CONFIG, 1, 0)


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
