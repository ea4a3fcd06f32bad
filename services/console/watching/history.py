"""What the console has seen: how far each node was behind, and what changed. Bounded, and gone when it ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from fasttree.client.status.words import state_word
from fasttree.v1 import coordinator_pb2, pusher_pb2


class LagHistory:
    """The nodes' lag, step by step."""

    def __init__(self, steps_max: int) -> None:
        self._samples: deque[dict[str, Any]] = deque(maxlen=steps_max)
        #: Samples that ever came: a reader who has seen so many asks for the others.
        self.count = 0

    def note(self, at_ms: int, pusher: pusher_pb2.GetPusherResponse | None) -> None:
        """One step; None: the pusher did not answer, which is a gap in the graph."""
        sample: dict[str, Any] = {"at": at_ms, "position": None, "lag": {}}
        if pusher is not None and pusher.log_id:
            sample["position"] = pusher.log_end.position
            sample["lag"] = {node.node: node.lag_updates if node.connected else None for node in _named(pusher)}
        self._samples.append(sample)
        self.count += 1

    def after(self, seen: int) -> list[dict[str, Any]]:
        """Those that came after the first `seen`, as far as they are kept."""
        missing = min(self.count - seen, len(self._samples))
        return list(self._samples)[len(self._samples) - missing :] if missing > 0 else []


def _named(pusher: pusher_pb2.GetPusherResponse) -> Iterator[pusher_pb2.NodeProgress]:
    """Those that have said their names: before that, one is called by its address."""
    return (node for node in pusher.nodes if node.node != node.instant_address)


class Changes:
    """Elections, pauses, nodes that come and go, imports and their outcomes: the newest of them, by time."""

    def __init__(self, kept_max: int) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=kept_max)
        self._nodes: dict[str, str] = {}
        self._roles: dict[str, Any] | None = None
        self._imports: dict[int, str] | None = None

    def json(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(reversed(self._kept))

    def saw_cluster(self, at_ms: int, view: coordinator_pb2.Cluster) -> None:
        """The coordinator's word."""
        roles = {"epoch": view.epoch, "primary": view.primary, "paused": view.paused}
        nodes = {node.address.name: state_word(node) for node in view.nodes}
        if self._roles is not None:
            self._compare(at_ms, self._roles, roles)
            for name in nodes.keys() | self._nodes.keys():
                before, now = self._nodes.get(name, "unknown"), nodes.get(name, "gone")
                if before != now:
                    self._add(at_ms, "node", f"{name}: {before} → {now}")
        self._roles, self._nodes = roles, nodes

    def saw_pusher(self, at_ms: int, pusher: pusher_pb2.GetPusherResponse) -> None:
        """The pusher's word, of imports."""
        states = {
            one.manifest.import_id: pusher_pb2.ImportState.Name(one.state).removeprefix("IMPORT_STATE_").lower()
            for one in pusher.imports
        }
        if self._imports is not None:
            for number in sorted(states):
                if self._imports.get(number) != states[number]:
                    self._add(at_ms, "import", f"import {number}: {states[number].replace('_', ' ')}")
        self._imports = states

    def _compare(self, at_ms: int, before: dict[str, Any], now: dict[str, Any]) -> None:
        if (before["epoch"], before["primary"]) != (now["epoch"], now["primary"]):
            text = f"epoch {now['epoch']}: {now['primary'] or 'no node'} is primary"
            self._add(at_ms, "election", f"{text} (before: {before['primary'] or 'none'})")
        if before["paused"] != now["paused"]:
            self._add(at_ms, "pause", "elections are paused" if now["paused"] else "elections go on")

    def _add(self, at_ms: int, kind: str, text: str) -> None:
        self._kept.append({"at": at_ms, "kind": kind, "text": text})
