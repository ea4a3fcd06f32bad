"""A chain a million deep: nothing recurses, and nothing needs more than a few passes."""

from __future__ import annotations

import numpy as np
import pytest

from services.shared.rules import rules_of
from services.treenode.tree import ImportTable, Tree
from tests.treenode.tree import reads
from tests.treenode.tree.naive import PLACEMENT, SPONSOR
from tests.treenode.tree.say import enrol, move, order, remove, take

DEPTH = 1_000_000
CONFIG = rules_of(("PV",), ("2026-11",))


def chain(order_in_file: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tree:
    """Member i is sponsored by, and placed below, member i - 1; `order_in_file[i]` is the file's row of member i."""
    above = np.empty(DEPTH, dtype=np.int32)
    above[order_in_file[0]] = -1
    above[order_in_file[1:]] = order_in_file[:-1]
    ids = np.empty(DEPTH, dtype="S8")
    ids[order_in_file] = np.arange(DEPTH).astype("S8")
    table = ImportTable(
        member_ids=ids,
        sponsor=above,
        placement=above,
        placement_leg=np.where(above >= 0, 1, 0).astype(np.int32),
        kind=np.ones(DEPTH, dtype=np.uint8),
        status=np.zeros(DEPTH, dtype=np.int16),
        status_names=["A"],
        rank=np.zeros(DEPTH, dtype=np.int16),
        joined_on=np.zeros(DEPTH, dtype=np.int32),
        volumes={("PV", "2026-11"): np.ones(DEPTH, dtype=np.int64)},
    )
    return Tree.from_table(table, CONFIG, 1, 0)


@pytest.mark.parametrize("way", ["down", "up", "scrambled"])
def test_a_chain_is_laid_out_in_any_order_of_the_file(way: str) -> None:
    rows = {
        "down": np.arange(DEPTH),
        "up": np.arange(DEPTH)[::-1].copy(),
        "scrambled": np.random.default_rng(7).permutation(DEPTH),
    }[way]
    tree = chain(rows)
    assert tree.sponsor.level[: tree.store.used].tolist() == list(range(DEPTH))
    assert tree.sponsor.group[0, :DEPTH].tolist() == list(range(DEPTH, 0, -1))


def test_every_update_on_a_chain() -> None:
    tree = chain(np.arange(DEPTH))
    bottom, half = str(DEPTH - 1), str(DEPTH // 2)
    told = take(
        tree,
        order(bottom, 5),
        enrol("below", bottom, bottom),
        order("below", 7),
        move("1", bottom),
        move(half, "0"),
        remove("2"),
        remove(str(DEPTH - 2), leave_empty=True),
    )
    assert [each.reason for each in told] == ["the new sponsor is in the member's own downline"]
    # The lower half hangs on the root now in the sponsor tree; only the removal of "2" shortens the other one, and what
    # "2" had is "1"'s.
    ends = ("below", "0")
    assert [reads.level(tree, SPONSOR, end) for end in ends] == [DEPTH // 2 + 1, 0]
    assert [reads.level(tree, PLACEMENT, end) for end in ends] == [DEPTH - 1, 0]
    assert [reads.group_volume(tree, PLACEMENT, end) for end in ends] == [7, DEPTH + 12]
    assert [reads.downline_count(tree, SPONSOR, end) for end in ends] == [0, DEPTH - 2]
    assert len(reads.upline(tree, PLACEMENT, "below")) == DEPTH - 2
    assert len(reads.downline(tree, SPONSOR, "0")) == DEPTH - 1
    tree.validate()
    assert tree.relayout().digest == tree.digest
