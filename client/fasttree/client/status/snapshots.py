"""The place of stored snapshots, as the nodes tell."""

from __future__ import annotations

import time
from typing import TypedDict

from fasttree.v1 import coordinator_pb2


class StoredProblemJson(TypedDict):
    """What a node says is wrong with the place of stored snapshots."""

    node: str
    problem: str


class StoredSnapshotsJson(TypedDict):
    """Where snapshots outlive every node, and the newest one there; null: there is none."""

    place: str
    import_id: int | None
    position: int | None
    written_at: str
    age_s: int | None
    problems: list[StoredProblemJson]


def stored_json(view: coordinator_pb2.Cluster | None) -> StoredSnapshotsJson | None:
    """The newest snapshot that a node knows of, and what each says is wrong; None where no node has such a place."""
    # What a silent one said last is no news of the place.
    told = {
        node.address.name: node.status.stored_snapshot
        for node in (view.nodes if view is not None else ())
        if node.alive and node.status.HasField("stored_snapshot")
    }
    if not told:
        return None
    newest = max(told.values(), key=lambda one: (one.HasField("written_at"), one.import_id, one.position))
    is_there = newest.HasField("written_at")
    return {
        "place": newest.place,
        "import_id": newest.import_id if is_there else None,
        "position": newest.position if is_there else None,
        "written_at": newest.written_at.ToJsonString() if is_there else "",
        "age_s": max(0, round(time.time() - newest.written_at.seconds)) if is_there else None,
        "problems": [{"node": name, "problem": one.problem} for name, one in told.items() if one.problem],
    }
