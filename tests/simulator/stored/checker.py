"""What is promised of stored snapshots, checked from outside: at each change of the store, each put, each start.

It reads the store by the tables of its documents (`services/shared/objects/parts.py`, `services/treenode/snapshots/
stored/objects.py`), with none of that code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.treenode.tree import StateError
from tests.simulator.checkers import Violation
from tests.simulator.node_state import Snapshot
from tests.simulator.stored.form import decode

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster

Objects = Mapping[str, bytes]


@dataclass(eq=False)
class Put:
    """A snapshot that a node stores; `beside`: those that others stored at any time meanwhile. `spoiled`: keys of which
    an object was damaged meanwhile, which it may have found whole before."""

    key: str
    beside: list[Put] = field(default_factory=list)
    spoiled: set[str] = field(default_factory=set)


class StoreChecker:
    """Keeps what has to be known of the store's past.

    Args:
        kept: So many of the newest are to stay.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        #: Keys of which an object was damaged behind everybody's back.
        self.spoiled: set[str] = set()
        #: When each key was offered.
        self._offered_at_s: dict[str, float] = {}
        self._under_way: list[Put] = []
        #: Figures: a story that has none of these shows little.
        self.puts = self.starts = 0

    def join(self, cluster: Cluster) -> None:
        """Where logs and imports are found."""
        self._cluster = cluster

    # ---- the store

    def was_put(self, objects: Objects, name: str, before: bytes | None) -> None:
        """An object is there."""
        key = _key(name)
        if before is not None and before != objects[name]:
            raise Violation(f"stored: {name} took the place of another object of that name")
        if name == _whole(key):
            self._offered_at_s[key] = self._cluster.world.now
        self._check(objects, key)

    def was_removed(self, objects: Objects, name: str, before: bytes) -> None:
        """An object is gone: an index only where the newest few are newer."""
        key = _key(name)
        if name == _whole(key) and _index(before) is not None:
            newer = [other for other in _offered(objects, _log(key)) if other > key]
            if len(newer) < self._kept:
                raise Violation(f"stored: {key} is removed, and belongs to the newest {self._kept}: newer are {newer}")
        self._check(objects, key)

    def was_spoiled(self, name: str) -> None:
        """An object is damaged, or gone, behind everybody's back."""
        self.spoiled.add(_key(name))
        for put in self._under_way:
            put.spoiled.add(_key(name))

    def _check(self, objects: Objects, key: str) -> None:
        """What is offered is whole: each part that the index names is there, and is what the index says."""
        index = _index(objects.get(_whole(key)))
        if index is None or key in self.spoiled:
            return
        for name, part in _parts(key, index):
            data = objects.get(name)
            if data is None:
                raise Violation(f"stored: {key} is offered, and {name} is not there")
            if len(data) != part["size_bytes"] or hashlib.sha256(data).hexdigest() != part["sha256"]:
                raise Violation(f"stored: {key} is offered, and {name} is not what was put")

    # ---- putting

    def begins(self, log_id: str, import_id: int, position: int) -> Put:
        """A node begins to store that state."""
        log = hashlib.sha256(log_id.encode()).hexdigest()[:16]
        put = Put(f"{import_id:06d}-{position:012d}-{log}", list(self._under_way))
        for other in self._under_way:
            other.beside.append(put)
        self._under_way.append(put)
        return put

    def ends(self, put: Put, objects: Objects, *, well: bool) -> None:
        """It is done, or was given up; `well`: done, and each answer came and was true. Then there is no more than the
        newest few, and what others are at."""
        self._under_way.remove(put)
        if not well:
            return
        self.puts += 1
        log, others = _log(put.key), len(put.beside)
        offered = _offered(objects, log)
        if len(offered) > self._kept + others:
            raise Violation(
                f"stored: {len(offered)} stay, {self._kept} should, and {others} were put beside: {offered}"
            )
        halves = {_key(name) for name in objects if _whole(_key(name)) not in objects and _log(_key(name)) == log}
        old = sorted(key for key in halves - put.spoiled if key < put.key)
        if len(old) > others:
            raise Violation(f"stored: halves of {old} stay, and {put.key} is put")

    # ---- starting

    def read(self, saved: Snapshot, first_position: int, found_at_s: float, objects: Objects, *, well: bool) -> None:
        """A node has read that, to start from it. It is what file and log make of it; and none that is newer was there
        and good when the node asked which there are. `well`: each answer since then came and was true."""
        self.starts += 1
        pusher, tree = self._cluster.pusher, saved.tree
        if saved.log_id == pusher.log_id and tree.position <= len(pusher.log):
            history = self._cluster.history
            replayed = history.replay_log(pusher.log, pusher.imports, tree.import_id, tree.position)
            own, other = (
                (each.members, each.cells, sorted(each.held), sorted(each.rejected), each.rules, each.digest)
                for each in (tree, replayed)
            )
            if own != other:
                raise Violation(f"stored: the state read at {tree.import_id}, {tree.position} is not that of the log")
        for key, at_s in self._offered_at_s.items():
            newer = self._content(objects, key) if well and at_s < found_at_s else None
            if newer is None or newer.log_id != saved.log_id or newer.tree.position + 1 < first_position:
                continue
            if (newer.tree.import_id, newer.tree.position) > (tree.import_id, tree.position):
                raise Violation(f"stored: a node starts from {tree.import_id}, {tree.position}, and {key} is good")

    def good(self, objects: Objects, log_id: str) -> list[Snapshot]:
        """Those that are offered and good, the newest first."""
        found = [self._content(objects, key) for key in self._offered_at_s]
        good = [saved for saved in found if saved is not None and saved.log_id == log_id]
        return sorted(good, key=lambda saved: (saved.tree.import_id, saved.tree.position), reverse=True)

    @staticmethod
    def _content(objects: Objects, key: str) -> Snapshot | None:
        """What is offered under the key; None where that is nothing good."""
        index = _index(objects.get(_whole(key)))
        parts = [] if index is None else [(objects.get(name, b""), part) for name, part in _parts(key, index)]
        if not parts or any(hashlib.sha256(data).hexdigest() != part["sha256"] for data, part in parts):
            return None
        try:
            return decode(b"".join(data for data, _ in parts))
        except StateError:
            return None  # it was damaged on the disk that it came from


def _key(name: str) -> str:
    return name.partition("/")[0]


def _whole(key: str) -> str:
    return f"{key}/whole"


def _log(key: str) -> str:
    return key.rpartition("-")[2]


def _index(data: bytes | None) -> dict[str, Any] | None:
    """The index; None where there is none that can be read."""
    text, _, sha256 = (data or b"").rpartition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != sha256:
        return None
    index: dict[str, Any] = json.loads(text)
    return index


def _parts(key: str, index: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, part in enumerate(index["parts"]):
        yield f"{key}/{number:05d}-{part['sha256']}", part


def _offered(objects: Objects, log: str) -> list[str]:
    """The keys of a log that have something under the index's name, be it damaged, and be it more than a mark."""
    return sorted(
        _key(name) for name, data in objects.items() if name == _whole(_key(name)) and data and _log(_key(name)) == log
    )
