"""An engine that fails at an update stops before it; what is skipped is rejected wherever its turn comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fasttree.v1 import types_pb2
from services.treenode.tree import Skip, StopBeforeError, Tree, UpdateFailedError, apply, changes, outcomes
from tests.treenode.tree import reads
from tests.treenode.tree.judge import CONFIG
from tests.treenode.tree.say import change, enrol, move, order, remove, take

MEMBERS = [enrol("A"), enrol("B", "A", "A"), enrol("C", "B", "B")]
POISON = "defect"


def fail_at_poison(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
    """Plants a defect: the engine fails at the update of that id, before it changes anything."""
    attempt = changes.attempt

    def broken(tree: Tree, update: types_pb2.Update) -> changes.Refusal | None:
        if update.update_id == POISON:
            raise error or ZeroDivisionError("planted\x00")
        return attempt(tree, update)

    monkeypatch.setattr(apply, "attempt", broken)
    monkeypatch.setattr(outcomes, "attempt", broken)


def poison(update: types_pb2.Update) -> types_pb2.Update:
    return types_pb2.Update(**{**{field.name: value for field, value in update.ListFields()}, "update_id": POISON})


def test_a_tree_stops_before_the_update_and_goes_on_once_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    updates = [order("A", 1), poison(change("B", rank=3)), order("C", 2), enrol("D", "Z")]
    fail_at_poison(monkeypatch)
    tree = Tree.empty(CONFIG)
    take(tree, *MEMBERS)
    with pytest.raises(UpdateFailedError) as failed:
        take(tree, *updates)
    error = failed.value
    assert (error.position, error.fault_position, error.is_whole) == (5, 5, True)
    assert error.reason == "a defect of this program: ZeroDivisionError: planted\\x00"
    assert tree.position == 4
    tree.validate()
    tree.learn_skip(Skip(5, POISON, "ticket 88"))
    told = take(tree, *updates[1:])
    assert [(each.position, each.update_id, each.reason) for each in told if each.position == 5] == [
        (5, POISON, "skipped by an operator: ticket 88")
    ]
    assert tree.position == 7
    tree.validate()

    fresh = Tree.empty(CONFIG)
    fresh.learn_skip(Skip(5, POISON, "ticket 88"))
    take(fresh, *MEMBERS, *updates)
    assert fresh.digest == tree.digest
    assert fresh.rejected() == tree.rejected()
    restored = Tree.from_state(*tree.state())
    restored.learn_skip(Skip(5, POISON, "ticket 88"))
    assert not restored.skips.due
    assert not restored.skips.too_late


def test_an_update_of_an_unknown_effect_stops_it_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at_poison(monkeypatch, StopBeforeError("rule version 9 is newer than this build: run the newer release"))
    tree = Tree.empty(CONFIG)
    with pytest.raises(UpdateFailedError) as failed:
        take(tree, *MEMBERS, poison(remove("C")))
    assert failed.value.reason == "rule version 9 is newer than this build: run the newer release"
    assert tree.position == 3


@pytest.mark.parametrize(
    ("kernel", "update"),
    [
        ("set_profile", change("B", rank=3)),
        ("move_sponsor", move("C", "A")),
        ("move_placement", move("C", "A", tree=types_pb2.TREE_PLACEMENT)),
        ("remove_member", remove("B")),
        ("post_volumes", order("B", 5)),
        ("enrol_members", enrol("D", "C", columns={})),
        ("_set_columns", remove("B")),
    ],
)
@pytest.mark.parametrize("before", [True, False], ids=["before it changed anything", "after it changed something"])
def test_no_tree_is_taken_for_whole_that_is_not(
    monkeypatch: pytest.MonkeyPatch, kernel: str, update: types_pb2.Update, before: bool
) -> None:
    """Whatever fails among what changes a tree: either the tree says that it is broken, or it is as it was."""
    tree = Tree.empty(CONFIG)
    take(tree, *MEMBERS)
    digest, state = tree.digest, _facts(tree)

    def planted(real: Callable[..., Any]) -> Callable[..., Any]:
        def broken(*arguments: Any) -> Any:
            if not before:
                real(*arguments)
            raise IndexError("planted")

        return broken

    monkeypatch.setattr(changes, kernel, planted(getattr(changes, kernel)))
    if kernel in ("post_volumes", "enrol_members"):
        monkeypatch.setattr(apply, kernel, planted(getattr(apply, kernel)))
    with pytest.raises(UpdateFailedError) as failed:
        take(tree, update)
    assert failed.value.position == 4 or not failed.value.is_whole
    if failed.value.is_whole:
        assert (tree.digest, tree.position, _facts(tree)) == (digest, 3, state)
    else:
        assert tree.changing


@pytest.mark.parametrize("says_so", [True, False], ids=["it says that it changes something", "its digest does"])
def test_one_sign_is_enough_that_a_tree_is_not_as_it_was(says_so: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(tree: Tree, update: types_pb2.Update) -> None:
        if says_so:
            tree.changing = True
        else:
            tree.add_to_digest(1)
        raise IndexError("planted")

    tree = Tree.empty(CONFIG)
    take(tree, *MEMBERS)
    monkeypatch.setattr(apply, "attempt", broken)
    with pytest.raises(UpdateFailedError) as failed:
        take(tree, change("B", rank=3))
    assert (failed.value.position, failed.value.is_whole, tree.position) == (4, False, 4)


def _facts(tree: Tree) -> dict[str, list[int]]:
    used = tree.store.used
    return {
        "kind": tree.store.kind[:used].tolist(),
        "rank": tree.store.rank[:used].tolist(),
        "sponsor": tree.sponsor.parent[:used].tolist(),
        "placement": tree.placement.parent[:used].tolist(),
        "personal": tree.store.personal[0, :used].tolist(),
    }


def test_a_batch_that_fails_as_such_is_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(member_ids: list[str]) -> Any:
        raise MemoryError

    tree, whole = Tree.empty(CONFIG), Tree.empty(CONFIG)
    updates = [*MEMBERS, order("A", 5), order("X", 3), order("B", 7)]
    take(whole, *updates)
    monkeypatch.setattr(apply, "words_of", broken)
    take(tree, *updates)
    assert (tree.position, tree.digest) == (whole.position, whole.digest)


def test_a_held_update_at_fault_is_named_and_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    held = poison(order("D", 5))
    fail_at_poison(monkeypatch)
    updates = [*MEMBERS, order("E", 1), enrol("D", "A")]
    monkeypatch.undo()
    tree = Tree.empty(CONFIG)
    take(tree, held, *updates[:-1])
    snapshot = Tree.from_state(*tree.state())
    fail_at_poison(monkeypatch)
    with pytest.raises(UpdateFailedError) as failed:
        take(tree, updates[-1])
    assert (failed.value.position, failed.value.fault_position, failed.value.is_whole) == (6, 1, False)
    snapshot.learn_skip(Skip(1, POISON, "bad"))
    assert snapshot.held_count == 2  # nothing changes before the next update
    told = take(snapshot, updates[-1])
    assert [each.position for each in told] == [1]
    assert [each.position for each in snapshot.held()] == [5]
    snapshot.validate()
    assert snapshot.carried_positions(5) == [5]
    fresh = Tree.empty(CONFIG)
    fresh.learn_skip(Skip(1, POISON, "bad"))
    take(fresh, held, *updates)
    assert fresh.digest == snapshot.digest
    # What it told of earlier positions was with the update held.
    assert snapshot.digest_at(4) is None
    assert snapshot.digest_at(5) == fresh.digest_at(5)


def test_a_decision_is_due_where_its_update_stands_and_no_earlier() -> None:
    tree = Tree.empty(CONFIG)
    for position in (4, 5, 8):
        tree.learn_skip(Skip(position, f"u{position}", "bad"))
    told = take(tree, enrol("A"), order("A", 1), order("A", 2), order("A", 4))
    assert ([each.position for each in told], tree.position, tree.skips.due) == ([4], 4, {5, 8})
    told = take(tree, order("A", 8), order("A", 16), order("A", 32), order("A", 64))
    assert ([each.position for each in told], tree.position, tree.skips.due) == ([5, 8], 8, set())
    assert reads.personal_volume(tree, "A", 0) == 1 + 2 + 16 + 32


def test_an_import_at_whose_carried_update_the_engine_fails_is_of_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at_poison(monkeypatch)
    tree = Tree.empty(CONFIG)
    take(tree, *MEMBERS)
    with pytest.raises(UpdateFailedError) as failed:
        tree.offer_carried([1, 2], [order("A", 1), poison(order("A", 2))])
    assert (failed.value.position, failed.value.is_whole) == (2, False)


def test_a_skipped_update_that_an_import_carries_is_rejected_there() -> None:
    tree = Tree.empty(CONFIG)
    tree.learn_skip(Skip(2, "o-2", "bad"))
    take(tree, *MEMBERS[:1])
    imported = Tree.from_state(*tree.state())
    imported.skips.known.clear()
    imported.learn_skip(Skip(1, "o-1", "bad"), was_offered=False)
    assert imported.skips.too_late == {1}

    file = Tree.empty(CONFIG)
    file.base_position = 5
    file.store.counters[6] = 5
    file.restart_ring()
    file.learn_skip(Skip(2, "o-2", "bad"))
    assert not file.skips.too_late
    told = file.offer_carried([1, 2], [order("X", 1), types_pb2.Update()])
    assert [(each.position, each.outcome) for each in told] == [
        (1, types_pb2.OUTCOME_HELD),
        (2, types_pb2.OUTCOME_REJECTED),
    ]


def test_a_tree_that_has_taken_a_skipped_update_says_so_at_the_record_of_the_decision() -> None:
    tree = Tree.empty(CONFIG)
    skipped = types_pb2.UpdateSkipped(position=2, reason="bad", skipped_update_id=MEMBERS[1].update_id)
    take(tree, *MEMBERS, types_pb2.Update(update_id="fasttree/skip/2", update_skipped=skipped))
    assert tree.skips.too_late == {2}

    knew = Tree.empty(CONFIG)
    knew.learn_skip(Skip(2, MEMBERS[1].update_id, "bad"))
    take(knew, *MEMBERS, types_pb2.Update(update_id="fasttree/skip/2", update_skipped=skipped))
    assert not knew.skips.too_late
    assert [each.position for each in knew.rejected()] == [2]
    assert [each.waits_for for each in knew.held()] == ["B"]


def test_what_a_decision_does_depends_on_no_batch() -> None:
    held = order("D", 5)
    decision = types_pb2.UpdateSkipped(position=4, reason="bad", skipped_update_id=held.update_id)
    later = types_pb2.UpdateSkipped(position=7, reason="bad", skipped_update_id="x")
    log = [
        *MEMBERS,
        held,
        types_pb2.Update(update_id="fasttree/skip/4", update_skipped=decision),
        types_pb2.Update(update_id="fasttree/skip/7", update_skipped=later),
        enrol("D", "A"),
    ]
    whole, alone, knew = Tree.empty(CONFIG), Tree.empty(CONFIG), Tree.empty(CONFIG)
    knew.learn_skip(Skip(4, held.update_id, "bad"))
    take(whole, *log)
    for update in log:
        take(alone, update)
    take(knew, *log)
    assert whole.digest == alone.digest == knew.digest
    assert [each.position for each in whole.rejected()] == [4, 6]
    whole.validate()
