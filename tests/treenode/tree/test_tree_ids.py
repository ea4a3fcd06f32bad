"""The id hash against a dict, and ids at every width."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.treenode.tree import Tree
from services.treenode.tree.columns.ids import (
    IdTable,
    find_one,
    find_rows,
    ids_of,
    insert_rows,
    key_of,
    keys_of,
    packed_id,
    remove_row,
    words_of,
)
from tests.treenode.tree.judge import CONFIG
from tests.treenode.tree.say import enrol, order, take

texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=32)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(texts, unique=True, min_size=1, max_size=60), st.data())
def test_find_and_remove_as_a_dict_does(ids: list[str], data: st.DataObject) -> None:
    # Barely more slots than ids: long runs, and runs that go round the end.
    table = IdTable(words_of(ids), np.full(len(ids) + 1, -1, dtype=np.int32))
    insert_rows(table, len(ids))
    known = {member_id: row for row, member_id in enumerate(ids)}
    for gone in data.draw(st.permutations(ids)):
        rows = np.empty(len(ids), dtype=np.int32)
        find_rows(table, words_of(ids), rows)
        assert rows.tolist() == [known.get(member_id, -1) for member_id in ids]
        remove_row(table, known.pop(gone))
        assert find_one(table, packed_id(gone)) == -1
    assert (table.slots == -1).all()


@settings(deadline=None, max_examples=60, derandomize=True)
@given(texts)
def test_a_key_is_the_same_at_every_width(member_id: str) -> None:
    widths = range(-(-len(member_id) // 4) * 4, 33, 4)
    keys = {int(keys_of(words_of(np.array([member_id], dtype=f"S{width}")))[0]) for width in widths}
    assert keys == {key_of(member_id)}
    assert ids_of(words_of([member_id])).tolist() == [member_id.encode()]


def test_too_long_or_foreign_ids_are_told() -> None:
    for bad in ("x" * 33, "é"):
        with pytest.raises(ValueError, match=r"characters|ascii|encode"):
            words_of([bad])
        with pytest.raises(ValueError, match=r"characters|ascii|encode"):
            packed_id(bad)


def test_columns_widen_and_grow_while_members_come() -> None:
    tree = Tree.empty(CONFIG)
    words, capacity = tree.store.ids.words.shape[1], tree.store.capacity
    ids = [f"m{number}" for number in range(capacity + 500)]
    take(tree, enrol("m0"), *[enrol(member_id, f"m{number // 3}") for number, member_id in enumerate(ids[1:], 1)])
    long_id = "one-that-is-much-longer-than-all"
    assert not take(tree, enrol(long_id, "m7", "m9"), order(long_id, 9))
    assert tree.store.ids.words.shape[1] == 8 > words
    assert tree.store.capacity > capacity
    assert tree.member_count == len(ids) + 1
    assert ids_of(tree.store.ids.words)[: len(ids) + 1].tolist() == [text.encode() for text in (*ids, long_id)]
    rows = np.empty(len(ids) + 1, dtype=np.int32)
    find_rows(tree.store.ids, words_of([*ids, long_id]), rows)
    assert rows.tolist() == list(range(len(ids) + 1))
    tree.validate()
