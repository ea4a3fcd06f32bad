"""Of several pushers: which one is active, and where the others stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fasttree.v1 import coordinator_pb2


def pushers_json(view: coordinator_pb2.Cluster | None, end: int | None) -> list[dict[str, Any]]:
    """Each pusher that takes turns, as the coordinator knows it; `end`: the log's end, where the active one said it."""
    if view is None:
        return []
    return [
        {
            "pusher": pusher.name,
            "address": pusher.address,
            "active": pusher.name == view.pusher and pusher.status.epoch == view.pusher_epoch,
            "state": _state(pusher),
            "epoch": view.pusher_epoch,
            "position": pusher.status.position,
            "lag": max(end - pusher.status.position, 0) if end is not None else None,
            "alive": pusher.alive,
            "silent_ms": pusher.silent_ms,
            "note": pusher.status.note,
        }
        for pusher in view.pushers
    ]


def _state(pusher: coordinator_pb2.ClusterPusher) -> str:
    if not pusher.alive:
        return "silent"
    return coordinator_pb2.PusherState.Name(pusher.status.state).removeprefix("PUSHER_STATE_").lower()


def pusher_lines(pushers: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each."""
    for pusher in pushers:
        state = f"silent for {pusher['silent_ms'] / 1_000:.0f} s" if pusher["state"] == "silent" else pusher["state"]
        epoch = f", epoch {pusher['epoch']}" if pusher["active"] else ""
        note = f"; {pusher['note']}" if pusher["note"] else ""
        yield f"pusher {pusher['pusher']} at {pusher['address']}: {state}{epoch}, position {pusher['position']}{note}"
