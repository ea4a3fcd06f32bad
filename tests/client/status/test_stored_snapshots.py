"""Stored snapshots as status shows them: the newest that a living node knows of, and what each says is wrong."""

from __future__ import annotations

import time

from fasttree.client.status.cluster import status_json
from fasttree.client.status.snapshots import stored_json
from fasttree.command.status.stored import stored_lines
from fasttree.v1 import coordinator_pb2

PLACE = "s3://company/live"


def node(name: str, position: int, problem: str = "", *, alive: bool = True) -> coordinator_pb2.ClusterNode:
    told = coordinator_pb2.ClusterNode(address=coordinator_pb2.NodeAddress(name=name), alive=alive)
    stored = told.status.stored_snapshot
    stored.place, stored.problem = PLACE, problem
    if position:
        stored.import_id, stored.position = 3, position
        stored.written_at.FromSeconds(int(time.time()) - 60 * position)
    return told


def test_without_a_place_nothing_is_said() -> None:
    view = coordinator_pb2.Cluster(nodes=[coordinator_pb2.ClusterNode(alive=True)])
    assert stored_json(view) is None
    assert list(stored_lines(status_json(view, None)["stored_snapshots"])) == []
    assert stored_json(None) is None


def test_the_newest_one_counts_and_problems_are_told_with_their_nodes() -> None:
    view = coordinator_pb2.Cluster(
        nodes=[
            node("n1", 7, "it is away"),
            node("n2", 9),
            node("n3", 11, "old", alive=False),
            node("n4", 0, "it is away"),
        ]
    )
    stored = stored_json(view)
    assert stored is not None
    assert (stored["place"], stored["import_id"], stored["position"]) == (PLACE, 3, 9)
    assert stored["age_s"] is not None
    assert 540 <= stored["age_s"] < 560
    assert list(stored_lines(stored)) == [
        f"stored snapshots: the newest is of import 3, position 9, 9 min old, in {PLACE}",
        "stored snapshots (n1, n4): it is away",
    ]


def test_that_there_is_none_is_told() -> None:
    stored = stored_json(coordinator_pb2.Cluster(nodes=[node("n1", 0)]))
    assert stored is not None
    assert stored["position"] is None
    assert list(stored_lines(stored)) == [f"stored snapshots: none yet in {PLACE}"]


def test_a_place_that_nobody_can_look_at_is_not_told_to_be_empty() -> None:
    stored = stored_json(coordinator_pb2.Cluster(nodes=[node("n1", 0, problem="it is away")]))
    assert list(stored_lines(stored)) == [
        f"stored snapshots: none is known in {PLACE}",
        "stored snapshots (n1): it is away",
    ]
