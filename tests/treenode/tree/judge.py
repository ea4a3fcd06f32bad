"""Compares a tree with the naive one, and makes import tables of the naive one."""

from __future__ import annotations

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.domain.days import day_number
from services.shared.rules import rules_of
from services.treenode.tree import NO_DAY, FurtherColumn, ImportTable, Tree
from services.treenode.tree.held import HeldUpdate, HeldUpdates, RejectedUpdates
from tests.treenode.tree import reads
from tests.treenode.tree.naive import PLACEMENT, SPONSOR, NaiveTree

VOLUME_TYPES = ["PV", "CV"]
PERIODS = ["2026-11", "2026-10"]
CONFIG = rules_of(tuple(VOLUME_TYPES), tuple(PERIODS))
COLUMNS = ["city", "team"]


def naive_tree() -> NaiveTree:
    """A naive tree with the two further columns of COLUMNS."""
    return NaiveTree(VOLUME_TYPES, PERIODS, COLUMNS)


def table_of(naive: NaiveTree) -> ImportTable:
    """An import table of the naive tree's places; empty ones have kind 0, which no file could say."""
    ids = list(naive.places)
    index = {member_id: row for row, member_id in enumerate(ids)}
    places = list(naive.places.values())
    statuses = sorted({place.status for place in places} | {""})
    further = {name: FurtherColumn.of_texts([place.columns.get(name, "") for place in places]) for name in COLUMNS}
    return ImportTable(
        member_ids=np.array(ids, dtype="S32"),
        sponsor=np.array([index.get(place.sponsor, -1) for place in places], dtype=np.int32),
        placement=np.array([index.get(place.placement, -1) for place in places], dtype=np.int32),
        placement_leg=np.array([place.leg for place in places], dtype=np.int32),
        kind=np.array([place.kind for place in places], dtype=np.uint8),
        status=np.array([statuses.index(place.status) for place in places], dtype=np.int16),
        status_names=statuses,
        rank=np.array([place.rank for place in places], dtype=np.int16),
        joined_on=np.array([day_number(place.joined_on) for place in places], dtype=np.int32),
        volumes={
            (volume_type, period): np.array(
                [place.volumes.get((volume_type, period), 0) for place in places], dtype=np.int64
            )
            for volume_type in VOLUME_TYPES
            for period in PERIODS
        },
        further=further,
    )


def tree_of(naive: NaiveTree) -> Tree:
    """A tree laid out from the naive one's places, at its position."""
    return Tree.from_table(table_of(naive), CONFIG, 1, naive.position)


def expect_same(tree: Tree, naive: NaiveTree) -> None:
    """Asserts that both hold the same: every member, every figure, and what was held or rejected."""
    tree.validate()
    members = [member_id for member_id in naive.places if naive.is_member(member_id)]
    assert tree.position == naive.position
    assert tree.member_count == len(members)
    assert tree.empty_place_count == len(naive.places) - len(members)
    assert tree.root_count == sum(not naive.places[each].sponsor for each in members)
    assert tree.holding_count == len(naive.holding())
    for member_id in naive.places:
        assert (reads.row_of(tree, member_id) >= 0) == naive.is_member(member_id)
        if naive.is_member(member_id):
            _expect_same_member(tree, naive, member_id)
    for which in (SPONSOR, PLACEMENT):
        _expect_same_whole(tree, naive, which)
    assert {each.position: each.waits_for for each in tree.held()} == naive.waits_for
    assert {each.position: each.removed_at for each in tree.held() if each.removed_at} == naive.removed_at
    assert [each.position for each in tree.rejected()] == sorted(naive.rejected)
    assert tree.held_count == len(naive.held)
    assert tree.rejected_count == len(naive.rejected)
    _expect_same_digest(tree, naive)


def _expect_same_member(tree: Tree, naive: NaiveTree, member_id: str) -> None:
    store, place, row = tree.store, naive.places[member_id], reads.row_of(tree, member_id)
    assert int(store.kind[row]) == place.kind
    assert tree.statuses.texts[store.status[row]] == place.status
    assert int(store.rank[row]) == place.rank
    joined_on = int(store.joined_on[row])
    assert ("" if joined_on == NO_DAY else str(np.datetime64(joined_on, "D"))) == place.joined_on
    assert int(store.leg[row]) == place.leg
    texts = {name: column.text_at(row) for name, column in tree.further.items()}
    assert {name: text for name, text in texts.items() if text} == place.columns
    for (volume_type, period), slot in tree.slots.in_order:
        personal = place.volumes.get((volume_type, period), 0)
        assert reads.personal_volume(tree, member_id, slot) == personal
    for which in (SPONSOR, PLACEMENT):
        upline = naive.upline(which, member_id)
        assert reads.parent(tree, which, member_id) == naive.parent(which, member_id)
        assert reads.level(tree, which, member_id) == len(upline)
        assert reads.upline(tree, which, member_id) == [each for each in upline if naive.is_member(each)]
        children = {each for each in naive.children(which, member_id) if naive.is_member(each)}
        assert set(reads.front_line(tree, which, member_id)) == children
        assert reads.downline_count(tree, which, member_id) == naive.count(which, member_id)
        for (volume_type, period), slot in tree.slots.in_order:
            group = naive.group(which, member_id, (volume_type, period))
            assert reads.group_volume(tree, which, member_id, slot) == group
        _expect_same_downline(tree, naive, which, member_id)


def _expect_same_downline(tree: Tree, naive: NaiveTree, which: int, member_id: str) -> None:
    found = reads.downline(tree, which, member_id)
    assert sorted(found) == sorted(each for each in naive.downline(which, member_id) if naive.is_member(each))
    _expect_tree_order(naive, which, found)
    top = len(naive.upline(which, member_id))
    for levels in (0, 1, 2):
        limited = [each for each in found if len(naive.upline(which, each)) - top <= levels]
        assert reads.shallow_downline(tree, which, member_id, levels) == limited


def _expect_tree_order(naive: NaiveTree, which: int, found: list[str]) -> None:
    """Each member comes before its downline, and a downline is in one piece."""
    for place, member_id in enumerate(found):
        below = {each for each in naive.downline(which, member_id) if naive.is_member(each)}
        assert set(found[place : place + len(below)]) == below


def _expect_same_whole(tree: Tree, naive: NaiveTree, which: int) -> None:
    found = reads.downline(tree, which, "")
    heads = {each for each in naive.places if not naive.parent(which, each) and not naive.places[each].sponsor}
    expected = {
        each
        for each in naive.places
        if naive.is_member(each) and (each in heads or set(naive.upline(which, each)) & heads)
    }
    assert len(found) == len(expected)
    assert set(found) == expected
    assert set(reads.front_line(tree, which, "")) == {each for each in heads if naive.is_member(each)}


def _expect_same_digest(tree: Tree, naive: NaiveTree) -> None:
    """The digest kept by updates is that of a tree laid out from the facts, held and rejected ones added."""
    digest = tree_of(naive).digest
    for position, update in naive.held.items():
        removed_at = naive.removed_at.get(position, 0)
        digest += HeldUpdate(position, update, naive.waits_for[position], "", removed_at).digest
    digest += sum(HeldUpdates.removal_digest(*removal) for removal in naive.removals.items())
    digest += sum(RejectedUpdates.digest_of(each) for each in tree.rejected())
    assert tree.digest == digest % 2**64
    assert tree.digest_at(tree.position) == tree.digest
    assert all(each.outcome == types_pb2.OUTCOME_REJECTED and each.reason for each in tree.rejected())
