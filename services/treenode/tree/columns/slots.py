"""Which volume type in which period stands in which slot, and the rows of the columns that slots are.

Every volume type that a tree has has a slot in every period that it has: those of the rules, and those that its import
file brought beyond them, which are read and take no orders. A sealed period's slots are free: zeros, whose memory the
system has back, until another period takes them. Rows of volumes are views of larger arrays of zeros, which take memory
as they are written: so a month is opened without a copy of all volumes.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import mmap
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from services.shared.rules import Rules, rules_message
from services.treenode.tree.kernels.kernel import AnyArray, UInt64s, text_hash
from services.treenode.tree.kernels.links import Genealogy
from services.treenode.tree.kernels.volumes import volumes_digest
from services.treenode.tree.store import Store, rows_of_zeros

#: Volume type and period; None: a free slot.
SlotKey: TypeAlias = tuple[str, str] | None
#: The one slot of a tree that has heard of no rules yet.
_NAMELESS = ("", "")
_FREE_TAG = 0
_MADV_DONTNEED = 4

_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Slots:
    """A tree's slots by what they hold. Never changed: another one takes its place."""

    def __init__(self, keys: Sequence[SlotKey], rules: Rules) -> None:
        """`keys`: what each slot holds, all volume types in all periods."""
        self.keys = tuple(keys)
        self._slots = {key: slot for slot, key in enumerate(keys) if key is not None}
        #: The default first; then those of the file.
        self.volume_types = _named(rules.volume_types, (key[0] for key in self._slots))
        #: The current one first, then others that take orders; then those of the file.
        self.periods = _named(rules.periods, (key[1] for key in self._slots))
        #: Slots by the names that an order may use.
        self._orders = {names: self._slots[meant] for names, meant in rules.orders.items()}

    @classmethod
    def first(cls, rules: Rules, keys: Iterable[tuple[str, str]] = ()) -> Slots:
        """Those of a new tree: the rules', and a file's `keys`; the default of both is slot 0."""
        file_keys = tuple(keys)
        types = dict.fromkeys((*rules.volume_types, *(key[0] for key in file_keys)))
        periods = dict.fromkeys((*rules.periods, *(key[1] for key in file_keys)))
        return cls([(each, period) for period in periods for each in types] or [_NAMELESS], rules)

    def of_orders(self, volume_type: str, period: str) -> int:
        """The slot of an order that names these (empty: the default); -1 where none goes there."""
        return self._orders.get((volume_type, period), -1)

    def of(self, volume_type: str, period: str) -> int:
        """The slot of a volume type and a period, which are there."""
        return self._slots.get((volume_type, period), -1)

    @property
    def in_order(self) -> list[tuple[tuple[str, str], int]]:
        """Each key with its slot, alike on all nodes: period by period, the current one first."""
        keys = [(each, period) for period in self.periods for each in self.volume_types]
        return [(key, self._slots[key]) for key in keys if key in self._slots]

    def beyond(self, rules: Rules) -> tuple[list[str], list[str]]:
        """Volume types and periods that the file brought and the rules have not; sealed ones are not asked for."""
        known = {*rules.periods, *rules.sealed_periods, ""}
        return (
            [each for each in self.volume_types if each and each not in rules.volume_types],
            [each for each in self.periods if each not in known],
        )

    def after(self, before: Rules, rules: Rules) -> tuple[Slots, list[int]]:
        """Those once `rules` took the place of `before`, and the slots that became free."""
        gone = {*rules.sealed_periods} - {*before.sealed_periods} | {_NAMELESS[1]}
        freed = [slot for key, slot in self._slots.items() if key[1] in gone]
        keys: list[SlotKey] = [None if key is None or key[1] in gone else key for key in self.keys]
        kept = [key for key in keys if key is not None]
        types = dict.fromkeys((*rules.volume_types, *(key[0] for key in kept)))
        periods = dict.fromkeys((*rules.periods, *(key[1] for key in kept)))
        present = set(kept)
        free = [slot for slot, key in enumerate(keys) if key is None]
        free.reverse()
        for key in ((each, period) for period in periods for each in types):
            if key in present:
                continue
            if free:
                keys[free.pop()] = key
            else:
                keys.append(key)
        return Slots(keys, rules), freed

    def of_rows(self, rows: int, period: str) -> Slots:
        """Those of the same tree where it is only read, and only the first `rows` rows of volumes are there: all behind
        them are zeros, as the last one is. Whoever names no period means `period`."""
        read = copy.copy(self)
        read.keys = self.keys[:rows]
        read._slots = {key: min(slot, rows - 1) for key, slot in self._slots.items()}
        read.periods = tuple(dict.fromkeys((period, *self.periods)))
        read._orders = {}
        return read

    def tags(self) -> UInt64s:
        """The hash of each slot's type and period."""
        return np.array([_FREE_TAG if key is None else _tag(key) for key in self.keys], dtype=np.uint64)


