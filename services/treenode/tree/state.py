"""A tree as a JSON-able dict and named arrays, for snapshots, and back.

The arrays are views of the columns, cut to the rows in use: to be written before the next update, or by a forked child.
Only what says how far overflow is, is made anew on the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttree.v1 import types_pb2
from services.treenode.tree.build import set_magnitudes
from services.treenode.tree.further import Column, FurtherColumns
from services.treenode.tree.held import HeldUpdate, HeldUpdates, NotApplied, RejectedUpdates
from services.treenode.tree.ids import IdTable, empty_slots
from services.treenode.tree.kernel import AnyArray
from services.treenode.tree.names import Names
from services.treenode.tree.store import PLACES, Store, empty_store, room_for, widened, with_slots

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree

#: Grows with each change of what state() gives; another one is refused.
FORMAT = 2

_COLUMNS = ("kind", "status", "rank", "joined_on", "leg", "personal")
_SEATED = ("parent", "span", "following", "preceding", "level", "members", "group")
_WHOLE = ("counters", "digests")


class StateError(Exception):
    """A state that does not fit together, or of another format."""


def state_of(tree: Tree) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """See Tree.state."""
    store, used = tree.store, tree.store.used
    arrays: dict[str, AnyArray] = {name: getattr(store, name) for name in _WHOLE}
    arrays["ids"] = store.ids.words[:used]
    arrays["slots"] = store.ids.slots
    arrays.update({name: getattr(store, name)[..., :used] for name in _COLUMNS})
    for label, columns in (("sponsor", store.sponsor), ("placement", store.placement)):
        arrays.update({f"{label}.{name}": getattr(columns, name)[..., :used] for name in _SEATED})
        arrays[f"{label}.top"] = columns.top
    arrays["placement.seat_of"] = store.placement.seat_of[:used]
    arrays["placement.row_at"] = store.placement.row_at[:used]
    held = [tree.held_updates.by_position[position] for position in sorted(tree.held_updates.by_position)]
    bodies = [update.update.SerializeToString(deterministic=True) for update in held]
    arrays["held.bytes"] = np.frombuffer(b"".join(bodies), dtype=np.uint8)
    arrays["held.ends"] = np.cumsum([len(body) for body in bodies], dtype=np.int64)
    arrays["resolved"] = np.array(tree.held_updates.resolved, dtype=np.int64).reshape(-1, 2)
    arrays.update({f"further.{name}": column.values[:used] for name, column in tree.further.items()})
    meta = {
        "format": FORMAT,
        "import_id": tree.import_id,
        "position": tree.position,
        "digest": tree.digest,
        "ring_start": tree.ring_start,
        "volume_types": list(tree.volume_types),
        "periods": list(tree.periods),
        "statuses": tree.statuses.texts,
        "further": [[name, column.kind, column.names.texts] for name, column in tree.further.items()],
        "held": [[update.position, update.waits_for, update.reason] for update in held],
        "rejected": [[each.position, each.update_id, each.reason] for each in tree.rejected_updates.newest],
        "rejected_total": tree.rejected_updates.total,
    }
    return meta, arrays


def fill_store(store: Store, arrays: Mapping[str, AnyArray]) -> Store:
    """The store with the columns of a state, copied by two threads."""
    used = len(arrays["kind"])
    pairs: list[tuple[AnyArray, AnyArray]] = [(store.ids.words[:used], arrays["ids"])]
    pairs += [(getattr(store, name), arrays[name]) for name in _WHOLE]
    pairs += [(getattr(store, name)[..., :used], arrays[name]) for name in _COLUMNS]
    for label, columns in (("sponsor", store.sponsor), ("placement", store.placement)):
        pairs += [(getattr(columns, name)[..., :used], arrays[f"{label}.{name}"]) for name in _SEATED]
        pairs.append((columns.top, arrays[f"{label}.top"]))
    pairs.append((store.placement.seat_of[:used], arrays["placement.seat_of"]))
    pairs.append((store.placement.row_at[:used], arrays["placement.row_at"]))
    with ThreadPoolExecutor(2) as copiers:
        list(copiers.map(lambda pair: np.copyto(*pair), pairs))
    set_magnitudes(store, used)
    places = int(store.counters[PLACES])
    if len(arrays["slots"]) < len(empty_slots(places + places // 8)):
        return with_slots(store, room_for(places))
    return store._replace(ids=IdTable(store.ids.words, arrays["slots"].copy()))


def store_from(arrays: Mapping[str, AnyArray], slot_tags: AnyArray, status_hashes: AnyArray) -> Store:
    """A store with room to grow from a state. Raises KeyError or ValueError where columns are missing or differ."""
    used = len(arrays["kind"])
    volume_dtype = np.int32 if arrays["personal"].dtype == np.int32 else np.int64
    store = empty_store(room_for(used), arrays["ids"].shape[1], slot_tags, status_hashes, volume_dtype)
    return fill_store(store, arrays)


def further_from(meta: Mapping[str, Any], arrays: Mapping[str, AnyArray], capacity: int) -> FurtherColumns:
    """The further columns of a state."""
    columns = {}
    for name, kind, texts in meta["further"]:
        values = arrays[f"further.{name}"]
        columns[name] = Column(name, kind, widened(values, len(values), capacity), Names(texts))
    return FurtherColumns(columns)


def held_from(meta: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> HeldUpdates:
    """The held updates of a state."""
    held = HeldUpdates()
    body = arrays["held.bytes"].tobytes()
    begin = 0
    for (position, waits_for, reason), end in zip(meta["held"], arrays["held.ends"].tolist(), strict=True):
        held.hold(HeldUpdate(position, types_pb2.Update.FromString(body[begin:end]), waits_for, reason))
        begin = end
    held.resolved.extend((int(position), int(at)) for position, at in arrays["resolved"])
    return held


def rejected_from(meta: Mapping[str, Any]) -> RejectedUpdates:
    """The rejected updates of a state."""
    rejected = RejectedUpdates()
    for position, update_id, reason in meta["rejected"]:
        rejected.add(NotApplied(position, update_id, types_pb2.OUTCOME_REJECTED, reason))
    rejected.total = meta["rejected_total"]
    return rejected
