"""Enrolments in a run: whatever is among them, the tree comes to what it comes to when each comes alone."""

from __future__ import annotations

from typing import Any

import pytest

from fasttree.v1 import types_pb2
from services.shared.domain.limits import LEG_MAX, MEMBER_ID_LENGTH_MAX, RANK_MAX
from services.treenode.tree import Tree
from services.treenode.tree import apply as engine
from services.treenode.tree import tree as tree_module
from services.treenode.tree.store import CUSTOMER
from tests.shared.rules.test_rules import declared
from tests.treenode.tree import reads
from tests.treenode.tree.judge import CONFIG, naive_tree, tree_of
from tests.treenode.tree.naive import PLACEMENT, SPONSOR, Place
from tests.treenode.tree.say import change, enrol, order, remove, take

#: What only one of a run has, and the place of its values: the first half would be refused, the rest is taken.
ODD: dict[str, dict[str, Any]] = {
    "no id": {"member_id": ""},
    "a blank before the id": {"member_id": " x"},
    "a blank behind the id": {"member_id": "x "},
    "an id of another script": {"member_id": "é"},
    "an id with a control": {"member_id": "x\n"},
    "an id that is too long": {"member_id": "x" * (MEMBER_ID_LENGTH_MAX + 1)},
    "a blank behind the sponsor": {"sponsor_id": "root "},
    "a sponsor of another script": {"sponsor_id": "é"},
    "a placement that is too long": {"placement_id": "x" * (MEMBER_ID_LENGTH_MAX + 1)},
    "a leg without a placement": {"placement_leg": 1},
    "a leg that is too large": {"placement_id": "root", "placement_leg": LEG_MAX + 1},
    "a kind that nobody knows": {"kind": 3},
    "a kind below all": {"kind": -1},
    "a rank below zero": {"rank": -1},
    "a rank that is too large": {"rank": RANK_MAX + 1},
    "a status of another script": {"status": "é"},
    "a day that is none": {"joined_on": "2026-02-30"},
    "a column that is not there": {"columns": {"nothing": "1"}},
    "a text that is no number": {"columns": {"points": "x"}},
    "a text that is too long": {"columns": {"zip": "x" * 100_000}},
    "who is there already": {"member_id": "root"},
    "a sponsor that is nobody": {"sponsor_id": "later"},
    "a blank within the id": {"member_id": "x y"},
    "the longest id": {"member_id": "x" * MEMBER_ID_LENGTH_MAX},
    "the largest leg": {"placement_id": "root", "placement_leg": LEG_MAX},
    "a customer": {"kind": CUSTOMER},
    "the largest rank": {"rank": RANK_MAX},
    "a new status": {"status": "of its own"},
    "a day": {"joined_on": "2026-02-28"},
    "columns": {"columns": {"points": "7", "zip": "02134"}},
    "columns that are empty": {"columns": {"points": "", "zip": ""}},
}


def founded() -> Tree:
    """With columns, somebody to enrol below, and room for what comes."""
    tree = Tree.empty(CONFIG)
    take(tree, declared("zip"), declared("points", "integer"), enrol("root"), enrol("other", "root", "root"))
    return tree


def member(member_id: str, **more: Any) -> types_pb2.Update:
    fields = {"member_id": member_id, "sponsor_id": "root", **more}
    return enrol(**fields)


def expect_alike(updates: list[types_pb2.Update]) -> Tree:
    """Applies them as a run and each alone; returns the first tree."""
    run, alone = founded(), founded()
    told = take(run, *updates)
    told_alone = [each for update in updates for each in take(alone, update)]
    assert told == told_alone
    assert run.digest == alone.digest
    begun = run.position - len(updates)
    assert [run.digest_at(at) for at in range(begun, run.position + 1)] == [
        alone.digest_at(at) for at in range(begun, run.position + 1)
    ]
    run.validate()
    return run


