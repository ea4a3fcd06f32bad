"""A tree as a JSON-able dict and named arrays, for snapshots, and back.

The arrays are views of the columns, cut to the rows in use: to be written before the next update, or by a forked child.
Only what says how far overflow is, is made anew on the way back.

A column of texts has its references by row, and its texts as they lie, segment by segment.

The dict says under `growing` which arrays go by row or seat, and along which axis; under `room`, the capacity that
whoever reads them into memory of their own best gives that axis (the key's name is the file format's, and stays as
written snapshots have it). Arrays of that length become the tree's columns as they are: there is never a second copy of
a state. Shorter ones are copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from google.protobuf.message import DecodeError

from fasttree.v1 import types_pb2
from services.shared.forms import Form
from services.shared.rules import Rules, rules_from, rules_message, rules_of, version_problem
from services.treenode.tree.building.build import set_magnitudes
from services.treenode.tree.columns.further import Column, FurtherColumns
from services.treenode.tree.columns.ids import IdTable, empty_slots
from services.treenode.tree.columns.slots import Slots, with_slots_like
from services.treenode.tree.columns.texts import Texts
from services.treenode.tree.held import (
    CarriedHold,
    EndedWait,
    HeldUpdate,
    HeldUpdates,
    NotApplied,
    RejectedUpdates,
    Settled,
    resolved,
)
from services.treenode.tree.kernels.kernel import AnyArray, Float64s
from services.treenode.tree.skips import Skips
from services.treenode.tree.store import (
    PLACES,
    USED,
    Store,
    capacity_for,
    empty_store,
    rows_with_spare,
    widened,
    with_slots,
)

if TYPE_CHECKING:
    from services.treenode.tree.tree import Tree

#: Grows with each change of what state() gives. Those from before rules were in the log are read too; 3 is from before
#: removals were remembered.
FORMAT = 5
FORMATS = (3, 4, FORMAT)

_COLUMNS = ("kind", "status", "rank", "joined_on", "leg")
_SEATED = ("parent", "span", "following", "preceding", "level", "members")
_MAPPED = ("seat_of", "row_at")
_VOLUMES = ("personal", "sponsor.group", "placement.group")
_WHOLE = ("counters", "digests")
#: Of HeldUpdates: (id, position) each.
_REMOVALS = ("removals", "earlier_removals", "carried_removals")


#: What reading a dict and arrays comes to that are not what they should be, though their checksums are right.
ODD = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, DecodeError)


_Number = Annotated[int, msgspec.Meta(ge=0)]
_Position = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _Meta(msgspec.Struct, frozen=True):
    """What the dict of a state holds, in every format; see `state_of`."""

    import_id: _Number
    position: _Position
    digest: _Number
    ring_start: _Position
    statuses: list[str]
    further: list[list[Any]]
    held: list[list[Any]]
    rejected: list[tuple[_Position, str, str]]
    rejected_total: _Position
    ended_waits: list[list[Any]] = []
    skipped: list[_Position] = []
    base_position: _Position = 0


_META: Form[_Meta] = Form(_Meta)


class StateError(Exception):
    """A state that does not fit together, or of another format."""


def state_of(tree: Tree) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """See Tree.state."""
    store, used = tree.store, tree.store.used
    arrays: dict[str, AnyArray] = {name: getattr(store, name) for name in _WHOLE}
    arrays["ids"] = store.ids.words[:used]
    arrays["slots"] = store.ids.slots
    arrays.update({name: getattr(store, name)[:used] for name in _COLUMNS})
    arrays.update(volumes_of(store))
    for label, columns in (("sponsor", store.sponsor), ("placement", store.placement)):
        arrays.update({f"{label}.{name}": getattr(columns, name)[:used] for name in _SEATED})
        arrays[f"{label}.top"] = columns.top
    arrays.update({f"placement.{name}": getattr(store.placement, name)[:used] for name in _MAPPED})
    further = [f"further.{name}" for name in tree.further]
    seated = [name for name in arrays if name.split(".")[-1] in (*_SEATED, *_MAPPED)]
    held = list(tree.held_updates.by_position.values())
    bodies = [update.update.SerializeToString(deterministic=True) for update in held]
    arrays["held.bytes"] = np.frombuffer(b"".join(bodies), dtype=np.uint8)
    arrays["held.ends"] = np.cumsum([len(body) for body in bodies], dtype=np.int64)
    arrays["held.settled"] = tree.held_updates.settled.pairs
    for name in _REMOVALS:
        known = getattr(tree.held_updates, name)
        removals = list(known.items() if isinstance(known, dict) else known)
        arrays[f"{name}.ids"] = np.frombuffer("\n".join(each[0] for each in removals).encode(), dtype=np.uint8)
        arrays[f"{name}.positions"] = np.array([each[1] for each in removals], dtype=np.int64)
    for name, column in tree.further.items():
        arrays[f"further.{name}"] = column.values[:used]
        arrays.update({f"texts.{name}.{place}": segment for place, segment in enumerate(column.texts.segments)})
    meta = {
        "format": FORMAT,
        "growing": {"ids": 0} | {name: arrays[name].ndim - 1 for name in (*_COLUMNS, *_VOLUMES, *seated, *further)},
        "room": capacity_for(used),
        "spare": dict.fromkeys(_VOLUMES, rows_with_spare(len(store.slot_tags))),
        "import_id": tree.import_id,
        "position": tree.position,
        "digest": tree.digest,
        "ring_start": tree.ring_start,
        "slots": tree.slots.keys,
        "rules": rules_message(tree.rules).SerializeToString(deterministic=True).hex(),
        "statuses": tree.statuses.texts,
        "further": [
            [name, column.kind, len(column.texts.segments), column.texts.dead_bytes]
            for name, column in tree.further.items()
        ],
        "held": [
            [update.position, update.waits_for, update.reason, update.removed_at, update.since] for update in held
        ],
        "ended_waits": [[*ended.hold, ended.since, ended.until] for ended in tree.held_updates.ended_waits],
        "rejected": [[each.position, each.update_id, each.reason] for each in tree.rejected_updates.newest],
        "rejected_total": tree.rejected_updates.total,
        "skipped": sorted(tree.skips.taken),
        "base_position": tree.base_position,
    }
    return meta, arrays


def check_meta(meta: Mapping[str, Any]) -> None:
    """Raises StateError where the dict of a state is odd."""
    if meta.get("format") not in FORMATS:
        raise StateError(f"the state has format {meta.get('format')}, not {FORMAT}")
    try:
        checked = _META.of(meta)
    except msgspec.ValidationError as error:
        raise StateError(f"the state's description is odd: {error}") from error
    if max(checked.ring_start, checked.base_position) > checked.position:
        raise StateError("the state is of an earlier position than what it holds")
    if checked.rejected_total < len(checked.rejected):
        raise StateError("the state has more rejected updates than it says")


def volumes_of(store: Store, zeros: int = 0) -> dict[str, AnyArray]:
    """The rows of volumes up to the last one in which anybody has any, and so many of those behind it, as far as there
    are any: these need no disk, since they are zeros."""
    rows = min(1 + max(np.flatnonzero(store.magnitudes), default=0) + zeros, len(store.slot_tags))
    volumes = (store.personal, store.sponsor.group, store.placement.group)
    return {name: rows_of[:rows, : store.used] for name, rows_of in zip(_VOLUMES, volumes, strict=True)}


def rules_from_meta(meta: Mapping[str, Any]) -> tuple[Rules, Slots]:
    """The rules of a state, and what its slots hold. Raises KeyError or ValueError where they are not there."""
    if meta["format"] != FORMAT:
        rules = rules_of(meta["volume_types"], meta["periods"], version=0)
        return rules, Slots.first(rules)
    rules = rules_from(types_pb2.Rules.FromString(bytes.fromhex(meta["rules"])))
    if problem := version_problem(rules.version):
        raise StateError(problem)
    return rules, Slots([None if key is None else (key[0], key[1]) for key in meta["slots"]], rules)


def rules_of_state(meta: Mapping[str, Any]) -> Rules:
    """The rules of a state, of which nothing else was read. Raises StateError where they are not there."""
    try:
        return rules_from_meta(meta)[0]
    except ODD as error:
        raise StateError(f"the state's rules are odd: {error!r}") from error


def store_from(arrays: Mapping[str, AnyArray], slots: Slots, status_hashes: AnyArray) -> Store:
    """A store with spare capacity from a state. Raises KeyError or ValueError where columns are missing or differ."""
    used = int(arrays["counters"][USED])
    columns = _Columns(used, len(arrays["kind"]))
    store = _filled(arrays, slots, status_hashes, columns)
    if used and not 0 <= int(arrays["status"][:used].max()) < len(status_hashes):
        raise ValueError("a member has a status that has no text")
    columns.copy()
    set_magnitudes(store, used)
    store = with_slots_like(store, slots)
    places = int(store.counters[PLACES])
    if arrays["slots"].dtype != np.int32 or len(arrays["slots"]) < len(empty_slots(places + places // 8)):
        return with_slots(store, capacity_for(places))
    return store if columns.owned else store._replace(ids=IdTable(store.ids.words, arrays["slots"].copy()))


def store_over(arrays: Mapping[str, AnyArray], slots: Slots, status_hashes: AnyArray, magnitudes: Float64s) -> Store:
    """A store that has the arrays of a state for its columns, as they lie: to be read only. Raises as `store_from`."""
    columns = _Columns(int(arrays["counters"][USED]), len(arrays["kind"]), as_they_lie=True)
    return _filled(arrays, slots, status_hashes, columns)._replace(magnitudes=magnitudes)


def _filled(arrays: Mapping[str, AnyArray], slots: Slots, status_hashes: AnyArray, columns: _Columns) -> Store:
    volume_dtype = np.int32 if arrays["personal"].dtype == np.int32 else np.int64
    tags = slots.tags()[: len(arrays["personal"])]
    like = empty_store(1, arrays["ids"].shape[1], tags, status_hashes, volume_dtype)
    trees = {}
    for label, model in (("sponsor", like.sponsor), ("placement", like.placement)):
        seated = (*_SEATED, *_MAPPED) if label == "placement" else _SEATED
        taken = {name: columns.take(arrays[f"{label}.{name}"], getattr(model, name)) for name in seated}
        group = columns.take(arrays[f"{label}.group"], model.group)
        trees[label] = model._replace(**taken, group=group, top=columns.whole(arrays[f"{label}.top"], model.top))
    return like._replace(
        **{name: columns.take(arrays[name], getattr(like, name)) for name in _COLUMNS},
        **{name: columns.whole(arrays[name], getattr(like, name)) for name in _WHOLE},
        personal=columns.take(arrays["personal"], like.personal),
        sponsor=trees["sponsor"],
        placement=trees["placement"],
        ids=IdTable(columns.take(arrays["ids"], like.ids.words, axis=0), arrays["slots"]),
    )


class _Columns:
    """Takes the columns of one state over, or copies them, all alike."""

    def __init__(self, used: int, length: int, *, as_they_lie: bool = False) -> None:
        """`used`: rows in use; `length`: that of the arrays; `as_they_lie`: they are taken over without spare capacity
        too."""
        self.owned = length > used or as_they_lie
        self._used = used
        self._capacity = length if self.owned else capacity_for(used)
        self._copies: list[tuple[AnyArray, AnyArray]] = []

    def take(self, column: AnyArray, like: AnyArray, axis: int = -1) -> AnyArray:
        """A column with spare capacity along the axis; its values may come with `copy` only. Raises ValueError where it
        is not like `like`."""
        shape = list(like.shape)
        shape[axis] = self._capacity if self.owned else self._used
        if column.shape != tuple(shape) or column.dtype != like.dtype:
            raise ValueError(f"a column is {column.dtype}{list(column.shape)}, not {like.dtype}{shape}")
        if self.owned:
            return column
        shape[axis] = self._capacity
        longer = np.empty(shape, column.dtype) if column.ndim == 1 else np.zeros(shape, column.dtype)
        self._copies.append((longer[: self._used] if axis == 0 else longer[..., : self._used], column))
        return longer

    def whole(self, array: AnyArray, like: AnyArray) -> AnyArray:
        """An array that does not grow. Raises as `take`."""
        if array.shape != like.shape or array.dtype != like.dtype:
            raise ValueError(f"an array is {array.dtype}{list(array.shape)}, not {like.dtype}{list(like.shape)}")
        return array if self.owned else array.copy()

    def copy(self) -> None:
        """Copies what has to be, by two threads."""
        if self._copies:
            with ThreadPoolExecutor(2) as copiers:
                list(copiers.map(lambda pair: np.copyto(*pair), self._copies))


def further_from(meta: Mapping[str, Any], arrays: Mapping[str, AnyArray], used: int, capacity: int) -> FurtherColumns:
    """The further columns of a state. Texts are not copied: they never change."""
    columns = {}
    for name, kind, *kept in meta["further"]:
        values, texts = arrays[f"further.{name}"], Texts()
        if not isinstance(kept[0], list):
            texts = Texts([arrays[f"texts.{name}.{place}"] for place in range(kept[0])], kept[1])
        elif kind == "text":
            # Codes, and the texts by code, as earlier states have them.
            texts, references = Texts.of(kept[0])
            values = references[values[:used]]
        if len(values) < capacity:
            values = widened(values, len(values), capacity)
        columns[name] = Column(name, kind, values, texts)
    return FurtherColumns(columns)


def held_from(meta: Mapping[str, Any], arrays: Mapping[str, AnyArray], rules: Rules) -> HeldUpdates:
    """The held updates of a state. `rules`: what orders of a state from before rules were in the log meant."""
    first = meta["format"] == FORMATS[0]
    settled = arrays["resolved" if first else "held.settled"]
    held = HeldUpdates(settled=Settled(settled.reshape(-1, 2).copy()))
    body = arrays["held.bytes"].tobytes()
    begin = 0
    for entry, end in zip(meta["held"], arrays["held.ends"].tolist(), strict=True):
        position, waits_for, reason, removed_at, since = (*entry, 0, entry[0]) if first else entry
        update = resolved(types_pb2.Update.FromString(body[begin:end]), rules)
        held.hold(HeldUpdate(position, update, waits_for, reason, removed_at, since))
        begin = end
    if first:
        return held
    for position, waits_for, removed_at, since, until in meta["ended_waits"]:
        held.ended_waits.append(EndedWait(CarriedHold(position, waits_for, removed_at), since, until))
    held.removals = dict(_removals_from("removals", arrays))
    held.earlier_removals = _removals_from("earlier_removals", arrays)
    held.carried_removals = tuple(_removals_from("carried_removals", arrays))
    return held


def _removals_from(name: str, arrays: Mapping[str, AnyArray]) -> list[tuple[str, int]]:
    positions = arrays[f"{name}.positions"].tolist()
    ids = arrays[f"{name}.ids"].tobytes().decode().split("\n") if positions else []
    return list(zip(ids, positions, strict=True))


def rejected_from(meta: Mapping[str, Any]) -> RejectedUpdates:
    """The rejected updates of a state."""
    rejected = RejectedUpdates()
    for position, update_id, reason in meta["rejected"]:
        rejected.add(NotApplied(position, update_id, types_pb2.OUTCOME_REJECTED, reason))
    rejected.total = meta["rejected_total"]
    return rejected


def skips_from(meta: Mapping[str, Any]) -> tuple[Skips, int]:
    """The updates of a state that were skipped, and where its file stood. A state of before there were skips has none,
    and all of it is taken for right."""
    return Skips(meta.get("skipped", ())), int(meta.get("base_position", meta["position"]))
