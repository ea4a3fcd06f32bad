"""Snapshots that do not fit, and digests that say where two trees differ."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from services.treenode.tree import StateError, Tree
from services.treenode.tree.columns.ids import words_of
from services.treenode.tree.columns.slots import rules_digest
from services.treenode.tree.kernels import postings
from services.treenode.tree.kernels.kernel import AnyArray
from services.treenode.tree.kernels.links import TOP
from services.treenode.tree.leg_digests import leg_digests
from services.treenode.tree.store import RING
from tests.treenode.tree.judge import CONFIG, naive_tree, tree_of
from tests.treenode.tree.naive import Place
from tests.treenode.tree.reads import row_of
from tests.treenode.tree.say import enrol, move, order, remove, take


def some_tree() -> Tree:
    """Two roots with some below, an empty place, and further columns."""
    naive = naive_tree()
    for number in range(20):
        sponsor = f"m{number // 3}" if number > 1 else ""
        naive.places[f"m{number}"] = Place(sponsor=sponsor, columns={"city": f"c{number % 3}"})
    tree = tree_of(naive)
    assert not take(tree, order("m7", 3), remove("m5", leave_empty=True), order("m19", 4))
    return tree


def test_a_state_is_json_and_arrays() -> None:
    tree = some_tree()
    take(tree, order("unknown", 1), order("m1", 1, period="1999-01"))
    meta, arrays = tree.state()
    restored = Tree.from_state(json.loads(json.dumps(meta)), arrays)
    assert restored.digest == tree.digest
    assert (list(restored.held()), restored.rejected()) == (list(tree.held()), tree.rejected())
    assert restored.digest_at(2) == tree.digest_at(2)
    restored.validate()


@pytest.mark.parametrize("missing", ["ids", "personal", "sponsor.parent", "placement.row_at", "digests", "held.bytes"])
def test_a_state_that_lacks_a_column_is_refused(missing: str) -> None:
    meta, arrays = some_tree().state()
    del arrays[missing]
    with pytest.raises(StateError):
        Tree.from_state(meta, arrays)


def test_a_state_that_does_not_fit_is_refused() -> None:
    meta, arrays = some_tree().state()
    with pytest.raises(StateError, match="format"):
        Tree.from_state({**meta, "format": 0}, arrays)
    with pytest.raises(StateError, match="position"):
        Tree.from_state({**meta, "position": 99}, arrays)
    with pytest.raises(StateError):
        Tree.from_state(meta, {**arrays, "rank": arrays["rank"][:-1]})


def test_the_order_of_the_file_is_not_in_the_digest() -> None:
    naive = naive_tree()
    for number in range(30):
        above = f"m{number // 2}" if number else ""
        naive.places[f"m{number}"] = Place(sponsor=above, placement=above, columns={"team": str(number % 4)})
    turned = naive_tree()
    turned.places = dict(reversed(naive.places.items()))
    assert tree_of(naive).digest == tree_of(turned).digest
    turned.places["m29"].columns["team"] = "other"
    assert tree_of(naive).digest != tree_of(turned).digest or naive.places["m29"] is turned.places["m29"]


def test_earlier_digests_are_known_for_a_ring() -> None:
    tree = some_tree()
    at_three = tree.digest
    ids, slots, amounts = words_of(["m7"] * 1000), np.zeros(1000, dtype=np.int32), np.ones(1000, dtype=np.int64)
    for _ in range(RING // 1000):
        assert postings.post_volumes(tree.store, ids, slots, amounts, 0, 1) == 1000
    assert tree.digest_at(3) == at_three
    assert tree.digest_at(tree.position + 1) is None
    for _ in range(2):
        postings.post_volumes(tree.store, ids, slots, amounts, 0, 1)
    assert tree.digest_at(3) is None
    assert tree.digest_at(tree.position - RING + 1) is not None
    assert tree.digest_at(tree.position - RING) is None


def test_leg_digests_lead_to_the_member_that_differs() -> None:
    left, right = some_tree(), some_tree()
    assert left.digest == right.digest
    take(left, order("m13", 1))
    take(right, order("m13", 2))
    path, row = [], TOP
    while True:
        own, legs = leg_digests(left, row)
        other, other_legs = leg_digests(right, row)
        if own is not None and other is not None and own.member_digest != other.member_digest:
            break
        differing = [one for one, two in zip(legs, other_legs, strict=True) if one.leg_digest != two.leg_digest]
        assert len(differing) == 1
        path.append(differing[0].member_id)
        row = row_of(left, path[-1])
    assert path == ["m1", "m4", "m13"]


def test_leg_digests_add_up() -> None:
    tree = some_tree()
    own, legs = leg_digests(tree, TOP)
    assert own is None
    assert [leg.member_id for leg in legs] == ["m0", "m1"]
    # A removal is remembered, and is no fact of a member.
    removals = sum(tree.held_updates.removal_digest(*removal) for removal in tree.held_updates.removals.items())
    others = removals + rules_digest(tree.rules)
    assert (others + sum(leg.leg_digest for leg in legs)) % 2**64 == tree.digest
    own, legs = leg_digests(tree, row_of(tree, "m1"))
    assert own is not None
    assert [leg.member_id for leg in legs] == ["m3", "m4", "m5"]
    assert (own.member_digest + sum(leg.leg_digest for leg in legs)) % 2**64 == own.leg_digest


def test_a_tree_laid_out_anew_goes_its_own_way() -> None:
    tree = some_tree()
    take(tree, enrol("new", "m2"), move("m3", "m2"), remove("m4"), order("later", 1))
    fresh = tree.relayout()
    assert fresh.change_count == 0 < tree.change_count
    before = tree.digest
    take(fresh, enrol("later", "m2", status="Q", columns={"city": "c9"}))
    assert (tree.digest, tree.held_count) == (before, 1)
    take(tree, enrol("later", "m2", status="Q", columns={"city": "c9"}))
    assert tree.digest == fresh.digest
    tree.validate()
    fresh.validate()


def test_reconciliation_tells_what_differs() -> None:
    before, after = some_tree(), some_tree()
    take(
        after,
        enrol("new", "m2"),
        move("m3", "m2"),
        remove("m19", volume_leaves=True),
        order("m8", 250),
        order("m9", -50),
    )
    take(before, order("m8", 50))
    told = before.reconcile(after)
    assert (told.members_added, told.members_removed, told.members_moved) == (1, 1, 1)
    assert (told.volumes_changed, told.volume_difference_hundredths) == (2, 250)
    assert (told.members_before, told.members_after) == (before.member_count, after.member_count)
    same = Tree.empty(CONFIG).reconcile(Tree.empty(CONFIG))
    assert same == type(same)(0, 0, 0, 0, 0, 0, 0)


def with_capacity(meta: dict[str, Any], arrays: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """The arrays as whoever reads them into memory of its own makes them."""
    longer = {}
    for name, array in arrays.items():
        longer[name] = array.copy()
        if name in meta["growing"]:
            shape = list(array.shape)
            shape[meta["growing"][name]] = meta["room"]
            rows = meta["spare"].get(name)
            longer[name] = np.zeros(shape if rows is None else (rows, shape[1]), array.dtype)[: shape[0]]
            longer[name][tuple(slice(length) for length in array.shape)] = array
    return longer


def test_arrays_with_spare_capacity_become_the_columns_without_a_copy() -> None:
    tree = some_tree()
    meta, arrays = tree.state()
    longer = with_capacity(meta, arrays)
    restored = Tree.from_state(meta, longer)
    restored.validate()
    assert restored.digest == tree.digest
    store = restored.store
    assert store.kind is longer["kind"]
    assert store.ids.words is longer["ids"]
    assert store.placement.row_at is longer["placement.row_at"]
    assert np.shares_memory(store.personal, longer["personal"])
    assert restored.further["city"].values is longer["further.city"]
    assert restored.store.capacity == meta["room"]
    assert not take(restored, order("m3", 1))
    restored.validate()


def test_every_column_has_the_same_capacity() -> None:
    meta, arrays = some_tree().state()
    longer = with_capacity(meta, arrays)
    for name in (name for name in meta["growing"] if not name.startswith("further.")):
        with pytest.raises(StateError):
            Tree.from_state(meta, {**longer, name: arrays[name]})