@pytest.mark.parametrize("which", ODD)
@pytest.mark.parametrize("place", [0, 1, 5])
def test_one_that_is_odd_changes_nothing_for_those_beside_it(which: str, place: int) -> None:
    updates = [member(f"m{number}", columns={"points": str(number)} if number % 2 else {}) for number in range(6)]
    odd = {"member_id": "odd", **ODD[which]}
    updates[place] = member(**odd)
    tree = expect_alike(updates)
    for number in set(range(6)) - {place}:
        row = reads.row_of(tree, f"m{number}")
        assert row >= 0
        points = tree.further["points"]
        assert points.values[row] == (number if number % 2 else points.unknown)


def test_what_is_refused_is_refused_and_what_is_good_is_taken() -> None:
    """So that two ways that are wrong alike are seen."""
    refused = list(ODD)[: list(ODD).index("a sponsor that is nobody")]
    for which, more in ODD.items():
        tree = founded()
        told = take(tree, member("m1"), member(**{"member_id": "odd", **more}), member("m2"))
        assert [each.outcome for each in told] == (
            [types_pb2.OUTCOME_REJECTED]
            if which in refused
            else [types_pb2.OUTCOME_HELD] * (which == "a sponsor that is nobody")
        ), which


@pytest.mark.parametrize("count", [1, 63, 64, 65, 200])
def test_who_is_waited_for_is_met_wherever_he_stands(count: int) -> None:
    for place in {0, count // 2, count - 1}:
        waiting = order("awaited", 100)
        run = [member(f"m{number}") for number in range(count)]
        run[place] = member("awaited")
        tree = expect_alike([waiting, *run])
        assert not tree.held_count
        assert reads.personal_volume(tree, "awaited") == 100


def test_a_run_is_longer_than_the_digests_that_are_kept() -> None:
    """Of a tree's first positions; columns give them their share afterwards."""
    tree = expect_alike([member(f"m{number}", columns={"points": "1"}) for number in range(300)])
    assert tree.digest_at(tree.position) == tree.digest


def test_members_beyond_the_room_that_was_there_have_the_values_that_they_bring() -> None:
    tree = founded()
    count = tree.store.capacity + 1
    assert not take(tree, *[member(f"m{number}") for number in range(count)], member("z", columns={"points": "7"}))
    points = tree.further["points"]
    assert (points.values[: tree.store.used - 1] == points.unknown).all()
    assert points.values[reads.row_of(tree, "z")] == 7
    tree.validate()


def test_an_imports_own_digest_stays_when_members_bring_values() -> None:
    naive = naive_tree()
    naive.places["root"] = Place()
    tree = tree_of(naive)
    before = tree.digest
    assert not take(tree, *[member(f"m{number}", columns={"city": "Oslo"}) for number in range(3)])
    assert tree.digest_at(0) == before
    assert tree.digest_at(3) == tree.digest


def test_statuses_that_get_other_codes_in_a_run_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_STATUSES", 3)
    tree = Tree.empty(CONFIG)
    take(tree, enrol("root"), enrol("B", status="b"), enrol("A", status="a"), change("B", status=""))
    take(tree, change("awaited", status="c"))
    # As the awaited one comes, "b" gives its code up for "a", and "a" its own for "c".
    run = [member("m1", status="a"), member("awaited", status="a"), member("m2", status="a"), member("m3", status="a")]
    assert not take(tree, *run)
    names = [tree.statuses.texts[tree.store.status[reads.row_of(tree, each)]] for each in ("A", "m1", "m2", "m3")]
    assert names == ["a"] * 4
    assert tree.statuses.texts[tree.store.status[reads.row_of(tree, "awaited")]] == "c"
    assert tree.statuses.texts == ["", "a", "c"]
    tree.validate()


def emptied() -> Tree:
    """Where "gone" was is an empty place, with "below" under it in both trees."""
    tree = founded()
    take(tree, member("gone", placement_id="root", placement_leg=5), enrol("below", "gone", "gone"))
    assert not take(tree, remove("gone", leave_empty=True))
    return tree


def test_who_comes_back_to_an_empty_place_keeps_those_below() -> None:
    tree = emptied()
    assert not take(tree, enrol("gone", "other", "other", placement_leg=3, rank=4))
    tree.validate()
    assert reads.parent(tree, SPONSOR, "gone") == "other"
    assert reads.parent(tree, PLACEMENT, "gone") == "other"
    assert reads.parent(tree, SPONSOR, "below") == reads.parent(tree, PLACEMENT, "below") == "gone"


def test_the_first_place_of_all_may_be_come_back_to() -> None:
    tree = founded()
    assert not take(tree, remove("root", leave_empty=True))
    assert not take(tree, enrol("root", rank=4))
    tree.validate()
    assert reads.parent(tree, SPONSOR, "other") == reads.parent(tree, PLACEMENT, "other") == "root"


def test_who_comes_back_may_stay_where_the_place_is() -> None:
    tree = emptied()
    assert not take(tree, enrol("gone", "root", "root"))
    assert tree.store.leg[reads.row_of(tree, "gone")] == 5, "the leg that the place has"


@pytest.mark.parametrize(
    ("sponsor", "placement", "leg", "reason"),
    [
        ("below", "root", 0, "the new sponsor is in the member's own downline"),
        ("root", "below", 0, "the new placement is in the member's own downline"),
        ("root", "root", 1, "leg 1 of the new placement is taken"),
    ],
)
def test_who_comes_back_is_refused_a_place_that_can_not_be(sponsor: str, placement: str, leg: int, reason: str) -> None:
    tree = emptied()
    take(tree, order("root", 5))
    before = tree.digest
    (told,) = take(tree, enrol("gone", sponsor, placement, placement_leg=leg))
    assert told.reason == reason
    assert told.outcome == types_pb2.OUTCOME_REJECTED
    tree.validate()
    assert reads.row_of(tree, "gone") == -1
    assert tree.digest != before, "the refusal is in it"


PLAIN = [member(f"m{number}", columns={"points": "1"} if number % 2 else {}) for number in range(6)]


@pytest.mark.parametrize(
    ("updates", "alone"),
    [
        (PLAIN, 0),
        ([*PLAIN, member("x y"), member("c", kind=CUSTOMER), member("r", rank=RANK_MAX)], 0),
        ([*PLAIN, member("l", placement_id="root", placement_leg=LEG_MAX), member("x" * MEMBER_ID_LENGTH_MAX)], 0),
        ([*PLAIN, *[order("m1", 5)] * 3, *[member(f"n{number}", sponsor_id="m1") for number in range(3)]], 0),
        ([*PLAIN[:3], member("odd", columns={"points": "x"}), *PLAIN[3:]], 1),
        ([*PLAIN[:3], member("root"), *PLAIN[3:]], 1),
        ([*PLAIN[:3], member("odd", sponsor_id="nobody"), *PLAIN[3:]], 1),
        ([*PLAIN[:3], member("odd "), *PLAIN[3:]], 7),
        ([order("awaited", 1), *[member(f"n{number}") for number in range(200)], member("awaited")], 2),
    ],
    ids=[
        "plain",
        "at the bounds",
        "the largest leg",
        "kinds in turn",
        "a column",
        "there already",
        "nobody",
        "an id",
        "awaited",
    ],
)
def test_kernels_take_what_is_plain(
    updates: list[types_pb2.Update], alone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that a kernel does not take comes to the same, many times later: nothing else would tell."""
    looked_at = 0
    look_at_one = engine._apply_next

    def count(*arguments: Any) -> None:
        nonlocal looked_at
        looked_at += 1
        look_at_one(*arguments)

    tree = founded()
    monkeypatch.setattr(engine, "_apply_next", count)
    take(tree, *updates)
    assert looked_at == alone
