"""Compares a tree with the naive one, and makes import tables of the naive one."""

from __future__ import annotations

import numpy as np

from fasttree.v1 import types_pb2
from services.treenode.tree import FurtherColumn, ImportTable, Tree, TreeConfig, queries
from services.treenode.tree.columns.further import day_of, text_of_day
from services.treenode.tree.held import HeldUpdates, RejectedUpdates
from services.treenode.tree.kernels.kernel import Int32s
from services.treenode.tree.queries import Which
from tests.treenode.tree.naive import NaiveTree

VOLUME_TYPES = ["PV", "CV"]
PERIODS = ["2026-11", "2026-10"]
CONFIG = TreeConfig(tuple(VOLUME_TYPES), tuple(PERIODS))
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
    further = {}
    for name in COLUMNS:
        texts = ["", *sorted({place.columns[name] for place in places if name in place.columns})]
        codes = [texts.index(place.columns.get(name, "")) for place in places]
        further[name] = FurtherColumn("text", np.array(codes, dtype=np.int32), texts)
    return ImportTable(
        member_ids=np.array(ids, dtype="S32"),
        sponsor=np.array([index.get(place.sponsor, -1) for place in places], dtype=np.int32),
        placement=np.array([index.get(place.placement, -1) for place in places], dtype=np.int32),
        placement_leg=np.array([place.leg for place in places], dtype=np.int32),
        kind=np.array([place.kind for place in places], dtype=np.uint8),
        status=np.array([statuses.index(place.status) for place in places], dtype=np.int16),
        status_names=statuses,
        rank=np.array([place.rank for place in places], dtype=np.int16),
        joined_on=np.array([day_of(place.joined_on) for place in places], dtype=np.int32),
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


def _ids(tree: Tree, rows: Int32s) -> list[str]:
    return [each.decode() for each in queries.member_ids(tree, rows).tolist()]


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
        row = queries.row_of_member(tree, member_id)
        assert (row >= 0) == naive.is_member(member_id)
        if row >= 0:
            _expect_same_member(tree, naive, member_id, row)
    for which in (Which.SPONSOR, Which.PLACEMENT):
        _expect_same_whole(tree, naive, which)
    assert {each.position: each.waits_for for each in tree.held()} == naive.waits_for
    assert [each.position for each in tree.rejected()] == sorted(naive.rejected)
    assert tree.held_count == len(naive.held)
    assert tree.rejected_count == len(naive.rejected)
    _expect_same_digest(tree, naive)


def _expect_same_member(tree: Tree, naive: NaiveTree, member_id: str, row: int) -> None:
    store, place = tree.store, naive.places[member_id]
    assert int(store.kind[row]) == place.kind
    assert tree.statuses.texts[store.status[row]] == place.status
    assert int(store.rank[row]) == place.rank
    assert text_of_day(int(store.joined_on[row])) == place.joined_on
    assert int(store.leg[row]) == place.leg
    assert {name: column.text_at(row) for name, column in tree.further.items() if column.text_at(row)} == place.columns
    rows = np.array([row], dtype=np.int32)
    for which in (Which.SPONSOR, Which.PLACEMENT):
        above = int(queries.parent_rows(tree, which, rows)[0])
        assert queries.member_id(tree, above) == naive.parent(which, member_id)
        upline = naive.upline(which, member_id)
        assert int(queries.levels(tree, which, rows)[0]) == len(upline)
        expected = [each for each in upline if naive.is_member(each)]
        assert _ids(tree, queries.upline_rows(tree, which, row)) == expected
        children = {each for each in naive.children(which, member_id) if naive.is_member(each)}
        assert set(_ids(tree, queries.front_line_rows(tree, which, row))) == children
        assert int(queries.downline_counts(tree, which, rows)[0]) == naive.count(which, member_id)
        for volume_type, period in tree.slot_keys():
            slot = tree.slot(volume_type, period)
            expected_group = naive.group(which, member_id, (volume_type, period))
            assert int(queries.group_volumes(tree, which, slot, rows)[0]) == expected_group
            personal = place.volumes.get((volume_type, period), 0)
            assert int(queries.personal_volumes(tree, slot, rows)[0]) == personal
        _expect_same_downline(tree, naive, which, member_id, row)


def _expect_same_downline(tree: Tree, naive: NaiveTree, which: Which, member_id: str, row: int) -> None:
    downline = queries.downline(tree, which, row)
    found = _ids(tree, np.arange(tree.store.used, dtype=np.int32)[downline.rows])
    expected = [each for each in naive.downline(which, member_id) if naive.is_member(each)]
    assert sorted(found) == sorted(expected)
    assert len(downline) == len(expected)
    _expect_tree_order(naive, which, found)
    for max_level in (0, 1, 2):
        shallow = queries.downline(tree, which, row, max_level)
        top = len(naive.upline(which, member_id))
        limited = [each for each in found if len(naive.upline(which, each)) - top <= max_level]
        assert _ids(tree, np.arange(tree.store.used, dtype=np.int32)[shallow.rows]) == limited


def _expect_tree_order(naive: NaiveTree, which: Which, found: list[str]) -> None:
    """Each member comes before its downline, and a downline is in one piece."""
    for place, member_id in enumerate(found):
        below = {each for each in naive.downline(which, member_id) if naive.is_member(each)}
        assert set(found[place : place + len(below)]) == below


def _expect_same_whole(tree: Tree, naive: NaiveTree, which: Which) -> None:
    whole = queries.downline(tree, which, -1)
    found = _ids(tree, np.arange(tree.store.used, dtype=np.int32)[whole.rows])
    heads = {each for each in naive.places if not naive.parent(which, each) and not naive.places[each].sponsor}
    expected = {
        each
        for each in naive.places
        if naive.is_member(each) and (each in heads or set(naive.upline(which, each)) & heads)
    }
    assert len(found) == len(expected)
    assert set(found) == expected
    roots = _ids(tree, queries.front_line_rows(tree, which, -1))
    assert set(roots) == {each for each in heads if naive.is_member(each)}


def _expect_same_digest(tree: Tree, naive: NaiveTree) -> None:
    """The digest kept by updates is that of a tree laid out from the facts, held and rejected ones added."""
    digest = tree_of(naive).digest
    for position, update in naive.held.items():
        digest += HeldUpdates.digest_of(position, update.update_id)
    digest += sum(RejectedUpdates.digest_of(each) for each in tree.rejected())
    assert tree.digest == digest % 2**64
    assert tree.digest_at(tree.position) == tree.digest
    assert all(each.outcome == types_pb2.OUTCOME_REJECTED and each.reason for each in tree.rejected())
