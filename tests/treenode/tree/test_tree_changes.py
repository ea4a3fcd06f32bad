"""What each kind of change does to a member, and to nothing else of it; members in the first row, and at the top."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from fasttree.v1 import types_pb2
from services.shared.domain.days import day_number
from services.shared.domain.updates import NO_CHANGE
from services.treenode.tree import NO_DAY, Tree, changes
from services.treenode.tree import apply as engine
from services.treenode.tree.held import HeldUpdates
from services.treenode.tree.store import CUSTOMER, DISTRIBUTOR, NOBODY
from tests.shared.rules.test_rules import declared, opened
from tests.treenode.tree import reads
from tests.treenode.tree.judge import CONFIG, naive_tree, table_of
from tests.treenode.tree.naive import PLACEMENT, SPONSOR, Place
from tests.treenode.tree.say import change, enrol, move, order, remove, settle, take, update

HALF = 2**62


def founded() -> Tree:
    """A in the first row, B and C below it in both trees, on the legs 1 and 4."""
    tree = Tree.empty(CONFIG)
    member = {"kind": CUSTOMER, "status": "new", "rank": 7, "joined_on": "2026-02-28", "columns": {"zip": "02134"}}
    assert not take(
        tree,
        declared("zip"),
        enrol("A"),
        enrol("B", "A", "A", placement_leg=1, **member),
        enrol("C", "A", "A", placement_leg=4),
    )
    assert reads.row_of(tree, "A") == 0
    return tree


def profile(tree: Tree, member_id: str) -> dict[str, Any]:
    store, row = tree.store, reads.row_of(tree, member_id)
    return {
        "kind": int(store.kind[row]),
        "status": tree.statuses.texts[store.status[row]],
        "rank": int(store.rank[row]),
        "joined_on": int(store.joined_on[row]),
        "zip": tree.further["zip"].text_at(row),
    }


def leg(tree: Tree, member_id: str) -> int:
    return int(tree.store.leg[reads.row_of(tree, member_id)])


def reasons(tree: Tree, *updates: types_pb2.Update) -> list[str]:
    """Why each of them is rejected."""
    told = take(tree, *updates)
    assert [each.outcome for each in told] == [types_pb2.OUTCOME_REJECTED] * len(updates)
    tree.validate()
    return [each.reason for each in told]


NEW = {"kind": CUSTOMER, "status": "new", "rank": 7, "joined_on": day_number("2026-02-28"), "zip": "02134"}


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        ({"kind": DISTRIBUTOR}, {"kind": DISTRIBUTOR}),
        ({"status": "old"}, {"status": "old"}),
        ({"status": ""}, {"status": ""}),
        ({"rank": 3}, {"rank": 3}),
        ({"rank": 0}, {"rank": 0}),
        ({"joined_on": "2025-01-31"}, {"joined_on": day_number("2025-01-31")}),
        ({"joined_on": ""}, {"joined_on": NO_DAY}),
        ({"columns": {"zip": "10001"}}, {"zip": "10001"}),
        ({"columns": {"zip": ""}}, {"zip": ""}),
    ],
    ids=str,
)
def test_a_change_changes_what_it_names_and_nothing_else(said: dict[str, Any], becomes: dict[str, Any]) -> None:
    tree = founded()
    assert not take(tree, change("B", **said))
    assert profile(tree, "B") == NEW | becomes
    tree.validate()


def test_who_was_waited_for_enrols_as_anybody_does() -> None:
    tree = founded()
    take(tree, order("D", 5), order("E", 6))
    assert not take(tree, enrol("D", "A", "A", kind=CUSTOMER, status="new", rank=7, joined_on="2026-02-28"))
    assert not take(tree, enrol("E", "D"))
    assert profile(tree, "D") == NEW | {"zip": ""}
    assert profile(tree, "E") == {"kind": DISTRIBUTOR, "status": "", "rank": 0, "joined_on": NO_DAY, "zip": ""}
    assert (leg(tree, "D"), leg(tree, "E")) == (2, 0)
    assert (reads.personal_volume(tree, "D", 0), reads.personal_volume(tree, "E", 0)) == (5, 6)
    tree.validate()


def test_who_was_waited_for_is_refused_what_anybody_is() -> None:
    tree = founded()
    take(tree, order("D", 5))
    assert reasons(tree, enrol("D", "A", "A", placement_leg=1)) == ["leg 1 of A is taken"]
    assert not take(tree, enrol("D", "A", "A", placement_leg=3))
    assert leg(tree, "D") == 3


def test_there_is_room_for_who_was_waited_for() -> None:
    tree = Tree.empty(CONFIG)
    full = tree.store.capacity
    take(tree, declared("points", "integer"), order("D", 5), *[enrol(f"m{number}") for number in range(full)])
    assert tree.store.capacity == tree.store.used == full
    assert not take(tree, enrol("D"))
    row, points = reads.row_of(tree, "D"), tree.further["points"]
    assert row == full < tree.store.capacity
    assert points.values[row] == points.unknown
    assert reads.personal_volume(tree, "D", 0) == 5
    tree.validate()


def test_the_first_row_is_a_row_like_any_other() -> None:
    tree = founded()
    assert reasons(tree, enrol("A")) == ["member A is enrolled already"]
    # A goes below B, which was below it; then B may not go below A.
    assert not take(tree, move("B", ""), move("B", "", tree=PLACEMENT), move("A", "B"), move("A", "B", tree=PLACEMENT))
    assert reasons(tree, move("B", "A"), move("B", "A", tree=PLACEMENT)) == [
        "the new sponsor is in the member's own downline",
        "the new placement is in the member's own downline",
    ]
    assert [reads.parent(tree, which, "A") for which in (SPONSOR, PLACEMENT)] == ["B", "B"]
    assert [reads.parent(tree, which, "B") for which in (SPONSOR, PLACEMENT)] == ["", ""]


def test_a_move_takes_the_leg_that_it_names_or_the_first_free_one() -> None:
    tree = founded()
    assert not take(tree, enrol("D", "A", "B"), enrol("E", "A", "B", placement_leg=9))
    assert reasons(tree, move("E", "A", tree=PLACEMENT, placement_leg=4)) == ["leg 4 of the new placement is taken"]
    # E's own leg below B is none that it has below A.
    assert not take(tree, move("E", "A", tree=PLACEMENT))
    assert leg(tree, "E") == 2
    assert not take(tree, move("D", "A", tree=PLACEMENT, placement_leg=7))
    assert leg(tree, "D") == 7
    # Who is there already stays on its leg, if no other is named.
    assert not take(tree, move("D", "A", tree=PLACEMENT))
    assert leg(tree, "D") == 7
    assert not take(tree, move("D", "A", tree=PLACEMENT, placement_leg=5))
    assert leg(tree, "D") == 5
    assert not take(tree, move("D", "", tree=PLACEMENT))
    assert (leg(tree, "D"), reads.parent(tree, PLACEMENT, "D")) == (0, "")
    tree.validate()


def test_whoever_goes_to_the_top_adds_to_nobodys_total() -> None:
    tree = Tree.empty(CONFIG)
    assert not take(tree, enrol("A"), enrol("B"), enrol("C", "B", "B"), order("A", HALF), order("C", HALF))
    assert not take(tree, move("C", ""), move("C", "", tree=PLACEMENT))
    groups = [reads.group_volume(tree, which, each) for which in (SPONSOR, PLACEMENT) for each in "ABC"]
    assert groups == [HALF, 0, HALF] * 2
    tree.validate()


def test_an_empty_place_is_nobody_and_keeps_its_volume() -> None:
    tree = founded()
    assert not take(tree, order("B", 5), remove("B", leave_empty=True))
    row = int(changes.find_place(tree, "B"))
    store = tree.store
    assert (int(store.kind[row]), int(store.rank[row]), int(store.joined_on[row])) == (NOBODY, 0, NO_DAY)
    assert (tree.statuses.texts[store.status[row]], tree.further["zip"].text_at(row)) == ("", "")
    assert [reads.group_volume(tree, which, "A") for which in (SPONSOR, PLACEMENT)] == [5, 5]
    assert reads.personal_volume(tree, "A", 0) == 0
    tree.validate()


def test_a_place_may_be_emptied_whose_volume_could_not_go() -> None:
    tree = founded()
    assert not take(tree, order("C", -5), order("B", 2**63 - 1), order("A", 5))
    assert reasons(tree, remove("C", volume_leaves=True)) == ["a group total would not fit 64 bits"]
    assert not take(tree, remove("C", leave_empty=True), remove("B", leave_empty=True))
    assert reads.group_volume(tree, SPONSOR, "A") == 2**63 - 1
    tree.validate()


def test_an_empty_place_has_no_status_whatever_the_first_one_of_a_file_is() -> None:
    naive = naive_tree()
    naive.places["A"] = Place()
    tree = Tree.from_table(dataclasses.replace(table_of(naive), status_names=["gold"]), CONFIG, 1, 0)
    assert not take(tree, remove("A", leave_empty=True))
    assert tree.statuses.texts[tree.store.status[int(changes.find_place(tree, "A"))]] == ""
    tree.validate()


def test_the_first_row_inherits_as_any_other_does() -> None:
    tree = founded()
    assert not take(tree, order("B", 5), remove("B"))
    assert reads.personal_volume(tree, "A", 0) == 5
    assert reads.group_volume(tree, SPONSOR, "A") == 5
    tree.validate()


def test_what_says_nothing_and_what_the_rules_refuse_is_rejected() -> None:
    tree = founded()
    rules = tree.rules
    assert reasons(tree, update()) == [NO_CHANGE]
    (reason,) = reasons(tree, declared("zip", "integer"))
    assert "zip" in reason
    assert tree.rules == rules


def test_a_decision_to_skip_itself_comes_too_late() -> None:
    tree = founded()
    position = tree.position + 1
    skipped = types_pb2.UpdateSkipped(position=position, skipped_update_id="u", reason="why")
    assert reasons(tree, update(update_skipped=skipped)) == ["only an update that came before can be skipped"]
    assert not tree.skips.known


@pytest.mark.parametrize(
    ("owner", "what", "updates"),
    [
        (changes, "enrol_members", [enrol("D")]),
        (changes, "move_sponsor", [enrol("E")]),
        (changes, "set_profile", [change("B", rank=3)]),
        (changes, "move_sponsor", [move("B", "")]),
        (changes, "move_placement", [move("B", "", tree=PLACEMENT)]),
        (changes, "_set_columns", [remove("B")]),
        (changes, "set_profile", [remove("B", leave_empty=True)]),
        (changes, "post_volumes", [order("B", 5)]),
        (Tree, "take_rules", [opened("2026-12")]),
        (HeldUpdates, "take", [enrol("E"), settle("retry", "E")]),
    ],
)
def test_a_change_says_that_it_begins(
    owner: Any, what: str, updates: list[types_pb2.Update], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the engine fails after that, the tree is not taken for whole."""
    tree = founded()
    take(tree, order("D", 5), enrol("E"), remove("E", leave_empty=True), order("E", 7))
    said: list[bool] = []

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*arguments: Any) -> Any:
            said.append(tree.changing)
            return real(*arguments)

        return watch

    monkeypatch.setattr(owner, what, watched(getattr(owner, what)))
    # One at a time, as after a kernel has stopped.
    monkeypatch.setattr(engine, "_enrol_plain", lambda tree, batch, begin, end: begin)
    monkeypatch.setattr(engine, "post_volumes", lambda store, asked, slots, amounts, done, position_step: done)
    tree.changing = False
    assert not take(tree, *updates)
    assert said
    assert all(said)
    assert not tree.changing
    tree.validate()


def test_who_is_refused_is_not_who_was_waited_for() -> None:
    tree = founded()
    take(tree, order("D", 5))
    position = tree.position
    assert len(reasons(tree, enrol("D", rank=-1))) == 1
    # Nothing was tried again meanwhile.
    assert tree.held_updates.by_position[position].since == position


@pytest.mark.parametrize(("what", "said_of"), [("hold", order("D", 5)), ("reject", update())])
def test_what_is_not_applied_says_that_it_begins_too(
    what: str, said_of: types_pb2.Update, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = founded()
    said: list[bool] = []
    real = getattr(engine, what)

    def watch(*arguments: Any) -> None:
        said.append(tree.changing)
        real(*arguments)

    monkeypatch.setattr(engine, what, watch)
    assert len(take(tree, said_of)) == 1
    assert said == [True]


def test_a_decision_to_drop_says_that_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = founded()
    take(tree, order("D", 5))
    said: list[bool] = []
    real = HeldUpdates.take

    def watch(updates: HeldUpdates, position: int) -> None:
        said.append(tree.changing)
        real(updates, position)

    monkeypatch.setattr(HeldUpdates, "take", watch)
    assert [each.position for each in take(tree, settle("drop", "D"))] == [tree.position - 1]
    assert said == [True]
