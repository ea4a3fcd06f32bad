"""Whose turn it is to store a snapshot."""

from __future__ import annotations

import pytest

from fasttree.v1 import coordinator_pb2
from services.treenode.snapshots.stored.turns import is_due, rank_of

PASSIVE, PRIMARY = coordinator_pb2.NODE_STATE_PASSIVE, coordinator_pb2.NODE_STATE_PRIMARY


def node(name: str, state: coordinator_pb2.NodeState.ValueType, *, alive: bool = True) -> coordinator_pb2.ClusterNode:
    return coordinator_pb2.ClusterNode(
        address=coordinator_pb2.NodeAddress(name=name),
        status=coordinator_pb2.NodeStatus(state=state),
        alive=alive,
    )


def test_passive_nodes_come_first_and_the_primary_last() -> None:
    nodes = [
        node("a", PRIMARY),
        node("d", PASSIVE),
        node("c", PASSIVE),
        node("b", PASSIVE, alive=False),
        node("e", coordinator_pb2.NODE_STATE_CATCHING_UP),
    ]
    assert [rank_of(name, nodes) for name in "abcdef"] == [2, None, 0, 1, None, None]
    assert rank_of("a", [node("a", PRIMARY)]) == 0


@pytest.mark.parametrize(
    ("rank", "own", "newest", "age_s", "due"),
    [
        (0, (1, 10), None, 0.0, True),
        (1, (1, 10), None, 899.0, False),
        (1, (1, 10), None, 900.0, True),
        (0, (1, 10), (1, 9), 899.0, False),
        (0, (1, 10), (1, 9), 900.0, True),
        (1, (1, 10), (1, 9), 1_799.0, False),
        (1, (1, 10), (1, 9), 1_800.0, True),
        (0, (1, 10), (1, 10), 10_000.0, False),
        (0, (1, 10), (2, 5), 10_000.0, False),
        (0, (2, 10), (1, 10), 0.0, True),
        (1, (2, 10), (1, 10), 0.0, False),
        (0, (1, 10), (1, 9), -3_600.0, True),
    ],
)
def test_the_first_in_order_stores_when_it_is_due_and_the_others_when_it_does_not(
    rank: int, own: tuple[int, int], newest: tuple[int, int] | None, age_s: float, due: bool
) -> None:
    assert is_due(rank, own, newest, age_s, 900.0) is due
