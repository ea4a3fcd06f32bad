"""Of several pushers: which one is active, and where the others stand."""

from __future__ import annotations

from typing import TypedDict

from fasttree.client.status.words import word
from fasttree.v1 import coordinator_pb2


class PusherJson(TypedDict):
    """One of several pushers."""

    pusher: str
    address: str
    active: bool
    state: str
    epoch: int
    position: int
    lag: int | None
    alive: bool
    silent_ms: int
    note: str


def pushers_json(view: coordinator_pb2.Cluster | None, end: int | None) -> list[PusherJson]:
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
    return word(coordinator_pb2.PusherState, pusher.status.state) if pusher.alive else "silent"