def _named(first: Sequence[str], further: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *further)))


def _tag(key: tuple[str, str]) -> int:
    return int(text_hash(f"volume\0{key[0]}\0{key[1]}"))


def rules_digest(rules: Rules) -> int:
    """The rules' share of a tree's digest; none before they were in the log."""
    if not rules.version:
        return 0
    body = rules_message(rules).SerializeToString(deterministic=True)
    return int.from_bytes(hashlib.blake2b(b"rules\0" + body, digest_size=8).digest(), "little")


def with_slots_like(store: Store, slots: Slots) -> Store:
    """The same store with a row for each slot. Copies volumes only where there are no spare rows."""
    count, before = len(slots.keys), len(store.slot_tags)
    magnitudes = np.zeros(count, dtype=np.float64)
    magnitudes[:before] = store.magnitudes
    return store._replace(
        personal=_with_rows(store.personal, count, store.used),
        sponsor=_with_groups(store.sponsor, count, store.used),
        placement=_with_groups(store.placement, count, store.used),
        slot_tags=slots.tags(),
        magnitudes=magnitudes,
    )


def _with_groups(tree: Genealogy, count: int, used: int) -> Genealogy:
    return tree._replace(group=_with_rows(tree.group, count, used))


def _with_rows(volumes: AnyArray, count: int, used: int) -> AnyArray:
    before, capacity = volumes.shape
    if count <= before:
        return volumes
    whole = volumes.base
    if isinstance(whole, np.ndarray) and whole.ndim == 2 and whole.shape[1] == capacity and len(whole) >= count:
        return whole[:count]
    rows = rows_of_zeros(count, capacity, volumes.dtype.type)
    for slot in range(before):
        if volumes[slot, :used].any():
            rows[slot, :used] = volumes[slot, :used]
    return rows


def free_slots(store: Store, slots: Iterable[int]) -> int:
    """Makes the slots' volumes 0, and gives their memory back; what the digest loses by it, modulo 2^64."""
    lost = 0
    for slot in slots:
        lost += int(volumes_digest(store, slot))
        store.magnitudes[slot] = 0.0
        for volumes in (store.personal, store.sponsor.group, store.placement.group):
            _give_back(volumes[slot])
    return lost % 2**64


def _give_back(row: AnyArray) -> None:
    """Zeros, without memory where whole pages are the row's own: they are of no file, so the next look finds zeros."""
    begin = -(-row.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    size_bytes = (row.ctypes.data + row.nbytes - begin) // mmap.PAGESIZE * mmap.PAGESIZE
    if size_bytes <= 0 or _madvise(begin, size_bytes, _MADV_DONTNEED) != 0:
        row[:] = 0
        return
    head = (begin - row.ctypes.data) // row.itemsize
    row[:head] = 0
    row[head + size_bytes // row.itemsize :] = 0
