"""The tree: its columns, what it knows beside them, and the ways in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fasttree.v1 import types_pb2
from services.shared.domain.members import status_problem
from services.shared.domain.slots import brought_problem
from services.shared.rules import Rules, with_more
from services.treenode.tree import apply, state
from services.treenode.tree.building.build import build_store
from services.treenode.tree.building.relayout import relayout
from services.treenode.tree.columns.further import FurtherColumns
from services.treenode.tree.columns.ids import MAX_LOAD, words_of
from services.treenode.tree.columns.names import Names
from services.treenode.tree.columns.shown import shown_of
from services.treenode.tree.columns.slots import Slots, free_slots, rules_digest, with_slots_like
from services.treenode.tree.held import CarriedHold, HeldUpdates, NotApplied, RejectedUpdates
from services.treenode.tree.kernels.kernel import AnyArray, UInt32s, UInt64s
from services.treenode.tree.kernels.links import FREE, Genealogy
from services.treenode.tree.reconcile import Reconciliation, reconcile
from services.treenode.tree.skips import Fate, Skip, Skips
from services.treenode.tree.store import (
    CHANGES,
    HOLDING,
    MEMBERS,
    NARROW_MAX,
    NARROW_MIN,
    PLACES,
    POSITION,
    RING,
    ROOTS,
    Store,
    capacity_for,
    empty_store,
    with_capacity,
    with_id_words,
    with_slots,
    with_wide_volumes,
)
from services.treenode.tree.table import ImportTable
from services.treenode.tree.validate import validate

#: As many as the codes in `Store.status` can tell apart.
MAX_STATUSES = 32_767


class Tree:
    """One cluster's genealogy at one (import_id, position). Not safe for threads: one user at a time.

    Readers take the columns from `store`, `sponsor`, `placement` and `further` (their meaning stands there), best by
    the walks of its kernels. Arrays are replaced when they must grow, never resized: whoever holds one keeps it.
    """

    def __init__(self, rules: Rules, slots: Slots, import_id: int, names: Names, store: Store) -> None:
        """For `empty`, `from_table` and `from_state`."""
        #: What is in force at its position.
        self.rules = rules
        #: Where the volumes of each type and period stand; another object whenever that changes.
        self.slots = slots
        self.import_id = import_id
        self.statuses = names
        self.store = store
        self.shown = shown_of(store, names, rules)
        self.further = FurtherColumns()
        self.held_updates = HeldUpdates()
        self.rejected_updates = RejectedUpdates()
        self.skips = Skips()
        #: What came at or before this position the tree never saw, but for what it was offered: its file has it.
        self.base_position = self.position
        #: Set from an update's first change to its last: an engine that fails in between leaves no tree to be seen.
        self.changing = False
        #: The digest is known from this position on, and RING positions back at most.
        self.ring_start = self.position

    @classmethod
    def empty(cls, rules: Rules) -> Tree:
        """A tree without members, at import 0, position 0."""
        names, slots = Names([""]), Slots.first(rules)
        tree = cls(rules, slots, 0, names, empty_store(capacity_for(0), 4, slots.tags(), names.hashes))
        tree.further = tree.further.with_declared(rules.columns, tree.store.capacity)
        tree.add_to_digest(rules_digest(rules))
        return tree

    @classmethod
    def from_table(cls, table: ImportTable, rules: Rules, import_id: int, position: int) -> Tree:
        """The tree of an import file that holds the effect of every update up to `position`, where `rules` hold.

        Raises OverflowError where a group total does not fit 64 bits, and where there is no room for its volumes.
        """
        file_types, file_periods = [key[0] for key in table.volumes], [key[1] for key in table.volumes]
        sealed = rules.sealed_periods
        if problem := brought_problem(rules.volume_types, rules.periods, sealed, file_types, file_periods):
            raise OverflowError(problem)
        if not rules.version:  # what a file brought took orders at once, before rules were in the log
            rules = with_more(rules, file_types, file_periods)
        names, slots = Names(table.status_names), Slots.first(rules, table.volumes)
        with ThreadPoolExecutor(1) as beside:
            # Rows of the file have the same facts, so this need not wait for the rows of the tree.
            columns = beside.submit(FurtherColumns.of_file, table.further)
            digest = beside.submit(lambda: columns.result().digest(words_of(table.member_ids)))
            store, file_row = build_store(table, slots.in_order, slots.tags(), names.hashes)
            store.counters[POSITION] = position
            tree = cls(rules, slots, import_id, names, store)
            tree.further = columns.result().gathered(file_row, store.capacity)
        tree.add_to_digest(digest.result())
        tree.further = tree.further.with_declared(rules.columns, store.capacity)
        tree.add_to_digest(rules_digest(rules))
        tree.restart_ring()
        return tree

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> Tree:
        """The tree whose state() gave these; the arrays are copied. Raises StateError where they do not fit."""
        state.check_meta(meta)
        try:
            names = Names(meta["statuses"])
            rules, slots = state.rules_from_meta(meta)
            store = state.store_from(arrays, slots, names.hashes)
            tree = cls(rules, slots, meta["import_id"], names, store)
            tree.further = state.further_from(meta, arrays, store.used, store.capacity)
            tree.held_updates = state.held_from(meta, arrays, rules)
            tree.rejected_updates = state.rejected_from(meta)
            tree.skips, tree.base_position = state.skips_from(meta)
            tree.ring_start = meta["ring_start"]
            position, digest = meta["position"], meta["digest"]
        except state.ODD as error:
            raise state.StateError(f"the state does not fit together: {error!r}") from error
        if (tree.position, tree.digest) != (position, digest):
            raise state.StateError("the state's columns are of another position than it says")
        return tree

    def state(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """The whole tree: a JSON-able dict, and arrays by name, which are views of the columns as they are now."""
        return state.state_of(self)

    def relayout(self) -> Tree:
        """This tree laid out anew (relayout.py): a new one, to take this one's place. This one is only read."""
        return relayout(self)

    def like(self, store: Store) -> Tree:
        """A tree with all of this one's knowledge, copied, but for the columns of its members."""
        copy = Tree(self.rules, self.slots, self.import_id, self.statuses.copy(), store)
        copy.held_updates = self.held_updates.copy()
        copy.rejected_updates = self.rejected_updates.copy()
        copy.skips, copy.base_position = self.skips.copy(), self.base_position
        copy.ring_start = self.ring_start
        return copy

    def validate(self) -> None:
        """Raises InvariantError, naming the invariant, where one does not hold. Takes a few scans of everything."""
        validate(self)

    def reconcile(self, other: Tree) -> Reconciliation:
        """How `other`, a new tree at the same position, differs from this one."""
        return reconcile(self, other)

    # --- where it stands

    @property
    def position(self) -> int:
        """The last update in it."""
        return int(self.store.counters[POSITION])

    @property
    def digest(self) -> int:
        """Digest of its base facts, held and rejected updates."""
        return int(self.store.digests[0])

    def digest_at(self, position: int) -> int | None:
        """The digest at an earlier position since this tree began, RING positions back at most; else None."""
        if position > self.position or position < self.ring_start or position <= self.position - RING:
            return None
        return int(self.store.digests[1 + position % RING])

    @property
    def member_count(self) -> int:
        """Members, without empty places."""
        return int(self.store.counters[MEMBERS])

    @property
    def is_bare(self) -> bool:
        """Whether it is of before the first import and the first member."""
        return self.import_id == 0 and self.member_count == 0

    @property
    def empty_place_count(self) -> int:
        """Places that a removed member left empty."""
        return int(self.store.counters[PLACES] - self.store.counters[MEMBERS])

    @property
    def root_count(self) -> int:
        """Members without a sponsor."""
        return int(self.store.counters[ROOTS])

    @property
    def holding_count(self) -> int:
        """Members in the holding tank: with a sponsor and without a placement."""
        return int(self.store.counters[HOLDING])

    @property
    def change_count(self) -> int:
        """Changes to links since the layout: the more, the more a new layout brings."""
        return int(self.store.counters[CHANGES])

    @property
    def sponsor(self) -> Genealogy:
        """The sponsor tree's columns, by row."""
        return self.store.sponsor

    @property
    def placement(self) -> Genealogy:
        """The placement tree's columns, by seat."""
        return self.store.placement

    # --- volumes and names

    @property
    def volume_types(self) -> tuple[str, ...]:
        """Those that it has volumes of, the default first."""
        return self.slots.volume_types

    @property
    def periods(self) -> tuple[str, ...]:
        """Those that it has volumes of, the current one first."""
        return self.slots.periods

    def take_rules(self, rules: Rules) -> None:
        """Other rules are in force from this position on."""
        slots, freed = self.slots.after(self.rules, rules)
        difference = rules_digest(rules) - rules_digest(self.rules) - free_slots(self.store, freed)
        self.store = with_slots_like(self.store, slots)
        self.further = self.further.with_declared(rules.columns, self.store.capacity)
        self.rules, self.slots = rules, slots
        self.shown = shown_of(self.store, self.statuses, rules)
        self.add_to_digest(difference)

    def status_code(self, status: str) -> int:
        """The code of a status, which is taken in if it is new. Replaces `store` then: take that afterwards.

        Raises ValueError where it is none, or where members have MAX_STATUSES others already.
        """
        code = self.statuses.find(status)
        if code >= 0:
            return code
        if problem := status_problem(status):
            raise ValueError(problem)
        if len(self.statuses) == MAX_STATUSES:
            self._forget_unused_statuses()
        code = self.statuses.code(status)
        self.store = self.store._replace(status_hashes=self.statuses.hashes)
        return code

    def _forget_unused_statuses(self) -> None:
        """Gives the statuses that members have new codes, and frees those of all others."""
        store, used = self.store, self.store.used
        status = store.status[:used]
        in_use = np.unique(status[self.sponsor.parent[:used] != FREE])
        if len(in_use) == MAX_STATUSES:
            raise ValueError(f"members have {MAX_STATUSES} different statuses already")
        codes = np.zeros(MAX_STATUSES, dtype=np.int16)
        codes[in_use] = np.arange(len(in_use))
        renumbered = np.zeros_like(store.status)
        renumbered[:used] = codes[status]
        self.statuses = Names(self.statuses.texts[code] for code in in_use.tolist())
        self.store = store._replace(status=renumbered, status_hashes=self.statuses.hashes)

    # --- updates

    def apply(
        self, first_position: int, updates: Sequence[types_pb2.Update], before_seal: apply.BeforeSeal | None = None
    ) -> list[NotApplied]:
        """Takes updates in, the first of them at `first_position`, which must be the next one (else ValueError).

        Those that were held or rejected are returned, held ones from before that were rejected now among them.
        `before_seal`: called before each of them that closes a period for good.

        Raises:
            UpdateFailedError: The engine fails at one; those before it are in the tree.
        """
        return apply.apply_updates(self, first_position, updates, before_seal)

    def offer_carried(
        self, positions: Sequence[int], updates: Sequence[types_pb2.Update], holds: Sequence[CarriedHold] = ()
    ) -> list[NotApplied]:
        """Offers updates at or before this tree's position that were held when its import file was taken, by position.
        `holds`: those that waited for a removed member, and go on to. One that is skipped is rejected, whatever stands
        for it in `updates`. Raises UpdateFailedError: the tree is of no use."""
        return apply.offer_carried(self, positions, updates, holds)

    def learn_skip(self, skip: Skip, *, was_offered: bool = False) -> None:
        """An operator's decision (skips.py). `was_offered`: the update was among those offered by `offer_carried`.

        Nothing that a reader sees changes before the next update.
        """
        skips, position = self.skips, skip.position
        if position in skips.known:
            return
        skips.known[position] = skip
        fate = self.fate_of(position, was_offered=was_offered)
        if fate in (Fate.AHEAD, Fate.HELD):
            skips.due.add(position)
        elif fate is Fate.TAKEN:
            skips.too_late.add(position)

    def fate_of(self, position: int, *, was_offered: bool = False) -> Fate:
        """What became of an update. `was_offered`: as for `learn_skip`."""
        if position in self.skips.taken:
            return Fate.SKIPPED
        if position > self.position:
            return Fate.AHEAD
        if position in self.held_updates.by_position:
            return Fate.HELD
        return Fate.TAKEN if position > self.base_position or was_offered else Fate.IN_FILE

    def carried_positions(self, as_of_position: int) -> list[int]:
        """Positions of updates that were held when this tree was at `as_of_position`, in order."""
        return self.held_updates.held_at(as_of_position)

    def carried_holds(self, as_of_position: int) -> list[CarriedHold]:
        """Those of them that waited for a removed member then."""
        return self.held_updates.holds_at(as_of_position)

    def removals_at(self, as_of_position: int) -> list[tuple[str, int]]:
        """(id, position) of the removals that this tree knew of then, by position."""
        return self.held_updates.removals_at(as_of_position)

    def carry_removals(self, removals: Iterable[tuple[str, int]]) -> None:
        """Takes the newest of another tree's removals over, of members that are not here: before any update."""
        apply.carry_removals(self, removals)

    def held(self, member_id: str = "") -> Iterator[NotApplied]:
        """The held updates by position, all or those that wait for a member; good until the next update."""
        by_position, waiting = self.held_updates.by_position, self.held_updates.waiting
        positions = sorted(waiting.get(member_id, [])) if member_id else by_position
        return (by_position[position].not_applied() for position in positions)

    def rejected(self) -> list[NotApplied]:
        """The newest rejected updates since the import, by position."""
        return sorted(self.rejected_updates.newest, key=lambda rejected: rejected.position)

    @property
    def held_count(self) -> int:
        return len(self.held_updates)

    @property
    def rejected_count(self) -> int:
        """Updates rejected since the import."""
        return self.rejected_updates.total

    # --- for this package

    def restart_ring(self) -> None:
        """Forgets the digests of earlier positions, and notes the one now."""
        self.ring_start = self.position
        self.store.digests[1 + self.position % RING] = self.store.digests[0]

    def add_to_digest(self, difference: int) -> None:
        """Adds to the digest, modulo 2^64, and notes it for the position."""
        digest = (self.digest + difference) % 2**64
        self.store.digests[0] = np.uint64(digest)
        self.store.digests[1 + self.position % RING] = self.store.digests[0]

    def further_digests(self) -> UInt64s:
        """The digest of every row's further columns, (used,) uint64."""
        out = np.zeros(self.store.used, dtype=np.uint64)
        places = np.flatnonzero(self.sponsor.parent[: self.store.used] != FREE).astype(np.int32)
        for column in self.further.values():
            column.add_digests(self.store.ids.words, places, out)
        return out

    def ensure_volume_width(self, slot: int, row: int, amount: int) -> None:
        """Widens personal volumes where this one would not fit any more."""
        personal = self.store.personal
        if personal.dtype == np.int32 and not NARROW_MIN <= int(personal[slot, row]) + amount <= NARROW_MAX:
            self.store = with_wide_volumes(self.store)

    def ensure_capacity(self, places: int, asked: UInt32s) -> None:
        """Grows the columns where more places with these ids need it, before a kernel takes them in."""
        store = self.store
        used_words = asked.shape[1]
        while used_words > store.ids.words.shape[1] and not asked[:, used_words - 1].any():
            used_words -= 1
        if used_words > store.ids.words.shape[1]:
            store = with_id_words(store, used_words)
        needed = store.used + places
        if needed > store.capacity:
            store = with_capacity(store, capacity_for(needed))
            self.further.grow(store.used, store.capacity)
            self.shown = shown_of(store, self.statuses, self.rules)
        entries = int(store.counters[PLACES]) + places
        if entries > len(store.ids.slots) * MAX_LOAD:
            store = with_slots(store, capacity_for(entries))
        self.store = store
